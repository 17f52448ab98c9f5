//! The gateway over real sockets, before a service that keeps every byte it is sent. Tests are named after the catalogue of
//! attacks, where they have a row there.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop")]
mod answers;
mod authorizer;
mod callers;
mod canaries;
mod cors;
mod credentials;
mod cut_offs;
mod dpop;
mod fields;
mod framing;
mod http2;
mod imports;
mod introspect;
mod limits;
mod mutual;
mod onward;
mod openapi;
mod paths;
mod policies;
mod presented;
mod protected_resource;
mod reload;
mod services;
mod step_up;
mod streams;
mod subscriptions;
mod support;
mod telling;
mod tenants;
mod times;
mod tls;
mod websockets;
