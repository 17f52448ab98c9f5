//! The sidecar over real listeners, against identity providers on loopback. Tests are named after the rows of its
//! specification.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop")]
mod admin;
mod api;
mod callers;
mod checked;
mod cut_offs;
mod delegation;
mod entra;
mod exchange;
mod facades;
mod guide;
mod host;
mod identity;
mod introspect;
mod keys;
mod mutual;
mod native;
mod providers;
mod push;
mod reliability;
mod renewed;
mod settings;
mod streams;
mod support;
mod token;
mod upstream;
