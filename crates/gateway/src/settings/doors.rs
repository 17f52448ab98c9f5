//! Listeners of the file: how each of them speaks.
use super::file::{CertificateTable, ClientCertificates};
use super::world::World;
use super::{File, SettingsError, Spanned, fault};
use crate::certificates::Certificates;
use crate::rotating::Rotates;
use crate::secrets::Material;
use rustls::ServerConfig;
use std::sync::Arc;

/// The listeners of a configuration.
pub(crate) type Doors = Vec<Arc<Door>>;

/// One listener.
pub(crate) struct Door {
    /// What it is known by, over configurations.
    pub(crate) name: Arc<str>,
    /// How TLS is spoken there, if it is.
    pub(crate) tls: Option<Arc<Speaks>>,
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

pub(super) fn doors(file: &File, world: &mut World<'_>, before: &Doors) -> Result<Doors, SettingsError> {
    let name: Arc<str> = "listen".into();
    let callers = file.client_certificates;
    if callers.is_some() && file.certificate.is_empty() {
        let hint = "add `[[certificate]]` with `certificate` and `key`, or drop `client_certificates`";
        return Err(fault(&(0..0), "callers show certificates over TLS only, and there is none", hint));
    }
    let before = before.iter().find(|door| door.name == name);
    let known = before.and_then(|door| door.tls.as_ref());
    let tls = speaks(&file.certificate, callers, world, known)?;
    // Connections in the clear are for this machine alone, and where the socket is was settled when it was bound.
    if before.is_some_and(|before| before.tls.is_some() != tls.is_some()) {
        let at = file.certificate.first().map_or(0..0, Spanned::span);
        let problem = "whether TLS is spoken does not change while the gateway runs";
        return Err(fault(&at, problem, "start it anew for that, or leave `[[certificate]]` as it was"));
    }
    Ok(vec![Arc::new(Door { name, tls })])
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
