//! The attacks of the catalogue on a whole authority in memory, each by its id; and what must work in spite of them.
#![cfg(test)]

mod authorization;
mod chains;
mod claims;
mod clients;
mod codes;
mod combined;
mod conditional_access;
mod consent;
mod continuous_access;
mod delegation;
mod dropped_users;
mod federation;
mod matrix;
mod random;
mod refresh;
mod scopes;
mod second_factor;
mod secrets;
mod tenants;
mod tickets;
mod tokens;
mod work_order_page;
mod work_orders;
#[path = "../world/mod.rs"]
mod world;
