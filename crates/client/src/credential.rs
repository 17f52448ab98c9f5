//! How a client proves who it is (spec: RFC 6749 section 2.3, RFC 7523 section 2.2).
use crate::client::Inner;
use crate::profile::Question;
use crate::rotating::Rotating;
use crate::{AssertionSource, Endpoints, Error};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::Timestamp;
use jose::assertion::Certificate;
use jose::{Header, SigningKey};
use oauth::{CLIENT_ASSERTION_JWT_BEARER, Form, Secret};
use serde_json::{Value, json};
use std::sync::Arc;

/// How long an assertion by a bare key lives, in seconds.
const LIFETIME: i64 = 30;

/// For whom a client assertion is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AssertionAudience {
    /// The issuer, as RFC 7523's successor asks.
    #[default]
    Issuer,
    /// The token endpoint, for authorities that know no better.
    TokenEndpoint,
}

pub(crate) enum Credential {
    /// A public client.
    None,
    Secret(Secret),
    Certificate {
        key: Box<SigningKey>,
        certificate: Arc<Certificate>,
    },
    /// A key that the authority knows by name.
    Key {
        key: Arc<SigningKey>,
        audience: AssertionAudience,
    },
    /// Somebody else's word.
    Assertion(Arc<dyn AssertionSource>),
    /// Somebody else's word, as it is.
    Given(Secret),
    /// What files hold.
    Files(Box<Rotating>),
}

/// The certificate cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The text holds none.
    #[error("there is no readable certificate in the PEM text; it needs a `BEGIN CERTIFICATE` block with an RSA key")]
    Unreadable,
    /// The assertion would name one key and be signed by another, or in a way that nobody accepts.
    #[error(
        "the private key is not the certificate's; give its own key, as PS256 (or RS256, where the authority is old)"
    )]
    AnotherKey,
}

impl Credential {
    pub(crate) fn certificate(key: SigningKey, pem: &str) -> Result<Self, CertificateError> {
        let certificate = Arc::new(Certificate::from_pem(pem).map_err(|_| CertificateError::Unreadable)?);
        // Tried once now, so that a mistake shows at the start and not as the authority's refusal of every request.
        let trial = jose::assertion::sign(&key, &certificate, "trial", "trial", "trial", Timestamp(0));
        let holds = trial.is_ok_and(|text| jose::assertion::verify(&text, &[Arc::clone(&certificate)]).is_ok());
        if !holds {
            return Err(CertificateError::AnotherKey);
        }
        Ok(Self::Certificate { key: Box::new(key), certificate })
    }

    /// Names the credential without giving it away: two clients with the same id but other credentials share nothing.
    pub(crate) fn id(&self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Secret(secret) => format!("secret:{}", URL_SAFE_NO_PAD.encode(crate::key::digest(secret))),
            Self::Assertion(source) => format!("assertion:{}", source.name()),
            Self::Given(assertion) => format!("given:{}", URL_SAFE_NO_PAD.encode(crate::key::digest(assertion))),
            Self::Files(files) => files.id(),
            Self::Certificate { certificate, .. } => format!("certificate:{}", certificate.x5t_s256()),
            // Its name may be anybody's; its thumbprint is its own.
            Self::Key { key, .. } => {
                format!("key:{}:{}", key.public_jwk().thumbprint().unwrap_or_default(), key.kid())
            }
        }
    }

    /// The form with this proof. An assertion is made anew each time: an authority that looks at `jti` sees none twice.
    pub(crate) async fn authenticate(
        &self,
        form: Form,
        client: &Inner,
        endpoints: &Endpoints,
        now: Timestamp,
    ) -> Result<Form, Error> {
        let assertion = match self {
            Self::None => return Ok(form),
            Self::Secret(secret) => return Ok(form.with("client_secret", secret.expose())),
            Self::Files(files) => {
                let current = files.current().await?;
                return Box::pin(current.authenticate(form, client, endpoints, now)).await;
            }
            Self::Given(assertion) => assertion.clone(),
            Self::Assertion(source) => source.assertion().await?,
            Self::Certificate { key, certificate } => {
                let jti = unguessable::<16>(client);
                jose::assertion::sign(key, certificate, &client.client_id, &endpoints.token, &jti, now)
                    .map(Secret::new)
                    .map_err(|_| Error::Request("the client's key cannot sign an assertion; use an RSA key"))?
            }
            Self::Key { key, audience } => {
                let claims = json!({
                    "sub": client.client_id, "iss": client.client_id, "aud": audience.of(endpoints)?,
                    "jti": uuid(client), "iat": now, "nbf": now, "exp": now.plus(LIFETIME),
                });
                sign(key, &claims)?
            }
        };
        Ok(form.with("client_assertion", assertion.expose()).with("client_assertion_type", CLIENT_ASSERTION_JWT_BEARER))
    }

    /// An assertion that is the authorization itself (RFC 7523 section 2.1): without `sub`, and with all that is asked for.
    pub(crate) async fn authorization(
        &self,
        asked: &Question,
        client: &Inner,
        endpoints: &Endpoints,
        now: Timestamp,
    ) -> Result<Secret, Error> {
        let (key, audience) = match self {
            Self::Key { key, audience } => (key, audience),
            Self::Files(files) => {
                let current = files.current().await?;
                return Box::pin(current.authorization(asked, client, endpoints, now)).await;
            }
            _ => return Err(Error::Request("this grant profile needs a private key; give the client one")),
        };
        let mut claims = json!({
            "iss": client.client_id, "aud": audience.of(endpoints)?, "scope": asked.target,
            "jti": uuid(client), "iat": now, "nbf": now, "exp": now.plus(LIFETIME),
        });
        if let Value::Object(claims) = &mut claims {
            claims.extend(asked.resource.clone().map(|resource| ("resource".to_owned(), resource.into())));
            if let Some(details) = &asked.authorization_details {
                let details: Value = serde_json::from_str(details)
                    .map_err(|_| Error::Request("`authorization_details` is no JSON (RFC 9396 section 2)"))?;
                claims.insert("authorization_details".to_owned(), details);
            }
        }
        sign(key, &claims)
    }
}

impl AssertionAudience {
    fn of(self, endpoints: &Endpoints) -> Result<&str, Error> {
        match self {
            Self::TokenEndpoint => Ok(&endpoints.token),
            Self::Issuer => endpoints.issuer.as_deref().ok_or(Error::Request(
                "the client knows no issuer to address its assertion to; add it to the endpoints, or address the token endpoint",
            )),
        }
    }
}

fn sign(key: &SigningKey, claims: &Value) -> Result<Secret, Error> {
    let signed = key.sign(&Header::typ("JWT"), claims.to_string().as_bytes());
    signed.map(Secret::new).map_err(|_| Error::Request("Failed to sign assertion"))
}

/// A version 4 UUID (RFC 9562), from the client's source of randomness.
fn uuid(client: &Inner) -> String {
    let mut bytes = [0; 16];
    client.random.fill(&mut bytes);
    let random = u128::from_be_bytes(bytes);
    let digits = format!("{:032x}", random & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62);
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

/// `N` random bytes as base64url.
pub(crate) fn unguessable<const N: usize>(client: &Inner) -> String {
    let mut bytes = [0; N];
    client.random.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}
