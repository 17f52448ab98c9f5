//! Obtains tokens for applications, cached in isolation.
