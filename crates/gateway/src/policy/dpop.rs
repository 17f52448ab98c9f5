//! `dpop`: tokens that are bound to a key of their caller's, and come with a proof of it (RFC 9449). Guard judges proofs; this says
//! which ones it takes.
use super::Part;
use crate::call::Call;
use crate::settings::{SettingsError, Source, Spanned, World, fault};
use decision::Timestamp;
use guard::{DPOP, Dpop, Held, Proof, ProofFault, SpentProofs};
use http::header::AUTHORIZATION;
use jose::Algorithm;
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// How old proofs may be at most, in seconds.
const OLDEST: i64 = 300;
/// How many used proofs are remembered, and how many of one key.
const REMEMBERED: [usize; 2] = [1 << 20, 1 << 17];

/// Takes tokens that are bound to a key (DPoP, RFC 9449): with `Authorization: DPoP`, and one `DPoP` field that proves the key for this
/// request. A proof is good once.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "dpop")]
pub(crate) struct Table {
    /// Whether every token has to be bound to a key; otherwise those that are bound to none are good as before.
    #[serde(default = "yes")]
    required: bool,
    /// The algorithms of proofs; by default `ES256`, `ES384`, `ES512`, `EdDSA`, `PS256`, `PS384`, `PS512`, `RS256`, `RS384` and `RS512`.
    algorithms: Option<Spanned<Vec<Spanned<String>>>>,
    /// How many seconds old a proof may be, 1 to 300.
    #[serde(default = "sixty")]
    max_age_seconds: Spanned<i64>,
    /// Whether proofs need a nonce that the gateway gave out within the last five minutes, in `DPoP-Nonce`.
    #[serde(default)]
    nonce: bool,
    /// What nonces are made with, 32 characters or more: for several gateways that take each other's. By default each makes up its own.
    nonce_secret: Option<Spanned<Source>>,
}

const fn yes() -> bool {
    true
}

fn sixty() -> Spanned<i64> {
    Spanned::new(0..0, 60)
}

impl super::Table for Table {
    fn part(&self, _: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        let max_age = *self.max_age_seconds.get_ref();
        if !(1..=OLDEST).contains(&max_age) {
            let hint = "write 1 to 300: a proof is made for one request, just before it";
            return Err(fault(&self.max_age_seconds.span(), "this is no age of a proof", hint));
        }
        let kept = world.limits();
        let mut dpop = Dpop::default().max_age(max_age).remembered_by(kept.proofs.spent(max_age, world.clock().now()));
        if let Some(names) = &self.algorithms {
            let mut algorithms = Vec::new();
            for name in names.get_ref() {
                let known = name.get_ref().parse::<Algorithm>();
                algorithms.push(known.map_err(|_| {
                    let problem = format!("`{}` is no algorithm of proofs", name.get_ref());
                    fault(&name.span(), problem, "write asymmetric ones, such as `ES256`, `EdDSA` and `PS256`")
                })?);
            }
            if algorithms.is_empty() {
                return Err(fault(&names.span(), "no algorithm is taken, so no proof is", "write `[\"ES256\"]`"));
            }
            dpop = dpop.algorithms(algorithms);
        }
        if self.required {
            dpop = dpop.required();
        }
        dpop = match (self.nonce, &self.nonce_secret) {
            (false, None) => dpop,
            (false, Some(secret)) => {
                return Err(fault(&secret.span(), "no nonces are wanted", "add `nonce = true`, or drop this"));
            }
            (true, None) => dpop.nonces(kept.proofs.secret(world)),
            (true, Some(source)) => {
                let secret = world.read_secret(source)?;
                if secret.expose().len() < 32 {
                    return Err(fault(&source.span(), "the secret is short enough to guess", "write 32 characters"));
                }
                dpop.nonces(&Sha256::digest(secret.expose()).into())
            }
        };
        world.secret(DPOP.as_str());
        Ok(Part::Dpop(Arc::new(dpop)))
    }

    fn told(&self) -> String {
        let of = if self.required { "every token" } else { "tokens that are bound to a key" };
        let nonce = if self.nonce { ", with a nonce of the gateway's" } else { "" };
        format!("{of} with a proof of the key that is at most {} s old{nonce}", self.max_age_seconds.get_ref())
    }
}

/// What outlives configurations: a reload makes no proof good again.
#[derive(Default)]
pub(crate) struct Proofs {
    spent: OnceLock<Arc<SpentProofs>>,
    secret: OnceLock<[u8; 32]>,
}

impl Proofs {
    fn spent(&self, max_age: i64, now: Timestamp) -> Arc<SpentProofs> {
        let [most, of_key] = REMEMBERED;
        let spent = self.spent.get_or_init(|| Arc::new(SpentProofs::new(max_age, most, of_key)));
        spent.lengthen(max_age, now);
        Arc::clone(spent)
    }

    fn secret(&self, world: &World<'_>) -> &[u8; 32] {
        self.secret.get_or_init(|| {
            let mut secret = [0; 32];
            world.fill(&mut secret);
            secret
        })
    }
}

impl std::fmt::Debug for Proofs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proofs(…)")
    }
}

/// The proof that a call shows, where its token comes with one.
pub(super) fn proof(dpop: &Dpop, call: &Call) -> Result<Option<Arc<Proof>>, ProofFault> {
    let request = &call.request;
    let value = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let is_dpop = |value: &&str| value.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("dpop "));
    let Some(value) = value.filter(is_dpop) else { return Ok(None) };
    if let Some(proof) = &call.proof {
        return Ok(Some(Arc::clone(proof)));
    }
    let scheme = if call.is_tls { "https" } else { "http" };
    let (host, path) = (request.host(), request.path());
    let uri = match request.port() {
        Some(port) => format!("{scheme}://{host}:{port}{path}"),
        None => format!("{scheme}://{host}{path}"),
    };
    let found = dpop.verify(Some(value), request.headers(), request.method().as_str(), &uri, call.now)?;
    Ok(found.map(Arc::new))
}

/// What the caller of a call holds: the certificate of its connection, and the key of this proof.
pub(super) fn held<'a>(certificate: Option<&'a str>, proof: Option<&'a Arc<Proof>>) -> Held<'a> {
    Held { certificate, proof: proof.map(|proof| &**proof) }
}
