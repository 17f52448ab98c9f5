//! The authority's rules, without sockets, tables or keys.
//!
//! A request flows one way: a form is parsed, the client is authenticated ([`client_auth`]), a [`grant`] gathers its
//! [`facts::Facts`] through [`ports`], and `decide` reads those facts and nothing else. Every grant asks the one
//! [`admission`] function about tenant, client, resource, user, session, consent, assignment, chain limits and
//! conditional access. [`issuance`] turns an admitted request into claims, and [`token_endpoint`] runs the whole.

pub mod account;
pub mod admission;
pub mod audit;
pub mod authorize;
pub mod built_in;
mod called;
pub mod chain;
pub mod client_auth;
pub mod cloud;
pub mod conditional_access;
pub mod consent;
pub mod cut_off;
pub mod denial;
pub mod device;
pub mod directory;
pub mod directory_api;
pub mod endpoint;
pub mod estate;
pub mod events;
pub mod facts;
pub mod grant;
pub mod id;
pub mod introspection;
pub mod issuance;
pub mod ledger;
mod lifetime;
pub mod limits;
pub mod loops;
pub mod member_objects;
pub mod model;
pub mod policy;
pub mod ports;
mod presence;
mod reference;
mod resource_request;
pub mod revocation;
pub mod scope_request;
pub mod second_factor;
pub mod sign_in;
pub mod sign_out;
pub mod ticket;
pub mod token;
pub mod token_endpoint;
pub mod trace;
pub mod userinfo;
pub mod work_order;
pub mod workload;
