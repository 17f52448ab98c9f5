//! For tests only: a clock that is set by hand, randomness from a seed, a TLS server with an authority of its own, a foreign
//! identity provider, and a vault.
mod clock;
mod issuer;
mod random;
mod tls;
mod vault;

pub use clock::SetClock;
pub use issuer::{Asked, Issuer, Next};
pub use random::Random;
pub use tls::TlsServer;
pub use vault::Vault;
