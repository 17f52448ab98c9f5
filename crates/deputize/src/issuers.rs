//! Other issuers whose tokens may prove applications (workload identity federation), as the operator configures them.
//!
//! An issuer that is not configured is reached over the public internet, through its discovery document. One inside a private
//! network (a Kubernetes cluster, mostly) says here how it is reached; nothing else private ever is.
use crate::failure::Failure;
use crate::file::Text;
use ::authority::{Federation, discovery};
use fetch::{Allow, Fetch, IssuerKeys, KeySource, Lifetimes, Location};
use jose::{Algorithm, KeySet};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// To connect to an issuer, and to have its answer whole.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(5));

/// How one issuer is reached.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Issuer {
    /// `iss`, byte for byte.
    #[serde(rename = "issuer")]
    pub(crate) name: String,
    /// A file with its key set (JWKS): then nothing is ever fetched.
    #[serde(default)]
    pub(crate) jwks: Option<PathBuf>,
    /// Where its key set is, if not where its discovery document says.
    #[serde(default)]
    pub(crate) jwks_uri: Option<String>,
    /// Where its discovery document is, if not below `issuer`.
    #[serde(default)]
    pub(crate) metadata: Option<String>,
    /// A file with the certificate authority that it is trusted by, beside those of the system.
    #[serde(default)]
    pub(crate) ca: Option<PathBuf>,
    /// Whether it may be at a private or loopback address.
    #[serde(default)]
    pub(crate) private: bool,
}

/// The issuers of a configuration. Paths begin at `base`.
pub(crate) fn federation(issuers: &[Issuer], base: &Path) -> Result<Federation, Failure> {
    let unusable = |error: fetch::FetchError| Failure::plain(error.to_string());
    let public = Fetch::builder().timeouts(PATIENCE.0, PATIENCE.1).build().map_err(unusable)?;
    let mut federation = Federation::over(Arc::new(public));
    for issuer in issuers {
        federation = federation.issuer(issuer.name.as_str(), issuer.keys(base)?);
    }
    Ok(federation)
}

impl Issuer {
    fn keys(&self, base: &Path) -> Result<Arc<IssuerKeys>, Failure> {
        let name = &self.name;
        if let Some(file) = &self.jwks {
            if self.jwks_uri.is_some() || self.metadata.is_some() || self.ca.is_some() || self.private {
                let hint = "keep `jwks`, or drop it and keep the others";
                return Err(Failure::new(format!("the keys of `{name}` are in a file and elsewhere too"), hint));
            }
            let text = Text::read(&base.join(file))?;
            let (keys, skipped) = KeySet::parse(text.content.as_bytes(), Some(Algorithm::RS256))
                .map_err(|error| Failure::new(format!("`{}`: {error}", text.name), "give a JSON Web Key Set"))?;
            if let Some(key) = skipped.first() {
                let problem = format!("`{}`: key {} cannot be used: {}", text.name, key.index, key.reason);
                return Err(Failure::new(problem, "remove it, or correct it"));
            }
            if keys.is_empty() {
                return Err(Failure::new(format!("`{}` holds no key", text.name), "give the issuer's public keys"));
            }
            return Ok(IssuerKeys::fixed(keys));
        }
        let allow = if self.private { Allow::INSIDE } else { Allow::default() };
        let mut builder = Fetch::builder().timeouts(PATIENCE.0, PATIENCE.1).allow(allow);
        if let Some(file) = &self.ca {
            let text = Text::read(&base.join(file))?;
            builder = builder
                .ca_pem(text.content.as_bytes())
                .map_err(|error| Failure::new(format!("`{}`: {error}", text.name), "give certificates in PEM"))?;
        }
        let fetch = builder.build().map_err(|error| Failure::plain(error.to_string()))?;
        let location = match (&self.jwks_uri, &self.metadata) {
            (Some(_), Some(_)) => {
                let hint = "keep `jwks_uri` or `metadata`";
                return Err(Failure::new(format!("the keys of `{name}` are looked for in two places"), hint));
            }
            (Some(url), None) => Location::Jwks(url.clone()),
            (None, Some(url)) => Location::Metadata(url.clone()),
            (None, None) => Location::Metadata(discovery(name)),
        };
        let source = KeySource {
            issuer: name.clone(),
            location,
            default_algorithm: Some(Algorithm::RS256),
            // The API server of a cluster names itself by address, its issuer by name.
            foreign_keys_host: true,
        };
        Ok(IssuerKeys::fetched(source, Arc::new(fetch), Lifetimes::default()))
    }
}
