//! The client against an authority in the same process.
mod cache;
mod identity;
mod isolation;
mod protocol;
mod support;
