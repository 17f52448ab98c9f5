//! How a client proves who it is (spec: RFC 6749 section 2.3, RFC 7523 section 2.2).
use crate::client::Inner;
use crate::{AssertionSource, Error};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::Timestamp;
use jose::assertion::Certificate;
use oauth::{CLIENT_ASSERTION_JWT_BEARER, Form, Secret};
use std::sync::Arc;

pub(crate) enum Credential {
    /// A public client.
    None,
    Secret(Secret),
    Certificate {
        key: Box<jose::SigningKey>,
        certificate: Arc<Certificate>,
    },
    /// Somebody else's word.
    Assertion(Arc<dyn AssertionSource>),
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
    pub(crate) fn certificate(key: jose::SigningKey, pem: &str) -> Result<Self, CertificateError> {
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
            Self::Certificate { certificate, .. } => format!("certificate:{}", certificate.x5t_s256()),
        }
    }

    pub(crate) async fn authenticate(&self, form: Form, client: &Inner, now: Timestamp) -> Result<Form, Error> {
        match self {
            Self::None => Ok(form),
            Self::Secret(secret) => Ok(form.with("client_secret", secret.expose())),
            Self::Assertion(source) => {
                let assertion = source.assertion().await?;
                Ok(form
                    .with("client_assertion_type", CLIENT_ASSERTION_JWT_BEARER)
                    .with("client_assertion", assertion.expose()))
            }
            Self::Certificate { key, certificate } => {
                let jti = unguessable::<16>(client);
                let assertion =
                    jose::assertion::sign(key, certificate, &client.client_id, &client.endpoints.token, &jti, now)
                        .map_err(|_| Error::Request("the client's key cannot sign an assertion; use an RSA key"))?;
                Ok(form.with("client_assertion_type", CLIENT_ASSERTION_JWT_BEARER).with("client_assertion", &assertion))
            }
        }
    }
}

/// `N` random bytes as base64url.
pub(crate) fn unguessable<const N: usize>(client: &Inner) -> String {
    let mut bytes = [0; N];
    client.random.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}
