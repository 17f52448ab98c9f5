//! The demo's host: it speaks for two managed identities with a certificate, on a loopback port.
use super::world::{Identity, World};
use crate::failure::Failure;
use crate::managed_identity;
use crate::system;
use axum::Router;
use client::managed_identity::{AppService, Hosted, HostedIdentities, Imds, TokenSource};
use client::{Allow, Client, Endpoints, Fetch};
use decision::Clock;
use jose::{Algorithm, SigningKey};
use std::sync::Arc;

pub(super) fn router(world: &World, clock: &Arc<dyn Clock>, port: u16) -> Result<Router, Failure> {
    let unusable = |error: &dyn std::fmt::Display| Failure::plain(format!("the demo's host cannot start: {error}"));
    let fetch = Fetch::builder().ca_pem(world.ca_pem.as_bytes()).map_err(|error| unusable(&error))?;
    let fetch = Arc::new(fetch.allow(Allow::INSIDE).build().map_err(|error| unusable(&error))?);
    let hosted = |identity: &Identity| -> Result<Hosted, Failure> {
        let key = SigningKey::from_pem(Algorithm::PS256, world.host_pem.expose()).map_err(|error| unusable(&error))?;
        let client = Client::builder(Endpoints::entra(&world.authority()), identity.app_id.as_str())
            .certificate(key, world.host_pem.expose())
            .map_err(|error| unusable(&error))?
            .build(fetch.clone(), Arc::clone(clock), Arc::new(system::random));
        Ok(Hosted { client, object_id: identity.object_id.clone(), resource_id: identity.resource_id.clone() })
    };
    let identities = HostedIdentities::new(Some(hosted(&world.site)?)).assign(hosted(&world.worker)?);
    let source: Arc<dyn TokenSource> = Arc::new(identities);
    let hosts = || [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let app_service = AppService::new(Arc::clone(&source), world.identity_header.clone(), hosts());
    Ok(managed_identity::router(app_service, Imds::new(source, hosts())))
}
