//! Listeners of the file: how each of them speaks.
use super::file::{CertificateTable, ClientCertificates};
use super::world::{World, twice};
use super::{File, SettingsError, Spanned, fault};
use crate::address::is_trusted;
use crate::certificates::Certificates;
use crate::policy;
use crate::rotating::Rotates;
use crate::secrets::Material;
use crate::told_certificate::CertificateField;
use ipnet::IpNet;
use rustls::ServerConfig;
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::Arc;

/// The listeners of a configuration.
pub(crate) type Doors = Vec<Arc<Door>>;

/// A listener of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "listener")]
pub struct ListenerTable {
    /// Where to listen, such as `localhost:8080` or `0.0.0.0:8443`.
    pub address: Spanned<String>,
    /// Whether TLS is not spoken there: on loopback only, behind something on this machine that speaks it.
    #[serde(default)]
    pub(crate) plain: bool,
    /// Whether each connection comes from one of `trusted_proxies`, which tells first whose it is, by the PROXY protocol, version 1 or 2.
    /// It is that address's connection then, for policies, shares and the log; what comes from anybody else, or without such a header,
    /// is closed without an answer.
    #[serde(default)]
    pub(crate) proxy_protocol: bool,
    /// Addresses and networks that connections may come from, a firewall's, say; by default all. Of a connection whose proxy tells whose
    /// it is, the proxy's own address counts here.
    pub(crate) ingress_from: Option<Spanned<Vec<Spanned<String>>>>,
    /// The field in which `trusted_proxies` tell the certificate that their caller showed them, with whatever vouches for it. It counts as
    /// if it had been shown here, for `validate_client_certificate` and for tokens that are bound to it; the proxy's own does not. From
    /// anybody else the field counts for nothing and goes nowhere; services are sent what proxies tell only where an API's
    /// `forward_identity_headers` names the field. By default there is none.
    pub(crate) client_certificate_header: Option<CertificateField>,
}

/// One listener.
pub(crate) struct Door {
    /// What it is known by, over configurations.
    pub(crate) name: Arc<str>,
    /// How TLS is spoken there, if it is.
    pub(crate) tls: Option<Arc<Speaks>>,
    /// Where connections may come from, if not from everywhere.
    ingress: Option<Vec<IpNet>>,
    /// Whether a proxy tells first whose connection it is.
    pub(crate) proxy_protocol: bool,
    /// Where trusted proxies tell of callers' certificates, if they do.
    pub(crate) told_in: Option<CertificateField>,
}

impl Door {
    /// The management API's.
    pub(crate) const MANAGEMENT: &str = "management";

    fn plain(name: &str) -> Self {
        Self { name: name.into(), tls: None, ingress: None, proxy_protocol: false, told_in: None }
    }

    /// Whether a connection may come from there.
    pub(crate) fn takes(&self, from: Option<IpAddr>) -> bool {
        let Some(networks) = &self.ingress else { return true };
        from.is_some_and(|from| is_trusted(from.to_canonical(), networks))
    }
}

impl File {
    /// Where callers are listened to, in the order of the gateway's entrances; `None` is where the file does not say.
    pub fn addresses(&self) -> Vec<Option<&Spanned<String>>> {
        let simple = (self.listen.is_some() || self.listener.is_empty()).then_some(self.listen.as_ref());
        simple.into_iter().chain(self.listener.iter().map(|table| Some(&table.get_ref().address))).collect()
    }
}

/// Where proxies tell of callers' certificates, each field once.
pub(super) fn told_in(file: &File) -> Vec<CertificateField> {
    let mut fields: Vec<CertificateField> = Vec::new();
    for field in file.listener.iter().filter_map(|table| table.get_ref().client_certificate_header) {
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    fields
}

/// How TLS is spoken.
pub(crate) struct Speaks {
    /// What the certificates are read from.
    pairs: Vec<Material>,
    /// Whether callers are asked for certificates.
    pub(crate) callers: Option<ClientCertificates>,
    pub(crate) config: Arc<ServerConfig>,
    rotating: Vec<Arc<dyn Rotates>>,
}

pub(super) fn doors(
    file: &File,
    world: &mut World<'_>,
    proxies: &[IpNet],
    before: &Doors,
) -> Result<Doors, SettingsError> {
    let callers = file.client_certificates;
    if callers.is_some() && file.certificate.is_empty() {
        let hint = "add `[[certificate]]` with `certificate` and `key`, or drop `client_certificates`";
        return Err(fault(&(0..0), "callers show certificates over TLS only, and there is none", hint));
    }
    let known = before.iter().find_map(|door| door.tls.as_ref());
    let tls = speaks(&file.certificate, callers, world, known)?;
    let mut doors = Vec::new();
    if file.listen.is_some() || file.listener.is_empty() {
        doors.push(Door { tls: tls.clone(), ..Door::plain("listen") });
    }
    for (at, table) in file.listener.iter().enumerate() {
        let address = &table.get_ref().address;
        let is_other = |other: &Spanned<ListenerTable>| other.get_ref().address.get_ref() == address.get_ref();
        if file.listener.iter().take(at).any(is_other) {
            return Err(twice("a listener", address));
        }
        let door = door(table.get_ref(), tls.as_ref(), proxies)?;
        let same = before.iter().find(|before| before.name == door.name);
        if !before.is_empty() && same.is_none() {
            let problem = format!("nobody listens at `{}` yet", address.get_ref());
            return Err(fault(&address.span(), problem, "start the gateway anew for another listener"));
        }
        if same.is_some_and(|same| same.told_in != door.told_in) {
            let problem = "whose word counts about certificates does not change while the gateway runs";
            return Err(fault(
                &address.span(),
                problem,
                "start it anew, or leave `client_certificate_header` as it was",
            ));
        }
        doors.push(door);
    }
    if file.management.is_some() {
        doors.push(Door { tls, ..Door::plain(Door::MANAGEMENT) });
    }
    // Connections in the clear are for this machine alone, and where the socket is was settled when it was bound.
    let changes = |door: &Door| {
        before.iter().any(|before| before.name == door.name && before.tls.is_some() != door.tls.is_some())
    };
    if doors.iter().any(changes) {
        let at = file.certificate.first().map_or(0..0, Spanned::span);
        let problem = "whether TLS is spoken does not change while the gateway runs";
        return Err(fault(&at, problem, "start it anew for that, or leave `[[certificate]]` and `plain` as they were"));
    }
    Ok(doors.into_iter().map(Arc::new).collect())
}

fn door(table: &ListenerTable, tls: Option<&Arc<Speaks>>, proxies: &[IpNet]) -> Result<Door, SettingsError> {
    let at = table.address.span();
    if !table.plain && tls.is_none() {
        let hint = "add `[[certificate]]` with `certificate` and `key`, or write `plain = true`";
        return Err(fault(&at, "there is no certificate for this listener", hint));
    }
    if table.proxy_protocol && proxies.is_empty() {
        let hint = "name the load balancers in `trusted_proxies`, or drop `proxy_protocol`";
        return Err(fault(&at, "nobody may tell here whose a connection is", hint));
    }
    if table.client_certificate_header.is_some() {
        let hint = "name the proxies in `trusted_proxies`, or drop `client_certificate_header`";
        if proxies.is_empty() {
            return Err(fault(&at, "nobody may tell here which certificate a caller showed", hint));
        }
        if proxies.iter().any(is_everybody) {
            return Err(fault(&at, "anybody may tell here which certificate a caller showed", hint));
        }
    }
    let ingress = table.ingress_from.as_ref().map(|all| {
        if all.get_ref().is_empty() {
            return Err(fault(&all.span(), "no connection may come from anywhere", "name networks, or drop it"));
        }
        all.get_ref().iter().map(network).collect()
    });
    let name = format!("listener {}", table.address.get_ref()).into();
    let tls = tls.filter(|_| !table.plain).cloned();
    let (proxy_protocol, told_in) = (table.proxy_protocol, table.client_certificate_header);
    Ok(Door { name, tls, ingress: ingress.transpose()?, proxy_protocol, told_in })
}

/// Whether a network has all addresses of a kind.
pub(super) fn is_everybody(network: &IpNet) -> bool {
    network.prefix_len() == 0
}

/// An address or a network.
pub(super) fn network(text: &Spanned<String>) -> Result<IpNet, SettingsError> {
    policy::network(text.get_ref())
        .ok_or_else(|| fault(&text.span(), "this is neither an address nor a network", "write `10.0.0.0/8`"))
}

/// TLS with these certificates; where that is how it was spoken before, sessions of then can be resumed.
fn speaks(
    tables: &[Spanned<CertificateTable>],
    callers: Option<ClientCertificates>,
    world: &mut World<'_>,
    known: Option<&Arc<Speaks>>,
) -> Result<Option<Arc<Speaks>>, SettingsError> {
    if tables.is_empty() {
        return Ok(None);
    }
    let mut pairs = Vec::with_capacity(tables.len());
    for table in tables {
        let CertificateTable { certificate, key } = table.get_ref();
        pairs.push(world.pair(certificate, key.as_ref(), &table.span())?);
    }
    let known = known.filter(|known| known.pairs == pairs && known.callers == callers);
    let speaks = if let Some(known) = known {
        Arc::clone(known)
    } else {
        let (mut certificates, mut rotating) = (Certificates::new(), Vec::with_capacity(pairs.len()));
        let hint =
            "give a chain in PEM that begins with the server's certificate, and the private key of that certificate";
        for (pair, table) in pairs.iter().zip(tables) {
            let added = certificates.add(pair.clone());
            rotating.push(added.map_err(|reason| fault(&table.span(), reason, hint))?);
        }
        let unusable = |error: rustls::Error| fault(&(0..0), error.to_string(), "give other certificates");
        let config = Arc::new(certificates).config(callers).map_err(unusable)?;
        Arc::new(Speaks { pairs, callers, config, rotating })
    };
    for rotates in &speaks.rotating {
        world.keep_up_to_date(Arc::clone(rotates));
    }
    Ok(Some(speaks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_from_nowhere_comes_from_no_network() {
        let one = Door { ingress: Some(vec!["127.0.0.0/8".parse().unwrap()]), ..Door::plain("x") };
        assert!(one.takes("127.0.0.1".parse().ok()) && one.takes("::ffff:127.0.0.1".parse().ok()));
        assert!(!one.takes("192.0.2.1".parse().ok()) && !one.takes(None), "a socket of this machine is not a firewall");
        assert!(Door::plain("x").takes(None));
    }
}
