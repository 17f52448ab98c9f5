//! Services of the file: where they are, and how long they are waited for.
use super::compile::is_segment;
use super::file::UpstreamTable;
use super::world::{World, twice};
use super::{File, SettingsError, Spanned, fault};
use crate::upstream::{Upstream, connections};
use http::Uri;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

pub(super) fn upstreams(file: &File, world: &World<'_>) -> Result<HashMap<String, Arc<Upstream>>, SettingsError> {
    let roots = match &file.trusted_certificates {
        None => Vec::new(),
        Some(path) => {
            let text = world.text(path.get_ref(), &path.span())?;
            let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
            let roots = read.ok().filter(|roots| !roots.is_empty());
            roots
                .ok_or_else(|| fault(&path.span(), "the file has no certificate in PEM", "give certificates in PEM"))?
        }
    };
    let at = file.trusted_certificates.as_ref().map_or(0..0, Spanned::span);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let unusable = |error: rustls::Error| fault(&at, error.to_string(), "check the certificate authorities");
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(roots, Arc::clone(&provider));
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier.map_err(unusable)?))
        .with_no_client_auth();
    let mut upstreams = HashMap::new();
    for table in &file.upstream {
        let upstream = upstream(table.get_ref(), &tls)?;
        let name = &table.get_ref().name;
        if upstreams.insert(name.get_ref().clone(), Arc::new(upstream)).is_some() {
            return Err(twice("an upstream", name));
        }
    }
    Ok(upstreams)
}

fn upstream(table: &UpstreamTable, tls: &rustls::ClientConfig) -> Result<Upstream, SettingsError> {
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
    let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
    let base = path.strip_suffix('/').unwrap_or(path);
    if !(base.is_empty() || base.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_segment))) {
        return Err(wrong("the path of the address is not in its one spelling"));
    }
    for (seconds, name) in
        [(table.connect_seconds, "connect"), (table.answer_seconds, "answer"), (table.silence_seconds, "silence")]
    {
        if !(1..=86_400).contains(&seconds) {
            let problem = format!("`{name}_seconds` is out of range");
            return Err(fault(&table.name.span(), problem, "write 1 to 86400"));
        }
    }
    if !(1..=1_000_000).contains(&table.max_requests) {
        return Err(fault(&table.name.span(), "`max_requests` is out of range", "write 1 to 1000000"));
    }
    Ok(Upstream {
        name: table.name.get_ref().as_str().into(),
        scheme,
        authority,
        base: base.to_owned(),
        preserve_host: table.preserve_host,
        timeout: Duration::from_secs(table.answer_seconds),
        silence: Duration::from_secs(table.silence_seconds),
        slots: Arc::new(Semaphore::new(table.max_requests)),
        connections: connections(tls.clone(), Duration::from_secs(table.connect_seconds)),
    })
}
