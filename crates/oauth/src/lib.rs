//! The protocol's words: forms, grants, errors, scopes, metadata, challenges.
