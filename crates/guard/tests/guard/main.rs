//! The guard's tests, in one program.
mod common;
mod corpus;
mod decisions;
mod keys;
mod layer;
