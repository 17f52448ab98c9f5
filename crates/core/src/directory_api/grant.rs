//! Consents: Graph's `oAuth2PermissionGrant`, named by whom they are between.
use crate::id::{PrincipalId, TenantId, UserId};
use crate::ledger::GrantKey;
use crate::model::PermissionGrant;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use uuid::Uuid;

/// What is shown of a consent.
pub(super) fn shown(grant: &PermissionGrant) -> Value {
    json!({
        "id": name(grant),
        "clientId": grant.client_id,
        "consentType": if grant.principal_id.is_some() { "Principal" } else { "AllPrincipals" },
        "principalId": grant.principal_id,
        "resourceId": grant.resource_id,
        "scope": grant.scope.to_string(),
    })
}

fn name(grant: &PermissionGrant) -> String {
    let mut bytes = grant.client_id.0.into_bytes().to_vec();
    bytes.extend(grant.resource_id.0.into_bytes());
    bytes.extend(grant.principal_id.iter().flat_map(|user| user.0.into_bytes()));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Which consent of a tenant a name means.
pub(super) fn named(tenant: TenantId, name: &str) -> Option<GrantKey> {
    let bytes = URL_SAFE_NO_PAD.decode(name).ok()?;
    let mut ids = bytes.chunks(16).map(Uuid::from_slice);
    let client = PrincipalId(ids.next()?.ok()?);
    let resource = PrincipalId(ids.next()?.ok()?);
    let user = match ids.next() {
        None => None,
        Some(id) => Some(UserId(id.ok()?)),
    };
    ids.next().is_none().then_some(GrantKey { tenant, client, resource, user })
}
