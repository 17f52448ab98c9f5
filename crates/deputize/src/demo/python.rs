//! `deputize demo --sidecar`: Orders as a Python program without any SDK, and the sidecar beside it. Each is a process of its
//! own. The sidecar is told what platforms tell Texas, and where Billing is, by the names of Microsoft's sidecar.
use super::world::World;
use crate::beside::{self, Beside};
use crate::data::{self, Data};
use crate::dev_ca::Leaf;
use crate::env;
use crate::failure::{Failure, why};
use crate::file::Text;
use oauth::Secret;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The program.
const ORDERS: &str = include_str!("../../../../examples/orders-python/orders.py");
const PYTHON: &str = "python3";

/// Orders, and its sidecar.
pub(super) struct Processes {
    orders: Child,
    sidecar: Beside,
}

/// Whether this machine has what the program needs.
pub(super) async fn check() -> Result<(), Failure> {
    let mut python = Command::new(PYTHON);
    python.args(["-c", "import requests"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match python.status().await {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Failure::new(
            format!("`{PYTHON}` has no library `requests`, which Orders needs here"),
            format!("{PYTHON} -m pip install requests, or on Debian: apt install python3-requests"),
        )),
        Err(error) => Err(Failure::new(
            format!("Orders is a Python program here, and `{PYTHON}` cannot be started: {}", why(&error)),
            "install Python 3.9 or newer and its library requests; on Debian: apt install python3-requests",
        )),
    }
}

impl Processes {
    /// Starts both, and waits until they serve.
    pub(super) async fn start(world: &World, secrets: &Data, leaf: &Leaf, port: u16) -> Result<Self, Failure> {
        let mut sidecar = beside::command()?;
        sidecar.env_clear().envs([
            ("AZURE_ENABLED", "true"),
            ("AZURE_APP_CLIENT_ID", world.orders.app_id.as_str()),
            ("AZURE_APP_JWK", private_jwk(world)?.expose()),
            (
                "AZURE_APP_WELL_KNOWN_URL",
                format!("{}/v2.0/.well-known/openid-configuration", world.authority()).as_str(),
            ),
        ]);
        sidecar.env("SSL_CERT_FILE", &world.ca_file).env("NATIVE_BIND_ADDRESS", "127.0.0.1:0");
        sidecar.env("AzureAd__Scopes", "access_as_user").env("DEPUTIZE_EVENTS", "entra_id");
        // For each thing that Orders does at Billing, a token that can do no more.
        for (name, scope) in [("read", "Invoices.Read"), ("approve", "Invoices.Approve"), ("pay", "Invoices.Pay")] {
            sidecar.env(format!("DownstreamApis__{name}__BaseUrl"), world.billing_url());
            sidecar.env(format!("DownstreamApis__{name}__Scopes__0"), format!("api://billing/{scope}"));
        }
        let sidecar = Beside::start(sidecar, "error").await?;

        let (program, certificate, key) =
            (secrets.path("orders.py"), secrets.path("localhost.pem"), secrets.path("localhost.key"));
        data::replace(&program, ORDERS.as_bytes())?;
        data::replace(&certificate, leaf.chain_pem.as_bytes())?;
        data::replace(&key, leaf.key_pem.as_bytes())?;
        let mut orders = beside::dying(PYTHON.as_ref())?;
        let native = sidecar.native().map(|address| format!("http://{address}"));
        orders.arg(program).env("SIDECAR", native.unwrap_or_default());
        orders.env("PORT", port.to_string()).env("CERTIFICATE", certificate).env("PRIVATE_KEY", key);
        orders.env("NO_PROXY", "localhost,127.0.0.1").env("PYTHONDONTWRITEBYTECODE", "1");
        // One line for each request is what this server writes to standard error.
        let log = std::fs::File::create(secrets.path("orders.log")).map_err(|error| {
            Failure::plain(format!("`{}` cannot be written: {}", secrets.path("orders.log").display(), why(&error)))
        })?;
        orders.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true).process_group(0);
        let failed = |error: std::io::Error| Failure::plain(format!("`{PYTHON}` cannot be started: {}", why(&error)));
        let mut orders = orders.spawn().map_err(failed)?;
        if let Some(said) = orders.stdout.take() {
            let first = BufReader::new(said).lines().next_line().await.map_err(failed)?;
            if first.is_none() {
                let log = secrets.read("orders.log").ok().flatten().unwrap_or_default();
                let last = log.lines().last().unwrap_or_default();
                let error = format!("Orders, the Python program, ended before it served ({last})");
                return Err(Failure::new(error, "Python 3.9 or newer is needed"));
            }
        }
        Ok(Self { orders, sidecar })
    }

    /// Where the sidecar is.
    pub(super) fn sidecar(&self) -> String {
        format!("http://{}", self.sidecar.address())
    }

    /// Where programs find it.
    pub(super) fn variables(&self) -> [(&'static str, String); 3] {
        self.sidecar.variables()
    }

    /// Ends both.
    pub(super) async fn end(mut self) {
        let _ = self.orders.kill().await;
        self.sidecar.end().await;
    }
}

/// The key of Orders' registered certificate, as NAIS hands keys over.
fn private_jwk(world: &World) -> Result<Secret, Failure> {
    let pem = Text::read(&world.orders.certificate_file)?;
    env::private_key(&pem.content)?.private_jwk().map_err(Failure::told)
}
