//! ID tokens (OpenID Connect Core section 2; spec/entra.md section 9.2).
use super::claims::IdClaims;
use super::{guest, identity_provider, optional, random, signed_in_from};
use crate::admission::Admitted;
use crate::chain::Chain;
use crate::endpoint::EndpointVersion;
use crate::facts::{ClientFacts, Facts, TenantFacts, UserFacts};
use crate::ledger::Unavailable;
use crate::model::ClaimName;
use crate::ports::Ports;
use crate::reference;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::Timestamp;
use oauth::Secret;

/// Life of an ID token, in seconds.
const SECONDS: i64 = 3_600;

/// What an ID token is made from.
pub(super) struct IdToken<'a> {
    pub(super) facts: &'a Facts,
    pub(super) tenant: &'a TenantFacts,
    pub(super) client: &'a ClientFacts,
    pub(super) user: &'a UserFacts,
    pub(super) chain: &'a Chain,
    pub(super) nonce: Option<&'a str>,
    pub(super) uti: &'a str,
    pub(super) now: Timestamp,
}

/// An ID token without a code, for an admitted sign-in; and its id.
///
/// # Errors
/// If there is no key to sign with.
pub(crate) fn at_once(
    facts: &Facts,
    admitted: &Admitted,
    nonce: &str,
    ports: &Ports,
    now: Timestamp,
) -> Result<(Secret, String), Unavailable> {
    let uti = URL_SAFE_NO_PAD.encode(random::<16>(ports));
    let parts = (facts.tenant.as_ref(), facts.client.as_ref(), facts.user.as_ref(), admitted.chain());
    let (Some(tenant), Some(client), Some(user), Some(chain)) = parts else { return Err(Unavailable) };
    let token = IdToken { facts, tenant, client, user, chain, nonce: Some(nonce), uti: &uti, now }.sign(ports)?;
    Ok((token, uti))
}

impl IdToken<'_> {
    pub(super) fn sign(&self, ports: &Ports) -> Result<Secret, Unavailable> {
        let Self { facts, tenant, client, user, chain, .. } = self;
        let oidc = &facts.oidc;
        // The endpoint's version is the ID token's; that of an access token is the resource's choice.
        let version = facts.version;
        let v1 = version == EndpointVersion::V1;
        let profile = oidc.contains("profile") || v1;
        let asked = |name| client.id_claims.has(name);
        let claims = IdClaims {
            aud: client.app_id,
            iss: version.issuer(&facts.host, tenant.id),
            iat: self.now.0,
            nbf: self.now.0,
            exp: self.now.plus(SECONDS).min(chain.session_ends).0,
            acct: guest(user).or(asked(ClaimName::Acct).then_some(0)),
            acrs: asked(ClaimName::Acrs).then_some(chain.acrs.as_slice()).filter(|acrs| !acrs.is_empty()),
            amr: v1.then_some(chain.amr.as_slice()),
            auth_time: chain.auth_time.0,
            email: user.mail.as_deref().filter(|_| oidc.contains("email") || asked(ClaimName::Email)),
            family_name: user.surname.as_deref().filter(|_| v1 || asked(ClaimName::FamilyName)),
            given_name: user.given_name.as_deref().filter(|_| v1 || asked(ClaimName::GivenName)),
            idp: identity_provider(facts, user),
            ipaddr: signed_in_from(facts).filter(|_| asked(ClaimName::Ipaddr)),
            name: profile.then_some(user.display_name.as_str()),
            nonce: self.nonce,
            oid: user.id.to_string(),
            preferred_username: ((profile && !v1) || asked(ClaimName::PreferredUsername)).then_some(user.upn.as_str()),
            sid: chain.session.to_string(),
            // Pairwise per user, audience and tenant: it tells two applications nothing about each other's users.
            sub: reference::user(&*ports.crypto, tenant.id, user.id, client.app_id),
            tid: tenant.id.to_string(),
            unique_name: v1.then_some(user.upn.as_str()),
            upn: (v1 || asked(ClaimName::Upn)).then_some(user.upn.as_str()),
            uti: self.uti,
            ver: version.claim(),
            optional: optional::of(facts, user, client.id_claims, client.memberships, client.principal),
        };
        let bytes = serde_json::to_vec(&claims).map_err(|_| Unavailable)?;
        ports.crypto.sign("RS256", "JWT", v1, &bytes)
    }
}
