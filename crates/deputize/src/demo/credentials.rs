//! The demo's secrets, certificates and passwords: random, made once for each data folder, and kept in it.
use crate::data::Data;
use crate::failure::Failure;
use crate::system::{self, SystemClock};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use decision::{Clock, Timestamp};
use jose::{Algorithm, SigningKey};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use std::time::Duration;
use tokio::task::spawn_blocking;

const SECRETS: [&str; 10] =
    ["orders", "reports", "web", "daemon", "identity-header", "travel", "trips", "gateway", "ledger", "subscription"];
const CERTIFICATES: [&str; 4] = ["orders", "web", "daemon", "host"];
const PEOPLE: [&str; 5] = ["ada", "bob", "grace", "erin", "frank"];
const YEAR: i64 = 365 * 86_400;

/// Makes what is missing.
pub(super) async fn make(folder: &Data) -> Result<(), Failure> {
    for name in SECRETS {
        folder.text(&format!("{name}.secret"), || Ok(unguessable::<32>()))?;
    }
    for name in PEOPLE {
        folder.text(&format!("{name}.password"), || Ok(unguessable::<12>()))?;
    }
    let making: Vec<_> = CERTIFICATES
        .into_iter()
        .map(|name| {
            let folder = folder.clone();
            spawn_blocking(move || folder.text(&format!("{name}.pem"), || certificate(name)))
        })
        .collect();
    for made in making {
        made.await.map_err(|_| failed())??;
    }
    chain(folder)
}

/// A certificate of the daemon that is registered nowhere, with the authority that is: made together, and the authority's key
/// is forgotten.
fn chain(folder: &Data) -> Result<(), Failure> {
    let daemon = folder.read("daemon.pem")?.ok_or_else(failed)?;
    let chain = folder.text("daemon-chain.pem", || issued(&daemon))?;
    let authority = chain.rfind("-----BEGIN CERTIFICATE-----").and_then(|at| chain.get(at..)).ok_or_else(failed)?;
    folder.text("authority.pem", || Ok(authority.to_owned()))?;
    Ok(())
}

fn issued(daemon: &str) -> Result<String, Failure> {
    let now = SystemClock.now();
    let moment = |at: Timestamp| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at.0.unsigned_abs());
    let parameters = |name: &str| {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::OrganizationName, "Contoso");
        parameters.distinguished_name.push(DnType::CommonName, name);
        (parameters.not_before, parameters.not_after) = (moment(now.plus(-3_600)), moment(now.plus(YEAR)));
        parameters
    };
    let key = SigningKey::from_pem(Algorithm::RS256, daemon).map_err(|_| failed())?;
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&key.pkcs8().into(), &rcgen::PKCS_RSA_SHA256);
    let (key, above) = (key.map_err(|_| failed())?, KeyPair::generate().map_err(|_| failed())?);
    let mut authority = parameters("Contoso issuing authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let root = authority.self_signed(&above).map_err(|_| failed())?;
    let own = parameters("daemon").signed_by(&key, &Issuer::from_params(&authority, &above)).map_err(|_| failed())?;
    Ok(pem("PRIVATE KEY", &key.serialize_der()) + &pem("CERTIFICATE", own.der()) + &pem("CERTIFICATE", root.der()))
}

fn unguessable<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(system::unpredictable::<N>())
}

/// A key and its self-signed certificate, in PEM, as client libraries take them.
pub(super) fn certificate(name: &str) -> Result<String, Failure> {
    let now = SystemClock.now();
    let key = SigningKey::generate(Algorithm::RS256).map_err(|_| failed())?;
    let der = key.self_signed(name, now.plus(-3_600), now.plus(YEAR)).map_err(|_| failed())?;
    Ok(pem("PRIVATE KEY", key.pkcs8()) + &pem("CERTIFICATE", &der))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn failed() -> Failure {
    Failure::new("no key could be made for the demo", "try again")
}
