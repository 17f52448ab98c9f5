//! Where tokens send those who ask for more groups than fit (Graph's `getMemberObjects`; spec/entra.md section 9.1).
//!
//! An API asks with a token of this authority's own, got on behalf of the user with OpenID Connect scopes alone: the token it
//! received is for itself, and is worth nothing here. It learns what its own tokens would have said: the groups of that one
//! user that its registration asks for.
use crate::denial::Denial;
use crate::id::{GroupId, UserId};
use crate::issuance::optional;
use crate::ports::Ports;
use crate::token_endpoint::find_tenant;
use crate::userinfo::{Bearer, bearer};
use decision::CheckId;

/// The groups of the user at `/{tenant}/users/{user}/getMemberObjects`.
///
/// # Errors
/// If the token is not one of this authority's own for this very user, or the client's tokens name no groups.
pub async fn member_objects(ports: &Ports, tenant: &str, user: &str, token: &str) -> Result<Vec<GroupId>, Denial> {
    let Bearer { facts, user: own, .. } = bearer(ports, token).await?;
    let snapshot = ports.directory.snapshot();
    let named = find_tenant(&snapshot, tenant).map(|tenant| tenant.tenant.id);
    let of_token = facts.tenant.as_ref().map(|tenant| tenant.id);
    // Whoever asks for somebody else learns nothing of whether there is such a person.
    if named.is_none() || named != of_token || user.parse::<UserId>() != Ok(own.id) {
        return Err(Denial::new(CheckId::GroupsOwn, "the token's own tenant and user", "another"));
    }
    let Some(client) = facts.client.as_ref().filter(|client| !client.memberships.is_none()) else {
        let expected = "an application whose `groupMembershipClaims` say which groups it is told of";
        return Err(Denial::new(CheckId::GroupsDeclared, expected, "one that is told of none"));
    };
    Ok(optional::chosen(&own, client.memberships, client.principal).into_owned())
}
