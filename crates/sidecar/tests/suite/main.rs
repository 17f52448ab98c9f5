//! The sidecar over real listeners, against identity providers on loopback. Tests are named after the rows of its
//! specification.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop")]
mod admin;
mod api;
mod callers;
mod checked;
mod exchange;
mod introspect;
mod keys;
mod providers;
mod push;
mod settings;
mod support;
mod token;
mod upstream;
