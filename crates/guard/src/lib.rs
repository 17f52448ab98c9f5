//! Validates what a resource API receives.
