//! The authority on the wire: the real router over a real store, attacked by the catalogue's names.
#[cfg(test)]
#[path = "../world/mod.rs"]
mod world;

#[cfg(test)]
mod aadsts;
#[cfg(test)]
mod accounts;
#[cfg(test)]
mod assertions;
#[cfg(test)]
mod authorize;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod codes;
#[cfg(test)]
mod consent;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod delegation;
#[cfg(test)]
mod device;
#[cfg(test)]
mod directory_api;
#[cfg(test)]
mod dropped_users;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod events;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod front_channel;
#[cfg(test)]
mod guards;
#[cfg(test)]
mod hostile_assertions;
#[cfg(test)]
mod id_tokens;
#[cfg(test)]
mod input;
#[cfg(test)]
mod interaction;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod logout;
#[cfg(test)]
mod loops;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod member_objects;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod outstanding_orders;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod revocation;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod second_factor;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod sidecar;
#[cfg(test)]
mod spa;
#[cfg(test)]
mod v1;
#[cfg(test)]
mod v1_contract;
#[cfg(test)]
mod work_orders;
#[cfg(test)]
mod workload;
