//! Services of the file: where they are, and how long they are waited for.
use super::compile::is_segment;
use super::file::{CircuitTable, Pem, ProbeTable, UpstreamTable};
use super::world::{World, twice, unknown};
use super::{File, SettingsError, Spanned, fault};
use crate::onward;
use crate::upstream::{Circuit, Connector, MOST_ADDRESSES, Plan, Presented, Probe, Slots, Target, Upstream};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{StatusCode, Uri};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// The services of a configuration, by their names.
pub(crate) type Upstreams = HashMap<String, Arc<Upstream>>;

/// Those of the file. Of the ones that were there before, those that nothing changed about stay as they are, with their connections
/// and what is known of their health.
pub(super) fn upstreams(file: &File, world: &mut World<'_>, before: &Upstreams) -> Result<Upstreams, SettingsError> {
    let (tls, roots) = trusted(file, world)?;
    let mut upstreams = HashMap::new();
    for table in &file.upstream {
        let name = &table.get_ref().name;
        let plan = plan(table.get_ref(), &roots)?;
        let upstream = match before.get(name.get_ref()).filter(|known| known.is_by(&plan)) {
            Some(known) => Arc::clone(known),
            None => made(plan, table.get_ref(), &tls, None, None)?,
        };
        if upstreams.insert(name.get_ref().clone(), upstream).is_some() {
            return Err(twice("an upstream", name));
        }
    }
    for api in &file.api {
        let api = api.get_ref();
        let own = api.operation.iter().filter_map(|operation| operation.get_ref().onward.as_ref());
        for onward in api.onward.iter().chain(own) {
            shown(onward, &api.upstream, file, world, &tls, before, &mut upstreams)?;
        }
    }
    Ok(upstreams)
}

/// What a service that is shown a certificate is known by, beside the one that is shown none.
pub(super) fn showing(upstream: &str, certificate: &Pem, key: Option<&Pem>) -> String {
    // No name in a file has a line's end and is one of these too.
    format!("{upstream}\n{certificate:?}\n{key:?}")
}

/// A service once more, for requests over connections that are opened with a certificate.
fn shown(
    onward: &Spanned<onward::Table>,
    upstream: &Spanned<String>,
    file: &File,
    world: &mut World<'_>,
    tls: &ClientConfig,
    before: &Upstreams,
    upstreams: &mut Upstreams,
) -> Result<(), SettingsError> {
    let onward::Table::ClientCertificate { certificate, key } = onward.get_ref() else { return Ok(()) };
    let table = file.upstream.iter().find(|table| table.get_ref().name.get_ref() == upstream.get_ref());
    let (Some(table), Some(base)) = (table, upstreams.get(upstream.get_ref())) else {
        return Err(unknown("upstream", upstream, upstreams.keys()));
    };
    let name = showing(upstream.get_ref(), certificate.get_ref(), key.as_ref());
    if upstreams.contains_key(&name) {
        return Ok(());
    }
    if base.scheme != Scheme::HTTPS {
        let hint = "write `https://` in the `url` of the upstream";
        return Err(fault(&certificate.span(), "a certificate is shown over TLS only", hint));
    }
    let pair = world.pair(certificate.get_ref(), key.as_ref(), &certificate.span())?;
    let plan = Plan { certificate: Some(pair.clone()), ..Plan::clone(base) };
    let known = before.get(&name).filter(|known| known.is_by(&plan) && Arc::ptr_eq(&known.slots, &base.slots));
    let made = if let Some(known) = known {
        Arc::clone(known)
    } else {
        let hint = "give a chain in PEM that begins with the gateway's certificate, and its key";
        let presented = Presented::read(pair).map_err(|reason| fault(&certificate.span(), reason, hint))?;
        made(plan, table.get_ref(), tls, Some(presented), Some(Arc::clone(&base.slots)))?
    };
    world.keep_up_to_date(Arc::clone(&made) as _);
    upstreams.insert(name, made);
    Ok(())
}

/// TLS as a client, and the text of the authorities that the file adds to the system's.
pub(super) fn trusted(file: &File, world: &World<'_>) -> Result<(ClientConfig, Arc<str>), SettingsError> {
    let text = match &file.trusted_certificates {
        None => String::new(),
        Some(path) => world.text(path.get_ref(), &path.span())?,
    };
    let at = file.trusted_certificates.as_ref().map_or(0..0, Spanned::span);
    Ok((tls(&text, &at)?, text.into()))
}

fn tls(roots: &str, at: &Range<usize>) -> Result<ClientConfig, SettingsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(roots.as_bytes()).collect();
    let roots = read.ok().filter(|read| roots.is_empty() || !read.is_empty());
    let roots = roots.ok_or_else(|| fault(at, "the file has no certificate in PEM", "give certificates in PEM"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let unusable = |error: rustls::Error| fault(at, error.to_string(), "check the certificate authorities");
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(roots, Arc::clone(&provider));
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier.map_err(unusable)?))
        .with_no_client_auth())
}

fn made(
    plan: Plan,
    table: &UpstreamTable,
    tls: &ClientConfig,
    presented: Option<Arc<Presented>>,
    slots: Option<Arc<Slots>>,
) -> Result<Arc<Upstream>, SettingsError> {
    let unusable = || fault(&table.url.span(), "its host is no name that certificates have", "write another host");
    let name = (plan.scheme == Scheme::HTTPS).then(|| ServerName::try_from(host(&plan.authority).to_owned()));
    let name = name.transpose().map_err(|_| unusable())?;
    let mut tls = tls.clone();
    if let Some(presented) = &presented {
        tls.client_auth_cert_resolver = Arc::clone(presented) as _;
        // A session that is resumed is one of the certificate that it was begun with.
        tls.resumption = Resumption::disabled();
    }
    let connector = Connector::new(name.map(|name| (&tls, name)), plan.http, plan.connect);
    Upstream::new(plan, connector, presented, slots).ok_or_else(unusable)
}

fn plan(table: &UpstreamTable, roots: &Arc<str>) -> Result<Plan, SettingsError> {
    let at = table.url.span();
    let wrong = |problem: &str| fault(&at, problem, "write `https://orders.internal/v1` or `http://127.0.0.1:9000`");
    let uri: Uri = table.url.get_ref().parse().map_err(|_| wrong("this is no address of a service"))?;
    let parts = uri.into_parts();
    let scheme = parts.scheme.filter(|scheme| matches!(scheme.as_str(), "http" | "https"));
    let scheme = scheme.ok_or_else(|| wrong("the address has no scheme that is spoken here"))?;
    let authority = parts.authority.ok_or_else(|| wrong("the address names no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("the address has a name or password; say it in `onward`"));
    }
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    let behind_host = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    if !(behind_host.is_empty() || behind_host.strip_prefix(':').is_some_and(is_port)) {
        return Err(wrong("the port of the address is none of 1 to 65535"));
    }
    // What reads addresses drops it.
    if table.url.get_ref().contains('#') {
        return Err(wrong("the address has a fragment"));
    }
    let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
    let base = path.strip_suffix('/').unwrap_or(path);
    if !(base.is_empty() || base.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_segment))) {
        return Err(wrong("the path of the address is not in its one spelling"));
    }
    let name = table.name.span();
    let seconds = |name: &str, seconds: u64, at: &Range<usize>| {
        let problem = || fault(at, format!("`{name}_seconds` is out of range"), "write 1 to 86400");
        (1..=86_400).contains(&seconds).then(|| Duration::from_secs(seconds)).ok_or_else(problem)
    };
    if !(1..=1_000_000).contains(&table.max_requests) {
        return Err(fault(&name, "`max_requests` is out of range", "write 1 to 1000000"));
    }
    Ok(Plan {
        targets: targets(table, &scheme, &authority)?,
        name: table.name.get_ref().as_str().into(),
        scheme,
        authority,
        base: base.to_owned(),
        http: table.http,
        preserve_host: table.preserve_host,
        connect: seconds("connect", table.connect_seconds, &name)?,
        timeout: seconds("answer", table.answer_seconds, &name)?,
        silence: seconds("silence", table.silence_seconds, &name)?,
        max_requests: table.max_requests,
        circuit: circuit(&table.circuit, seconds("trip", table.circuit.trip_seconds, &name)?)?,
        probe: match &table.probe {
            None => None,
            Some(probe) => {
                let at = probe.path.span();
                let every = seconds("interval", probe.interval_seconds, &at)?;
                Some(read_probe(probe, every, seconds("timeout", probe.timeout_seconds, &at)?)?)
            }
        },
        roots: Arc::clone(roots),
        certificate: None,
    })
}

/// Without the brackets of an IPv6 address.
fn host(authority: &Authority) -> &str {
    let host = authority.host();
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Link-local addresses are clouds' own, for what a machine may know of itself: no service is there.
fn is_reached(target: Target, at: &Range<usize>) -> Result<Target, SettingsError> {
    match target.host.parse() {
        Ok(address) if fetch::is_link_local(address) => {
            let hint = "write another: clouds keep their metadata at such addresses";
            Err(fault(at, "this address is never connected to", hint))
        }
        _ => Ok(target),
    }
}

fn targets(table: &UpstreamTable, scheme: &Scheme, authority: &Authority) -> Result<Vec<Target>, SettingsError> {
    if table.addresses.is_empty() {
        let usual = if *scheme == Scheme::HTTPS { 443 } else { 80 };
        let target = Target { host: host(authority).to_owned(), port: authority.port_u16().unwrap_or(usual) };
        return Ok(vec![is_reached(target, &table.url.span())?]);
    }
    let mut targets: Vec<Target> = Vec::new();
    for text in &table.addresses {
        let wrong = |problem: &str| fault(&text.span(), problem, "write `10.0.0.7:8443`, `[::1]:8443` or `host:8443`");
        let read: Option<Authority> = text.get_ref().parse().ok();
        let read = read.filter(|read| !read.as_str().contains('@') && !read.host().is_empty());
        let read = read.ok_or_else(|| wrong("this is no host and port"))?;
        let port = read.port_u16().filter(|port| *port != 0).ok_or_else(|| wrong("the address has no port"))?;
        let target = is_reached(Target { host: host(&read).to_ascii_lowercase(), port }, &text.span())?;
        if targets.contains(&target) {
            return Err(fault(&text.span(), "the address is listed twice", "keep one"));
        }
        targets.push(target);
    }
    match table.addresses.get(MOST_ADDRESSES) {
        None => Ok(targets),
        Some(first) => {
            let problem = format!("a service has {MOST_ADDRESSES} addresses at most");
            Err(fault(&first.span(), problem, "put a load balancer before them"))
        }
    }
}

fn circuit(table: &CircuitTable, trip: Duration) -> Result<Circuit, SettingsError> {
    let mut statuses = Vec::new();
    for code in &table.statuses {
        let status = StatusCode::from_u16(*code.get_ref()).ok().filter(StatusCode::is_server_error);
        statuses.push(status.ok_or_else(|| {
            fault(&code.span(), "this status is no failure of a service", "write one from 500 to 599, such as 503")
        })?);
    }
    Ok(Circuit { failures: table.failures, trip, statuses })
}

fn read_probe(table: &ProbeTable, interval: Duration, timeout: Duration) -> Result<Probe, SettingsError> {
    let at = table.path.span();
    let path: Option<PathAndQuery> = table.path.get_ref().parse().ok();
    let path = path.filter(|_| table.path.get_ref().starts_with('/'));
    let status = match &table.status {
        None => None,
        Some(code) => Some(
            StatusCode::from_u16(*code.get_ref())
                .map_err(|_| fault(&code.span(), "this is no status", "write one such as 200, or leave it out"))?,
        ),
    };
    if table.healthy == 0 || table.unhealthy == 0 {
        return Err(fault(&at, "`healthy` and `unhealthy` are counts of answers", "write 1 or more"));
    }
    Ok(Probe {
        path: path.ok_or_else(|| fault(&at, "this is no path", "write `/health`"))?,
        interval,
        timeout,
        status,
        healthy: table.healthy,
        unhealthy: table.unhealthy,
    })
}
