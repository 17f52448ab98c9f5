//! P5, P6, P7 and P9: the gateway before one service, beside nginx, HAProxy and Envoy before the same one, driven in turn.

use super::crypto;
use super::form;
use super::load::{self, Figures, Sent};
use super::provider::Provider;
use super::report::{Report, Target};
use crate::demo::{binary, free_ports};
use crate::steps::{call, command, is_installed};
use crate::{Outcome, install, root};
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

const ROUNDS: usize = 2;
/// Tokens that come in turn: more than fit into a processor's caches.
const USERS: usize = 2_000;
/// Tokens that are seen once each.
const STRANGERS: usize = 100_000;
const AUDIENCE: &str = "default";

/// A server of this run, ended when dropped.
struct Server {
    child: Child,
    port: u16,
    name: &'static str,
}

impl Server {
    fn start(name: &'static str, mut command: Command, port: u16) -> Outcome<Self> {
        let log = folder()?.join(format!("{name}.log"));
        let log = File::create(log).map_err(|error| format!("cannot write below target/bench: {error}"))?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command.spawn().map_err(|error| format!("{name} could not be started: {error}"))?;
        let mut server = Self { child, port, name };
        for _ in 0..400 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(server);
            }
            if !matches!(server.child.try_wait(), Ok(None)) {
                break;
            }
            sleep(Duration::from_millis(25));
        }
        Err(format!("{name} does not listen on port {port}; see target/bench/{name}.log"))
    }

    /// The process that works: nginx leaves that to a child.
    fn worker(&self) -> u32 {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let first = fs::read_to_string(children).ok().and_then(|all| all.split_whitespace().next()?.parse().ok());
        first.filter(|_| self.name.starts_with("nginx")).unwrap_or(self.child.id())
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/orders/42", self.port)
    }

    fn secure_url(&self) -> String {
        format!("https://localhost:{}/orders/42", self.port)
    }

    fn drive(&self, tokens: &[String]) -> Outcome<Figures> {
        load::send(self.worker(), &self.url(), &Sent::Tokens(tokens))
    }

    fn drive_once(&self, tokens: &[String]) -> Outcome<Figures> {
        load::send_once(self.worker(), &self.url(), &Sent::Tokens(tokens))
    }

    /// Looked at before it is measured: a good token reaches the service, and no other.
    fn looked_at(&self, good: &str, bad: &[String]) -> Outcome {
        let status = |token: &str| form::get(self.port, "/orders/42", token);
        if status(good)? != 200 {
            return Err(format!("{} does not let a good token by", self.name));
        }
        match bad.iter().find(|token| !status(token).is_ok_and(|status| status != 200)) {
            None => Ok(()),
            Some(token) => Err(format!("{} lets a bad token by: {token}", self.name)),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx's worker would outlive a master that is killed.
        let asked = call(command("kill", &["-TERM", &self.child.id().to_string()]));
        if asked.is_err() || self.child.wait().is_err() {
            println!("{} (process {}) could not be ended", self.name, self.child.id());
        }
    }
}

fn folder() -> Outcome<PathBuf> {
    let folder = root().join("target/bench");
    let made = fs::create_dir_all(&folder);
    made.map(|()| folder).map_err(|error| format!("cannot write below target/bench: {error}"))
}

fn write(name: &str, text: &str) -> Outcome<PathBuf> {
    let path = folder()?.join(name);
    fs::write(&path, text).map(|()| path).map_err(|error| format!("cannot write {name}: {error}"))
}

/// A program that works on the first core alone; load, service and provider have the other one.
fn pinned(core: &str, program: &str) -> Command {
    let mut pinned = command("taskset", &["-c", core]);
    pinned.arg(program);
    pinned
}

fn nginx(name: &'static str, core: &str, port: u16, location: &str) -> Outcome<Server> {
    let run = folder()?;
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{name}-{kind};", run.display()))
        .join(" ");
    let text = format!(
        "worker_processes 1; daemon off; error_log stderr crit; pid {0}/{name}.pid;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n access_log off; keepalive_requests 100000000; keepalive_timeout 600s; {paths}\n {location}\n}}\n",
        run.display(),
    );
    let mut nginx = pinned(core, "nginx");
    nginx.arg("-c").arg(write(&format!("{name}.conf"), &text)?);
    Server::start(name, nginx, port)
}

/// A service that answers 1 KiB from memory.
fn service(port: u16) -> Outcome<Server> {
    let body = "x".repeat(1024);
    let server = format!(
        "server {{ listen 127.0.0.1:{port} backlog=1024; default_type text/plain; location / {{ return 200 \"{body}\"; }} }}"
    );
    nginx("nginx-service", "1", port, &server)
}

/// `more` is of its listener: TLS, where there is some.
fn nginx_plain(port: u16, service: u16, more: &str) -> Outcome<Server> {
    let server = format!(
        "upstream u {{ server 127.0.0.1:{service}; keepalive 256; keepalive_requests 100000000; keepalive_timeout 600s; }}\n\
         server {{ listen 127.0.0.1:{port} backlog=1024{more}; location / {{ proxy_pass http://u; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; }} }}"
    );
    nginx("nginx-plain", "0", port, &server)
}

/// A certificate that nobody vouches for, and its key.
fn certificate() -> Outcome<[PathBuf; 2]> {
    let files = [folder()?.join("certificate.pem"), folder()?.join("key.pem")];
    let [certificate, key] = &files;
    let kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let mut openssl = command("openssl", &kind);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out"]).arg(certificate);
    openssl.arg("-keyout").arg(key).stderr(Stdio::null());
    call(openssl).map(|()| files)
}

/// HAProxy keeps no verified token: it looks at each signature.
fn haproxy(port: u16, service: u16, provider: &Provider) -> Outcome<Server> {
    let key = write("provider.pem", &provider.public_pem()?)?;
    let text = format!(
        "global\n nbthread 1\n maxconn 4096\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 600s\n timeout server 600s\n http-reuse always\n\
         frontend f\n bind 127.0.0.1:{port}\n \
         http-request set-var(txn.bearer) http_auth_bearer\n \
         http-request deny deny_status 401 unless {{ var(txn.bearer) -m found }}\n \
         http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')\n \
         http-request set-var(txn.iss) var(txn.bearer),jwt_payload_query('$.iss')\n \
         http-request set-var(txn.aud) var(txn.bearer),jwt_payload_query('$.aud')\n \
         http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')\n \
         http-request set-var(txn.now) date()\n \
         http-request deny deny_status 401 unless {{ var(txn.alg) -m str RS256 }}\n \
         http-request deny deny_status 401 unless {{ var(txn.iss) -m str {} }}\n \
         http-request deny deny_status 401 unless {{ var(txn.aud) -m str {AUDIENCE} }}\n \
         http-request deny deny_status 401 unless {{ var(txn.exp),sub(txn.now) -m int gt 0 }}\n \
         http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,\"{}\") -m int 1 }}\n \
         default_backend b\nbackend b\n server s 127.0.0.1:{service}\n",
        provider.issuer(),
        key.display(),
    );
    let mut haproxy = pinned("0", "haproxy");
    haproxy.arg("-db").arg("-f").arg(write("haproxy.cfg", &text)?);
    Server::start("haproxy", haproxy, port)
}

fn envoy(port: u16, service: u16, provider: &Provider) -> Outcome<Server> {
    let keys = write("provider-keys.json", &provider.keys()?)?;
    let text = format!(
        r#"static_resources:
  listeners:
  - name: l
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: h
          codec_type: HTTP1
          generate_request_id: false
          route_config:
            name: r
            virtual_hosts:
            - {{ name: v, domains: ["*"], routes: [ {{ match: {{ prefix: / }}, route: {{ cluster: u }} }} ] }}
          http_filters:
          - name: envoy.filters.http.jwt_authn
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                bench:
                  issuer: {issuer}
                  audiences: [ "{AUDIENCE}" ]
                  require_expiration: true
                  forward: true
                  local_jwks: {{ filename: "{keys}" }}
                  jwt_cache_config: {{ jwt_cache_size: 4096 }}
              rules:
              - match: {{ prefix: / }}
                requires: {{ provider_name: bench }}
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: u
    type: STATIC
    connect_timeout: 5s
    circuit_breakers: {{ thresholds: [ {{ max_connections: 4096, max_requests: 4096, max_pending_requests: 4096 }} ] }}
    load_assignment:
      cluster_name: u
      endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {service} }} }} }} }} ] }} ]
"#,
        issuer = provider.issuer(),
        keys = keys.display(),
    );
    let program = root().join(".venv/bin/envoy");
    let mut envoy = pinned("0", &program.display().to_string());
    envoy.args(["--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id", "-c"]);
    envoy.arg(write("envoy.yaml", &text)?);
    Server::start("envoy", envoy, port)
}

/// Ours, as it is shipped: access log on, written to a file.
fn gateway(
    name: &'static str,
    port: u16,
    service: u16,
    provider: &Provider,
    onward: &str,
    more: &str,
) -> Outcome<Server> {
    write("provider-keys.json", &provider.keys()?)?;
    let issuer = provider.issuer();
    let text = format!(
        "listen = \"127.0.0.1:{port}\"\n\
         [[issuer]]\nname = \"bench\"\nissuer = \"{issuer}\"\njwks = \"provider-keys.json\"\ntenants = [\"bench\"]\n\
         [[authority]]\nname = \"bench\"\ntoken_endpoint = \"{issuer}/token\"\nissuer = \"{issuer}\"\n\
         client_id = \"gateway\"\nsecret = {{ env = \"BENCH_SECRET\" }}\n\
         [[upstream]]\nname = \"orders\"\nurl = \"http://127.0.0.1:{service}\"\n\
         [[api]]\nname = \"orders\"\npath = \"/orders\"\nupstream = \"orders\"\nonward = {onward}\n\
         [api.policies.validate_jwt]\nissuers = [\"bench\"]\naudiences = [\"{AUDIENCE}\"]\n\
         [[api.operation]]\nname = \"read\"\nmethod = \"GET\"\npath = \"/{{id}}\"\n\
         [api.operation.policies.require]\nscopes = [\"access_as_user\"]\n{more}"
    );
    let file = write(&format!("{name}.toml"), &text)?;
    let mut gateway = pinned("0", &binary().display().to_string());
    gateway.arg("gateway").arg(file).env("BENCH_SECRET", "of no use to anybody");
    Server::start(name, gateway, port)
}

/// Tokens that must not reach the service.
fn bad(provider: &Provider) -> Outcome<Vec<String>> {
    let good = provider.token(0)?;
    let other = Provider::new(1)?;
    let (signed, signature) = good.rsplit_once('.').ok_or("a token without a signature")?;
    Ok(vec![format!("{signed}."), format!("{signed}.{}A", signature.get(1..).unwrap_or_default()), other.token(0)?])
}

fn peers() -> Outcome {
    install::debian(&[("wrk", "wrk"), ("nginx", "nginx-light"), ("haproxy", "haproxy"), ("h2load", "nghttp2-client")])?;
    if is_installed(".venv/bin/envoy") { Ok(()) } else { install::python() }
}

pub(crate) fn measure(report: &mut Report) -> Outcome {
    peers()?;
    let floor = crypto::measure()?;
    let first = free_ports()?;
    let provider = Arc::new(Provider::new(first)?);
    provider.serve(first)?;
    let service = service(first + 1)?;
    report.heading("The gateway, plain HTTP/1.1 on loopback, one core, 64 connections, 1 KiB answers, access log on");
    report.line(&format!("RS256: verify {:.1} µs. N is nginx as a plain proxy, in this run.", floor.rs256.verify));
    report.line("");
    let one = vec![provider.token(0)?];
    let many: Vec<String> = (0..USERS).map(|id| provider.token(id)).collect::<Outcome<_>>()?;
    let strangers: Vec<String> = (USERS..USERS + STRANGERS).map(|id| provider.token(id)).collect::<Outcome<_>>()?;
    let bad = bad(&provider)?;
    report.begin_loads();

    let plain = nginx_plain(first + 2, service.port, "")?;
    let mut bare: Vec<Figures> = (0..ROUNDS).map(|_| plain.drive(&one)).collect::<Outcome<_>>()?;
    bare.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
    for figures in &bare {
        report.load("N", "nginx, plain proxy", figures, None);
    }
    let n = bare.first().map(|figures| figures.cpu).ok_or("nginx was not measured")?;
    drop(plain);
    let most = |most| Some(Target { floor: n, most });

    let ours = gateway("gateway", first + 3, service.port, &provider, "\"passthrough\"", "")?;
    let theirs = [haproxy(first + 4, service.port, &provider)?, envoy(first + 5, service.port, &provider)?];
    for server in std::iter::once(&ours).chain(&theirs) {
        server.looked_at(one.first().map(String::as_str).unwrap_or_default(), &bad)?;
    }
    load::settle(ours.worker())?;
    let idle = load::resident_mib(ours.worker())?;
    for (work, tokens, target) in [("one token", &one, most(1.6 * n)), ("2 000 tokens in turn", &many, most(1.8 * n))] {
        for _ in 0..ROUNDS {
            report.load("P5", &format!("validated, {work}"), &ours.drive(tokens)?, target);
            for server in &theirs {
                report.load("", &format!("{}, {work}", server.name), &server.drive(tokens)?, None);
            }
        }
    }
    let cold = most(1.6 * n + floor.rs256.verify + 5.0);
    report.load("P6", "validated, each token for the first time", &ours.drive_once(&strangers)?, cold);
    for server in &theirs {
        report.load(
            "",
            &format!("{}, each token for the first time", server.name),
            &server.drive_once(&strangers)?,
            None,
        );
    }
    let loaded = load::resident_mib(ours.worker())?;
    drop(ours);

    let exchange = "{ on_behalf_of = { authority = \"bench\", target = \"api://orders/.default\" } }";
    let ours = gateway("gateway-obo", first + 3, service.port, &provider, exchange, "")?;
    ours.looked_at(one.first().map(String::as_str).unwrap_or_default(), &bad)?;
    for (work, tokens, target) in [("one user", &one, 1.6 * n + 5.0), ("2 000 users in turn", &many, 1.8 * n + 5.0)] {
        for _ in 0..ROUNDS {
            report.load("P7", &format!("with a token on behalf of {work}"), &ours.drive(tokens)?, most(target));
        }
    }
    drop(ours);
    secure(report, first, service.port, &provider, [&one, &many])?;
    report.line("");
    report.line(&format!(
        "- P9, resident memory of the gateway: {idle:.1} MiB idle, {loaded:.1} MiB under load (target: 20)."
    ));
    Ok(())
}

/// The same beside it over TLS 1.3, by HTTP/1.1 and HTTP/2: no target is stated for it.
fn secure(
    report: &mut Report,
    first: u16,
    service: u16,
    provider: &Provider,
    [one, many]: [&Vec<String>; 2],
) -> Outcome {
    let [certificate, key] = certificate()?.map(|file| file.display().to_string());
    let token = one.first().map(String::as_str).unwrap_or_default();
    let listens =
        format!(" ssl http2; ssl_protocols TLSv1.3; ssl_certificate {certificate}; ssl_certificate_key {key}");
    let plain = nginx_plain(first + 2, service, &listens)?;
    let url = plain.secure_url();
    let bare = load::send(plain.worker(), &url, &Sent::Tokens(one))?;
    report.load("N", "nginx, plain proxy, over TLS 1.3", &bare, None);
    report.load("", "the same, by HTTP/2", &load::multiplexed(plain.worker(), &url, token)?, None);
    drop(plain);
    let listens = format!("[[certificate]]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n");
    let ours = gateway("gateway-tls", first + 3, service, provider, "\"passthrough\"", &listens)?;
    let url = ours.secure_url();
    for (work, tokens) in [("one token", one), ("2 000 tokens in turn", many)] {
        let figures = load::send(ours.worker(), &url, &Sent::Tokens(tokens))?;
        report.load("P5", &format!("validated, {work}, over TLS 1.3"), &figures, None);
    }
    let figures = load::multiplexed(ours.worker(), &url, token)?;
    report.load("P5", "validated, one token, over TLS 1.3 by HTTP/2", &figures, None);
    Ok(())
}
