//! The demo's secrets, certificates and passwords: random, made once for each data folder, and kept in it.
use crate::data::Data;
use crate::failure::Failure;
use crate::system::{self, SystemClock};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use decision::Clock;
use jose::{Algorithm, SigningKey};
use tokio::task::spawn_blocking;

const SECRETS: [&str; 4] = ["orders", "reports", "web", "daemon"];
const CERTIFICATES: [&str; 3] = ["orders", "web", "daemon"];
const PEOPLE: [&str; 2] = ["ada", "bob"];
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
    Ok(())
}

fn unguessable<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(system::unpredictable::<N>())
}

/// A key and its self-signed certificate, in PEM, as client libraries take them.
fn certificate(name: &str) -> Result<String, Failure> {
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
