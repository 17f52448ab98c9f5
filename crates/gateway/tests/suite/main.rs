//! The gateway over real sockets, before a service that keeps every byte it is sent. Tests are named after the catalogue of
//! attacks, where they have a row there.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop")]
mod answers;
mod authorize_by;
mod authorizer;
mod browser;
mod callers;
mod canaries;
mod cors;
mod credentials;
mod cut_offs;
mod dpop;
#[cfg(feature = "cel")]
mod expressions;
mod fields;
mod framing;
mod http2;
mod imports;
mod introspect;
mod limits;
mod listeners;
mod management;
mod mutual;
mod onward;
mod openapi;
mod paths;
mod policies;
mod presented;
mod protected_resource;
mod reliability;
mod reload;
mod send_request;
mod services;
mod shared_keys;
mod sign_in;
mod sign_in_attacks;
mod sign_in_tokens;
mod step_up;
mod streams;
mod subscriptions;
mod support;
mod telling;
mod tenants;
mod times;
mod tls;
mod vaults;
mod websockets;
