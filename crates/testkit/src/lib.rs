//! For tests only: a clock that is set by hand, randomness from a seed, a TLS server with an authority of its own, and a
//! foreign identity provider.
mod clock;
mod issuer;
mod random;
mod tls;

pub use clock::SetClock;
pub use issuer::{Asked, Issuer, Next};
pub use random::Random;
pub use tls::TlsServer;
