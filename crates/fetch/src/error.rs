//! Why a fetch failed.
use thiserror::Error;

/// Why nothing was fetched. Texts name hosts, never queries or bodies.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FetchError {
    /// Not a URL that may be fetched.
    #[error("`{0}` cannot be fetched; use an https URL without user information")]
    Url(String),
    /// The address is in a range that is not allowed.
    #[error("`{0}` is at an address that may not be reached; allow loopback or private addresses if that is meant")]
    Blocked(String),
    /// No connection: nothing was sent.
    #[error("`{host}` cannot be reached: {reason}")]
    Unreachable {
        /// The host.
        host: String,
        /// What the network said.
        reason: String,
    },
    /// The connection broke before the answer was whole.
    #[error("the connection with `{host}` broke: {reason}")]
    Broken {
        /// The host.
        host: String,
        /// What the network said.
        reason: String,
    },
    /// The answer took too long.
    #[error("`{0}` did not answer in time")]
    Timeout(String),
    /// The answer is larger than is read.
    #[error("the answer of `{0}` is too large")]
    TooLarge(String),
    /// Redirects are not followed: they would lead where nobody configured.
    #[error("`{0}` answered with a redirect; configure the final URL")]
    Redirect(String),
    /// A proxy that cannot be used. The text holds no credentials.
    #[error("the proxy `{0}` cannot be used; give its address as `http://HOST:PORT`, credentials percent-encoded")]
    Proxy(String),
    /// A certificate authority that cannot be read.
    #[error("the certificate authority file cannot be used: {0}")]
    Authorities(String),
}
