//! The peer: node-oidc-provider with the same exchange, on the same core, driven in turn with ours.

use super::form;
use crate::steps::command;
use crate::{Outcome, root};
use std::fs::File;
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

const PORT: u16 = 9301;
const CLIENT: [(&str, &str); 2] =
    [("client_id", "bench"), ("client_secret", "a-secret-of-the-benchmark-a-secret-of-it")];

/// The running peer, ended when dropped.
pub(crate) struct Peer(Child);

impl Peer {
    pub(crate) fn start() -> Outcome<Self> {
        let log = File::create(root().join("target/peer.log")).map_err(|error| format!("target/peer.log: {error}"))?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let mut node = command("taskset", &["-c", "0", "node", "e2e/peer/server.mjs"]);
        node.env("PORT", PORT.to_string())
            .env("NODE_ENV", "production")
            .stdout(log)
            .stderr(errors)
            .stdin(Stdio::null());
        let mut peer = Self(node.spawn().map_err(|error| format!("the peer could not be started: {error}"))?);
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", PORT)).is_ok() {
                return Ok(peer);
            }
            if !matches!(peer.0.try_wait(), Ok(None)) {
                break;
            }
            sleep(Duration::from_millis(50));
        }
        Err("the peer did not come up; see target/peer.log".to_owned())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn url() -> String {
        format!("http://127.0.0.1:{PORT}/token")
    }

    /// Bodies that ask for an application's token, signed by that algorithm.
    pub(crate) fn client_credentials(algorithm: &str) -> Vec<String> {
        let resource = format!("urn:api:{}", algorithm.to_lowercase());
        let fields = [("grant_type", "client_credentials"), ("scope", "read"), ("resource", resource.as_str())];
        vec![form::encode(&[fields.as_slice(), &CLIENT].concat())]
    }

    /// Bodies that exchange tokens signed by one algorithm for tokens signed by another, each with an assertion of its own.
    pub(crate) fn exchanges(from: &str, to: &str, count: usize) -> Outcome<Vec<String>> {
        let scope = format!("urn:down:{}/.default", to.to_lowercase());
        let asked = Self::client_credentials(from).concat();
        let bodies = (0..count).map(|_| {
            let assertion = form::token(form::post(PORT, "/token", &asked)?)?;
            let fields = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("requested_token_use", "on_behalf_of"),
                ("scope", scope.as_str()),
                ("assertion", assertion.as_str()),
            ];
            Ok(form::encode(&[fields.as_slice(), &CLIENT].concat()))
        });
        let bodies: Vec<String> = bodies.collect::<Outcome<_>>()?;
        let first = bodies.first().map_or("", String::as_str);
        let token = form::token(form::post(PORT, "/token", first)?)?;
        let signed_by = form::part(&token, 0)?;
        if signed_by.get("alg").is_none_or(|alg| alg != to) {
            return Err(format!("the peer signed by {signed_by} instead of {to}"));
        }
        Ok(bodies)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.0.kill().and_then(|()| self.0.wait()).is_err() {
            println!("the peer (process {}) could not be ended", self.0.id());
        }
    }
}
