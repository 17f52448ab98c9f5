//! Claims that tokens carry only where an application asks for them, or where there is something to tell. Every one has a
//! field of its own: none can take the place of a claim that the protocol gives a meaning.
use crate::facts::{Facts, UserFacts};
use crate::id::{GroupId, PrincipalId};
use crate::model::{ClaimName, ClaimSet, GroupMembershipClaims};
use serde::Serialize;
use std::borrow::Cow;

/// Above this many groups a token says where to ask instead (spec/entra.md section 9.1).
const MOST_GROUPS: usize = 200;

/// What `idToken`, `accessToken` and `groupMembershipClaims` add.
#[derive(Default, Serialize)]
pub(super) struct Optional<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Cow<'a, [GroupId]>>,
    #[serde(rename = "_claim_names", skip_serializing_if = "Option::is_none")]
    claim_names: Option<ClaimNames>,
    #[serde(rename = "_claim_sources", skip_serializing_if = "Option::is_none")]
    claim_sources: Option<ClaimSources>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_hint: Option<&'a str>,
}

/// OpenID Connect Core section 5.6.2: which claims come from elsewhere.
#[derive(Serialize)]
struct ClaimNames {
    groups: &'static str,
}

#[derive(Serialize)]
struct ClaimSources {
    src1: Source,
}

#[derive(Serialize)]
struct Source {
    endpoint: String,
}

/// Of a user's token that `asked` for these claims, for the application of `principal`.
pub(super) fn of<'a>(
    facts: &Facts,
    user: &'a UserFacts,
    asked: ClaimSet,
    memberships: GroupMembershipClaims,
    principal: PrincipalId,
) -> Optional<'a> {
    let mut optional =
        Optional { login_hint: asked.has(ClaimName::LoginHint).then_some(user.upn.as_str()), ..Optional::default() };
    let groups = chosen(user, memberships, principal);
    if groups.len() > MOST_GROUPS {
        let tid = facts.tenant.as_ref().map(|tenant| tenant.id).unwrap_or_default();
        let endpoint = format!("{}/{tid}/users/{}/getMemberObjects", facts.host, user.id);
        optional.claim_names = Some(ClaimNames { groups: "src1" });
        optional.claim_sources = Some(ClaimSources { src1: Source { endpoint } });
    } else if !groups.is_empty() {
        optional.groups = Some(groups);
    }
    optional
}

/// The groups of a user that an application is told of.
pub(crate) fn chosen(user: &UserFacts, memberships: GroupMembershipClaims, at: PrincipalId) -> Cow<'_, [GroupId]> {
    match memberships {
        GroupMembershipClaims::None => Cow::Borrowed(&[]),
        GroupMembershipClaims::SecurityGroup | GroupMembershipClaims::All => Cow::Borrowed(&user.groups),
        GroupMembershipClaims::ApplicationGroup => {
            let assigned =
                user.assigned_groups.iter().filter(|(principal, _)| *principal == at).map(|(_, group)| *group);
            let mut groups: Vec<GroupId> = assigned.collect();
            groups.sort_unstable();
            groups.dedup();
            Cow::Owned(groups)
        }
    }
}
