//! WebSockets (RFC 6455): a request that would have its connection be one, and what flows over it once the service agrees. Nothing
//! that the caller sends after its request goes anywhere before that.
mod frames;
mod handshake;
mod tunnel;

pub(crate) use handshake::{Asked, Opening};
pub(crate) use tunnel::Tunnel;
