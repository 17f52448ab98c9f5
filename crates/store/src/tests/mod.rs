//! The store's tests: one conformance suite for every engine, and proofs over the embedded one.
mod audit;
mod conformance;
mod cut_offs;
mod disk;
mod faults;
mod kill;
mod objects;
mod once;
mod processes;
mod work_orders;
mod world;
