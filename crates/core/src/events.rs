//! Cut-offs for those who must act on them: security event tokens (RFC 8417) with CAEP's `session-revoked`, for callers with
//! the app role `Events.Read`, each about tokens for the caller itself.
//!
//! The stream is the change log seen from outside: what is told was durable before, and a place in it is a change's number.
use crate::admission::{self, Proof};
use crate::built_in;
use crate::cut_off::{CutOff, Entry};
use crate::denial::Denial;
use crate::directory::TenantDirectory;
use crate::directory_api::own_token;
use crate::facts::{Facts, Target};
use crate::id::{AppId, PrincipalId, TenantId};
use crate::ledger::{Unavailable, Write};
use crate::ports::Ports;
use crate::reference;
use crate::scope_request::{Parties, standing};
use crate::token_endpoint::blank;
use decision::{CheckId, Timestamp};
use oauth::Secret;
use serde_json::{Value, json};

/// CAEP 1.0 section 3.1: the sessions that the subject names are no more.
pub const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
/// `typ` of security event tokens (RFC 8417 section 2.3).
pub const TYP: &str = "secevent+jwt";
/// How far back a subscriber without a place is told: the longest life of any token, in seconds.
pub const LONGEST_LIFE: i64 = 28 * 3_600;
/// Clocks may differ by this much.
const SKEW: i64 = 60;

/// Who is told, until when: only [`subscribe`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    tenant: TenantId,
    client: AppId,
    principal: PrincipalId,
    expires: Timestamp,
}

impl Subscriber {
    /// Whose changes.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }
    /// The application that is told, and that the tokens are for.
    pub fn client(&self) -> AppId {
        self.client
    }
    /// The note that every cut-off was told at this moment.
    pub fn heard(&self, at: Timestamp) -> Write {
        Write::Heard(self.tenant, self.client, at)
    }
}

/// Judges a bearer token for the stream of a tenant.
///
/// # Errors
/// If the token is not an application's with the role, or what stands behind it does not stand any more.
pub fn subscribe(ports: &Ports, segment: &str, token: &str) -> Result<Subscriber, Denial> {
    let now = ports.now();
    let refuse = |check, expected: &str, actual: &str| Denial::new(check, expected, actual);
    let (tenant, claims) = own_token(ports, segment, token, now)?;
    let id = tenant.tenant.id;
    if claims.idtyp != "app" {
        return Err(refuse(CheckId::AppOnlyRequired, "an application's own token", "a user's"));
    }
    let Some((client, principal)) = claims.azp.parse().ok().and_then(|app| Some((app, tenant.app(app)?.principal.id)))
    else {
        return Err(refuse(CheckId::ClientKnown, "an application of this tenant", "one that is not known any more"));
    };
    let subscriber = Subscriber { tenant: id, client, principal, expires: Timestamp(claims.exp).plus(SKEW) };
    stands(ports, &subscriber)?;
    Ok(subscriber)
}

/// Whether a subscriber may still be told: asked before each part of the stream.
///
/// # Errors
/// If the token has expired, or the role was taken away.
pub fn stands(ports: &Ports, subscriber: &Subscriber) -> Result<(), Denial> {
    let now = ports.now();
    if subscriber.expires <= now {
        return Err(Denial::new(CheckId::TokenExpired, "a current token", "an expired one"));
    }
    let snapshot = ports.directory.snapshot();
    let tenant = snapshot.tenant(subscriber.tenant);
    let client = tenant.and_then(|tenant| tenant.app(subscriber.client));
    let target = match (tenant, client, tenant.and_then(|tenant| tenant.app(built_in::APP))) {
        (Some(tenant), Some(client), Some(authority)) => {
            let parties = Parties { tenant, client, user: None };
            let asked = crate::facts::Asked::Default;
            Target::Resource(Box::new(standing(authority, built_in::URI, asked, parties)))
        }
        _ => Target::Missing,
    };
    let id = subscriber.tenant.to_string();
    let client_id = subscriber.client.to_string();
    let facts = Facts { target, ..blank(ports, &id, tenant.map(AsRef::as_ref), &client_id, client.map(AsRef::as_ref)) };
    let admitted = admission::admit(&facts, Ok(Proof::App), now)?;
    if admitted.roles().iter().any(|role| role == built_in::EVENTS_READ) {
        return Ok(());
    }
    let expected = format!("the app role `{}` of `{}`", built_in::EVENTS_READ, built_in::URI);
    Err(Denial::new(CheckId::RoleSufficient, expected, "no such assignment"))
}

/// The event tokens of one change for a subscriber: none where it ends no tokens for them.
///
/// # Errors
/// If there is no key to sign with.
pub fn tokens(ports: &Ports, subscriber: &Subscriber, entry: &Entry) -> Result<Vec<Secret>, Unavailable> {
    let snapshot = ports.directory.snapshot();
    let Some(tenant) = snapshot.tenant(subscriber.tenant) else { return Ok(Vec::new()) };
    let names = tenant.app(subscriber.client).map(|app| app.application.identifier_uris.clone()).unwrap_or_default();
    let client = subscriber.client.to_string();
    let audience: Vec<&str> = std::iter::once(client.as_str()).chain(names.iter().map(String::as_str)).collect();
    let now = ports.now();
    let mut tokens = Vec::new();
    for (n, cut_off) in entry.cut_offs.iter().enumerate() {
        let Some(subject) = subject(ports, tenant, subscriber, cut_off) else { continue };
        let claims = json!({
            "iss": issuer(ports, subscriber.tenant),
            "aud": audience,
            "iat": now.0,
            "jti": format!("{}.{n}", entry.sequence),
            "toe": entry.at.0,
            "sub_id": subject,
            "events": {(SESSION_REVOKED): {"event_timestamp": entry.at.0, "change": entry.sequence}},
        });
        tokens.push(ports.crypto.sign("ES256", TYP, false, claims.to_string().as_bytes())?);
    }
    Ok(tokens)
}

fn issuer(ports: &Ports, tenant: TenantId) -> String {
    format!("{}/{tenant}/v2.0", ports.host)
}

/// The subject (RFC 9493, SSF complex subjects): a token is meant if every member fits. Users, sessions and authorizations
/// go by the names that tokens for this subscriber have for them, so nobody learns of those they never saw.
fn subject(ports: &Ports, tenant: &TenantDirectory, subscriber: &Subscriber, cut_off: &CutOff) -> Option<Value> {
    let crypto = &*ports.crypto;
    let id = subscriber.tenant;
    let opaque = |id: String| json!({"format": "opaque", "id": id});
    let person = |user| {
        let sub = reference::user(crypto, id, user, subscriber.client);
        json!({"format": "iss_sub", "iss": issuer(ports, id), "sub": sub})
    };
    let mut members = serde_json::Map::new();
    let mut with = |name: &str, value| drop(members.insert(name.to_owned(), value));
    with("format", json!("complex"));
    with("tenant", opaque(id.to_string()));
    match cut_off {
        CutOff::Tenant => {}
        CutOff::User { user } => with("user", person(*user)),
        CutOff::Client { client } => with("application", opaque(client.to_string())),
        CutOff::Resource { resource } if *resource == subscriber.client => {}
        CutOff::At { resource, client, user } if *resource == subscriber.principal => {
            if let Some(client) = client {
                // One that is not there any more was cut off itself.
                with("application", opaque(tenant.principal(*client)?.application.app_id.to_string()));
            }
            if let Some(user) = user {
                with("user", person(*user));
            }
        }
        CutOff::Resource { .. } | CutOff::At { .. } => return None,
        CutOff::Session { session } => {
            with("session", opaque(reference::session(crypto, *session, subscriber.client)));
        }
        CutOff::Grant { family } => with("grant", opaque(reference::grant(crypto, *family, subscriber.client))),
        CutOff::Key { kid } => with("key", opaque(kid.clone())),
    }
    Some(Value::Object(members))
}
