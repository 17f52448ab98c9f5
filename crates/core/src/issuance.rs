//! From an admitted request to claims, tokens and the writes that make them real.
mod claims;
mod id_token;
pub(crate) mod optional;
mod work_order;

pub(crate) use id_token::at_once;

use self::claims::{AccessClaims, actor};
use self::id_token::IdToken;
use crate::admission::Admitted;
use crate::audit::{AuditRecord, Credential};
use crate::chain::Chain;
use crate::client_auth::{self, AuthenticatedClient, Method};
use crate::conditional_access;
use crate::denial::Denial;
use crate::endpoint::EndpointVersion;
use crate::facts::{Asked, ClientFacts, Facts, ProofFacts, ResourceFacts, Target, TenantFacts, TokenShape, UserFacts};
use crate::grant::Grantable;
use crate::id::FamilyId;
use crate::ledger::{RefreshRecord, Unavailable, Write};
use crate::lifetime;
use crate::model::{ClaimName, Digest, Profile};
use crate::ports::Ports;
use crate::reference;
use crate::work_order::WorkOrderRecord;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::Timestamp;
use oauth::{Secret, TOKEN_TYPE_ACCESS_TOKEN, TokenResponse, V1Members};
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;
use uuid::Uuid;

/// Above this life, in seconds, a client is told to renew half-way.
const LONG: i64 = 7_200;
/// Life of a single-page application's refresh tokens, in seconds.
const SPA_REFRESH_SECONDS: i64 = 86_400;

/// A granted request, signed; not real until its writes are committed.
pub struct Prepared {
    /// Everything that must be written for it.
    pub writes: Vec<Write>,
    /// What is answered after the commit.
    pub response: TokenResponse,
    /// What else a v1.0 answer says.
    pub v1: Option<V1Members>,
}

struct Parts<'a> {
    facts: &'a Facts,
    tenant: &'a TenantFacts,
    client: &'a ClientFacts,
    proven: &'a AuthenticatedClient,
    admitted: &'a Admitted,
    now: Timestamp,
    /// The authorizations that all of this rests on, nearest first; the first is that of the refresh token, if one is issued.
    grants: Vec<FamilyId>,
}

/// Prepares the tokens of a granted request.
///
/// # Errors
/// If there is no key to sign with.
pub fn prepare(
    facts: &Facts,
    granted: &Grantable,
    decision: &str,
    ports: &Ports,
    now: Timestamp,
) -> Result<Prepared, Unavailable> {
    let (Some(tenant), Some(client)) = (&facts.tenant, &facts.client) else { return Err(Unavailable) };
    if let ProofFacts::WorkOrder(order) = &facts.proof {
        return work_order::prepare(facts, order, granted, decision, ports, now);
    }
    let chain = granted.admitted.chain();
    // A refreshed token keeps its successor even where `offline_access` is not asked again (RFC 6749 section 6).
    let renewable = facts.oidc.contains("offline_access") || matches!(facts.proof, ProofFacts::Refresh { .. });
    let mut grants = chain.map(|chain| chain.grants.clone()).unwrap_or_default();
    if renewable && matches!(facts.proof, ProofFacts::OnBehalfOf { .. }) {
        // What the middle tier may renew it can also revoke, without ending the authorization that the user gave.
        grants.insert(0, FamilyId(random_uuid(ports)));
    }
    let (proven, admitted) = (&granted.client, &granted.admitted);
    let parts = Parts { facts, tenant, client, proven, admitted, now, grants };
    let uti = URL_SAFE_NO_PAD.encode(random::<16>(ports));
    let expires = lifetime::expires(facts, tenant, admitted, now);
    let resource = parts.resource();
    let access = parts.access(&uti, expires, ports)?;
    let life = expires.since(now).max(0);
    let exchanged = matches!(facts.proof, ProofFacts::Redemption(_));
    let mut response = TokenResponse {
        token_type: "Bearer".to_owned(),
        issued_token_type: exchanged.then(|| TOKEN_TYPE_ACCESS_TOKEN.to_owned()),
        scope: parts.response_scope(),
        expires_in: life,
        ext_expires_in: (client.profile == Profile::Entra).then_some(life),
        // Clients renew what lives long well before it ends, as they do with Entra's.
        refresh_in: (life > LONG).then_some(life / 2),
        access_token: access,
        refresh_token: None,
        id_token: None,
        client_info: None,
    };
    let mut writes = Vec::new();
    if let (Some(chain), Some(user)) = (granted.admitted.chain(), &facts.user) {
        if facts.oidc.contains("openid") {
            let nonce = match &facts.proof {
                ProofFacts::Code { record: Some(record), .. } => record.nonce.as_deref(),
                _ => None,
            };
            let id_token = IdToken { facts, tenant, client, user, chain, nonce, uti: &uti, now };
            response.id_token = Some(id_token.sign(ports)?);
        }
        if renewable {
            let (token, write) = parts.refresh(user, chain, ports);
            response.refresh_token = Some(token);
            writes.push(write);
        }
        if facts.client_info {
            // Clients know a person by who they are at home, in every tenant.
            let (uid, utid) = user.home.map_or((user.id, tenant.id), |home| (home.account.user, home.account.tenant));
            let info = serde_json::json!({"uid": uid, "utid": utid});
            response.client_info = Some(URL_SAFE_NO_PAD.encode(info.to_string()));
        }
    }
    writes.push(Write::Audit(Box::new(AuditRecord {
        resource: resource.map(|resource| resource.app_id),
        scope: granted.admitted.scopes().to_string(),
        roles: granted.admitted.roles().to_vec(),
        token: Some(uti),
        actors: granted.admitted.chain().map(|chain| chain.actors.clone()).unwrap_or_default(),
        grants: parts.grants.clone(),
        ..record(facts, parts.proven.credential(), decision, now)
    })));
    writes.extend(reported(facts, granted, decision, now));
    let v1 = (facts.version == EndpointVersion::V1 && !exchanged).then(|| V1Members {
        resource: resource.map_or_else(|| facts.host.clone(), |resource| resource.name.clone()),
        not_before: now.0,
        expires_on: expires.0,
    });
    Ok(Prepared { writes, response, v1 })
}

/// What policies in report-only state would have refused: a record each, with the decision's id.
fn reported<'a>(
    facts: &'a Facts,
    granted: &'a Grantable,
    decision: &'a str,
    now: Timestamp,
) -> impl Iterator<Item = Write> + 'a {
    let resource = match &facts.target {
        Target::Resource(resource) => Some(resource.app_id),
        _ => None,
    };
    let user = granted.admitted.chain().zip(facts.user.as_ref());
    let refusing = user.map(|(chain, user)| conditional_access::reported(facts, user, chain, now)).unwrap_or_default();
    refusing.into_iter().map(move |(policy, check)| {
        Write::Audit(Box::new(AuditRecord {
            action: format!("report only: policy {}", policy.id),
            resource,
            refused: Some(check),
            ..record(facts, granted.client.credential(), decision, now)
        }))
    })
}

/// The record of a refusal by an authenticated client.
pub fn refused(facts: &Facts, denial: &Denial, decision: &str, now: Timestamp) -> Write {
    let proven = client_auth::decide(facts, now).ok();
    let credential = proven.as_ref().and_then(AuthenticatedClient::credential);
    Write::Audit(Box::new(AuditRecord { refused: Some(denial.id()), ..record(facts, credential, decision, now) }))
}

fn record(facts: &Facts, credential: Option<&Credential>, decision: &str, now: Timestamp) -> AuditRecord {
    let (action, from_token) = match &facts.proof {
        ProofFacts::ClientCredentials => ("client_credentials", None),
        ProofFacts::Code { .. } => ("authorization_code", None),
        ProofFacts::Refresh { .. } => ("refresh_token", None),
        ProofFacts::Device { .. } => ("device_code", None),
        ProofFacts::OnBehalfOf { .. } => ("on_behalf_of", facts.proof.verified().map(|claims| claims.uti.clone())),
        ProofFacts::WorkOrder(_) => ("work_order", facts.proof.verified().map(|claims| claims.uti.clone())),
        ProofFacts::Redemption(_) => ("work_order_redemption", None),
        ProofFacts::SignIn => ("authorize", None),
    };
    let (object, purpose) = match &facts.proof {
        ProofFacts::WorkOrder(order) => (None, Some(order.terms.purpose.clone())),
        ProofFacts::Redemption(redemption) => {
            let record = redemption.record.as_ref();
            (record.map(WorkOrderRecord::path), record.map(|record| record.purpose.clone()))
        }
        _ => (None, None),
    };
    let own_identity = match &facts.target {
        Target::Resource(resource) if facts.proof == ProofFacts::ClientCredentials => resource.own_identity.clone(),
        _ => None,
    };
    AuditRecord {
        tenant: facts.tenant.as_ref().map(|tenant| tenant.id),
        client: facts.client.as_ref().map(|client| client.app_id),
        subject: facts.user.as_ref().map(|user| user.id.to_string()).or_else(|| {
            facts
                .client
                .as_ref()
                .filter(|_| facts.proof == ProofFacts::ClientCredentials)
                .map(|c| c.principal.to_string())
        }),
        credential: credential.cloned(),
        session: facts.session.as_ref().map(|session| session.chain.session),
        grants: facts.session.as_ref().map(|session| session.chain.grants.clone()).unwrap_or_default(),
        trace: facts.trace,
        dropped_user: crate::trace::dropped(facts).map(|(how, _)| how),
        own_identity,
        object,
        purpose,
        from_token,
        ..AuditRecord::new(now, decision.to_owned(), action)
    }
}

impl Parts<'_> {
    fn resource(&self) -> Option<&ResourceFacts> {
        match &self.facts.target {
            Target::Resource(resource) => Some(resource),
            _ => None,
        }
    }

    fn access(&self, uti: &str, expires: Timestamp, ports: &Ports) -> Result<Secret, Unavailable> {
        let host = &self.facts.host;
        let tid = self.tenant.id.to_string();
        let own = TokenShape::default();
        let shape = self.resource().map_or(&own, |resource| &resource.shape);
        let chain = self.admitted.chain();
        let user = self.facts.user.as_ref().filter(|_| chain.is_some());
        let asked = |name| shape.claims.has(name);
        let principal = self.resource().map(|resource| resource.principal).unwrap_or_default();
        let version = if shape.v1 { EndpointVersion::V1 } else { EndpointVersion::V2 };
        let (v1, native) = (shape.v1, shape.profile == Profile::Native);
        let profile_claims = self.facts.oidc.contains("profile") || v1;
        let scope = chain.map(|_| self.admitted.scopes().to_string());
        let (app, acr) = (self.client.app_id, self.proven.method().acr());
        let claims = AccessClaims {
            aud: match self.resource() {
                Some(resource) if v1 && !asked(ClaimName::Aud) => resource.name.clone(),
                Some(resource) => resource.app_id.to_string(),
                None => host.clone(),
            },
            iss: version.issuer(host, &tid),
            iat: self.now.0,
            nbf: self.now.0,
            exp: expires.0,
            acct: user.and_then(|user| guest(user).or(asked(ClaimName::Acct).then_some(0))),
            // RFC 9470 section 6.1; in Entra's tokens `acrs` says it.
            acr: match chain {
                Some(chain) if native => chain.acrs.first().map(String::as_str),
                Some(_) if v1 => Some("1"),
                _ => None,
            },
            acrs: chain.map(|chain| chain.acrs.as_slice()).filter(|acrs| !acrs.is_empty()),
            act: chain.filter(|_| shape.act).and_then(actor),
            aio: chain.map(|chain| {
                let chain = Chain { grants: self.grants.clone(), ..chain.clone() };
                ports.crypto.seal(&chain.encode())
            }),
            amr: chain.filter(|_| v1 || native).map(|chain| chain.amr.as_slice()),
            appid: v1.then_some(app),
            appidacr: v1.then_some(acr),
            auth_time: chain.filter(|_| native || asked(ClaimName::AuthTime)).map(|chain| chain.auth_time.0),
            azp: (!v1).then_some(app),
            azpacr: (!v1).then_some(acr),
            client_id: native.then_some(app),
            email: user.filter(|_| asked(ClaimName::Email)).and_then(|user| user.mail.as_deref()),
            family_name: user.filter(|_| v1 || asked(ClaimName::FamilyName)).and_then(|user| user.surname.as_deref()),
            given_name: user.filter(|_| v1 || asked(ClaimName::GivenName)).and_then(|user| user.given_name.as_deref()),
            idp: user.and_then(|user| identity_provider(self.facts, user)),
            idtyp: if user.is_some() { "user" } else { "app" },
            ipaddr: user.filter(|_| v1 || asked(ClaimName::Ipaddr)).and_then(|_| signed_in_from(self.facts)),
            jti: uti,
            name: user.filter(|_| profile_claims || !native).map(|user| user.display_name.as_str()),
            oid: user.map_or_else(|| self.client.principal.to_string(), |user| user.id.to_string()),
            preferred_username: user
                .filter(|_| (!v1 && profile_claims) || asked(ClaimName::PreferredUsername))
                .map(|user| user.upn.as_str()),
            rh: {
                let audience = self.resource().map(|resource| resource.app_id).unwrap_or_default();
                reference::rh(&*ports.crypto, self.facts.view, chain, &self.grants, audience)
            },
            roles: self.admitted.roles(),
            scope: scope.clone().filter(|_| native),
            scp: scope,
            sid: chain.filter(|_| asked(ClaimName::Sid)).map(|chain| chain.session.to_string()),
            sub: match user {
                Some(user) => {
                    let audience = self.resource().map(|resource| resource.app_id).unwrap_or_default();
                    reference::user(&*ports.crypto, self.tenant.id, user.id, audience)
                }
                None => self.client.principal.to_string(),
            },
            tid,
            unique_name: user.filter(|_| v1).map(|user| user.upn.as_str()),
            upn: user.filter(|_| v1 || asked(ClaimName::Upn)).map(|user| user.upn.as_str()),
            uti,
            ver: version.claim(),
            xms_cc: (asked(ClaimName::XmsCc) && self.facts.claims.handles_challenges()).then_some(["cp1"]),
            optional: user
                .map(|user| optional::of(self.facts, user, shape.claims, shape.memberships, principal))
                .unwrap_or_default(),
            xms_mirid: self.client.managed_identity.as_deref().filter(|_| chain.is_none()),
        };
        let bytes = serde_json::to_vec(&claims).map_err(|_| Unavailable)?;
        ports.crypto.sign(&shape.algorithm, if native { "at+jwt" } else { "JWT" }, v1, &bytes)
    }

    fn refresh(&self, user: &UserFacts, chain: &Chain, ports: &Ports) -> (Secret, Write) {
        let text = secret_text(ports);
        let public = match &self.facts.proof {
            ProofFacts::Refresh { record: Some(record), .. } => record.public,
            ProofFacts::Code { .. } | ProofFacts::Device { .. } => self.proven.method() == Method::None,
            _ => false,
        };
        let family = self.grants.first().copied().unwrap_or_else(|| FamilyId(random_uuid(ports)));
        // Fixed at the sign-in: what is renewed in a browser does not slide on (spec/entra.md section 9.3).
        let spa_ends = match &self.facts.proof {
            ProofFacts::Code { spa_redirect: true, .. } => Some(self.now.plus(SPA_REFRESH_SECONDS)),
            ProofFacts::Refresh { record: Some(record), .. } if record.spa => Some(record.expires),
            _ => None,
        };
        let record = RefreshRecord {
            tenant: self.tenant.id,
            client: self.client.app_id,
            user: user.id,
            session: chain.session,
            family,
            scope: self.refresh_scope(),
            actors: chain.actors.iter().skip(1).copied().collect(),
            grants: self.grants.iter().skip(1).copied().collect(),
            proven: Some(chain.proven()),
            public,
            spa: spa_ends.is_some(),
            issued: self.now,
            expires: self
                .now
                .plus(self.tenant.settings.refresh_token_seconds)
                .min(chain.session_ends)
                .min(spa_ends.unwrap_or(chain.session_ends)),
            rotated: None,
            revoked: false,
        };
        let digest = ports.crypto.keyed_digest(text.expose());
        (text, Write::InsertRefresh(digest, record))
    }

    /// What a later refresh without `scope` gets; in the native profile also what it may never exceed.
    fn refresh_scope(&self) -> String {
        if let ProofFacts::Refresh { record: Some(record), .. } = &self.facts.proof {
            return record.scope.clone();
        }
        let qualified = self.resource().map(|resource| {
            self.admitted.scopes().iter().map(|scope| format!("{}/{scope}", resource.name)).collect::<oauth::Scopes>()
        });
        qualified.unwrap_or_default().union(&self.facts.oidc).to_string()
    }

    /// `scope` of the answer, as the client wrote it, so that its cache finds it again.
    fn response_scope(&self) -> Option<String> {
        self.admitted.chain()?;
        if self.facts.version == EndpointVersion::V1 && self.resource().is_some() {
            return Some(self.admitted.scopes().to_string());
        }
        let Some(resource) = self.resource() else { return Some(self.facts.oidc.to_string()) };
        let spelled = |value: &str| match &resource.asked {
            Asked::Named(named) => named
                .iter()
                .find(|(_, published)| published.as_deref() == Some(value))
                .map_or_else(|| format!("{}/{value}", resource.name), |(whole, _)| whole.clone()),
            _ => format!("{}/{value}", resource.name),
        };
        let mut words: Vec<String> = self.admitted.scopes().iter().map(spelled).collect();
        if resource.asked == Asked::Default {
            words.push(format!("{}/.default", resource.name));
        }
        words.extend(self.facts.oidc.iter().map(str::to_owned));
        Some(words.join(" "))
    }
}

/// Who vouches for a guest: their own tenant.
fn identity_provider(facts: &Facts, user: &UserFacts) -> Option<String> {
    user.home.map(|home| format!("{}/{}/v2.0", facts.host, home.account.tenant))
}

/// `ipaddr`: where the user's own browser was last seen, however far from there this request comes from. It is for people who
/// read logs: networks change under a token.
fn signed_in_from(facts: &Facts) -> Option<IpAddr> {
    facts.session.as_ref().and_then(|session| session.address).map(|address| address.to_canonical())
}

/// `acct`: 1 for guests; members have 0 where it is asked for, and else none.
fn guest(user: &UserFacts) -> Option<u8> {
    user.home.map(|_| 1)
}

/// A new secret text of ours: a code or a refresh token, 256 bits.
pub(crate) fn secret_text(ports: &Ports) -> Secret {
    Secret::new(format!("1.{}", URL_SAFE_NO_PAD.encode(random::<32>(ports))))
}

pub(crate) fn random<const N: usize>(ports: &Ports) -> [u8; N] {
    let mut bytes = [0; N];
    ports.crypto.random(&mut bytes);
    bytes
}

/// A random UUID (version 4).
pub fn random_uuid(ports: &Ports) -> Uuid {
    uuid::Builder::from_random_bytes(random(ports)).into_uuid()
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}
