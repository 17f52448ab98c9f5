//! The authority on the wire: the real router over a real store, attacked by the catalogue's names.
#[path = "../world/mod.rs"]
mod world;

mod authorize;
mod clients;
mod codes;
mod corpus;
mod delegation;
mod faults;
mod input;
mod logout;
mod metadata;
mod secrets;
