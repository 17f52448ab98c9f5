use std::fmt;

/// The one `client_assertion_type` (RFC 7523 section 2.2).
pub const CLIENT_ASSERTION_JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The kind of an access token (RFC 8693 section 3).
pub const TOKEN_TYPE_ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The kind of any JWT (RFC 8693 section 3); an access token may be called so.
pub const TOKEN_TYPE_JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// The kind of a work order: a handle with which a worker gets a user's tokens after the user's request has ended. It is
/// deputize's own; RFC 8693 section 3 leaves room for such.
pub const TOKEN_TYPE_WORK_ORDER: &str = "urn:deputize:params:oauth:token-type:work-order";

/// The grant types on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrantType {
    /// RFC 6749 section 4.1.3.
    AuthorizationCode,
    /// RFC 6749 section 4.4.
    ClientCredentials,
    /// RFC 8628; Entra's older clients call it `device_code`.
    DeviceCode,
    /// RFC 7523; Entra's On-Behalf-Of speaks through it.
    JwtBearer,
    /// RFC 6749 section 6.
    RefreshToken,
    /// RFC 8693; work orders are asked for and redeemed through it.
    TokenExchange,
}

impl GrantType {
    /// The value of `grant_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::ClientCredentials => "client_credentials",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
            Self::RefreshToken => "refresh_token",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
        }
    }
}

impl fmt::Display for GrantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
