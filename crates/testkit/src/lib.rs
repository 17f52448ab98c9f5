//! For tests only: a clock that is set by hand, randomness from a seed, and a TLS server with an authority of its own.
mod clock;
mod random;
mod tls;

pub use clock::SetClock;
pub use random::Random;
pub use tls::TlsServer;
