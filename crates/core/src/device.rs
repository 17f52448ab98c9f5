//! Devices without a browser (RFC 8628): they show a code, and a person types it elsewhere, signs in and approves.
//!
//! The person's side is an ordinary authorization request of the device's client, whose answer comes back to a page of our
//! own: sign-in, second factor, consent and conditional access are those of every other request. What approves the device is
//! that request's code, consumed in the same commit.
mod approval;

pub(crate) use approval::registered;
pub use approval::{DeviceDecided, DeviceRequest, decided, enter, returned, ticket};

use crate::client_auth::{self, Method};
use crate::denial::{Denial, ErrorContext};
use crate::endpoint::EndpointVersion;
use crate::id::AppId;
use crate::issuance;
use crate::ledger::{CommitError, DeviceRecord, DeviceStage, Unavailable, Write};
use crate::limits::{Caller, DEVICE_INTERVAL, Wait};
use crate::model::{Digest, Profile};
use crate::ports::Ports;
use crate::token_endpoint::{
    Refusal, TokenRequest, authenticate, blank, claims_readable, find_tenant, is_alias, unavailable,
};
use decision::{CheckId, Timestamp};
use oauth::{Parameter, Parameters, Place, Secret};
use serde::Serialize;

/// Life of a device code, in seconds.
const SECONDS: i64 = 900;
/// Consonants only: no words, and nothing that looks like a digit (RFC 8628 section 6.1).
const ALPHABET: [char; 20] =
    ['B', 'C', 'D', 'F', 'G', 'H', 'J', 'K', 'L', 'M', 'N', 'P', 'Q', 'R', 'S', 'T', 'V', 'W', 'X', 'Z'];
/// Characters of a user code.
const LENGTH: usize = 8;
/// Tries to find a code that no other device shows.
const TRIES: usize = 3;

/// What the device is told (RFC 8628 section 3.2). No `verification_uri_complete`: a link with the code filled in is how
/// people are made to approve an attacker's device.
#[derive(Clone, Debug, Serialize)]
pub struct Begun {
    /// The decision's id.
    #[serde(skip)]
    pub decision: String,
    /// What the person types.
    pub user_code: String,
    /// What the device asks with.
    pub device_code: Secret,
    /// Where the person types it.
    pub verification_uri: String,
    /// Seconds that it works.
    pub expires_in: i64,
    /// Seconds between two requests.
    pub interval: i64,
    /// What to show to the person.
    pub message: String,
}

/// The same in v1.0's form: the address is a `verification_url`, and numbers are texts.
#[derive(Debug, Serialize)]
pub struct BegunV1<'a> {
    user_code: &'a str,
    device_code: &'a Secret,
    verification_url: &'a str,
    expires_in: String,
    interval: String,
    message: &'a str,
}

impl<'a> From<&'a Begun> for BegunV1<'a> {
    fn from(begun: &'a Begun) -> Self {
        Self {
            user_code: &begun.user_code,
            device_code: &begun.device_code,
            verification_url: &begun.verification_uri,
            expires_in: begun.expires_in.to_string(),
            interval: begun.interval.to_string(),
            message: &begun.message,
        }
    }
}

/// What is read.
pub const PARAMETERS: &[Parameters] = &[
    Parameters {
        when: "",
        each: &[
            Parameter::depends(
                "scope",
                "v2.0: what the device asks for; scopes of one resource, and OpenID Connect's.",
            ),
            Parameter::depends("resource", "v1.0: one resource; all that is registered or granted there is asked for."),
            Parameter::optional(
                "claims",
                "A JSON object: claims that the tokens must have, and the client's capabilities.",
            ),
            Parameter::optional("mkt", "The language of `message`, as `de-DE`.").at(Place::Either),
        ],
    },
    client_auth::PARAMETERS,
    Parameters {
        when: "Header fields",
        each: &[Parameter::header("origin", "A request that has one is refused: devices are no pages.")],
    },
];

/// Answers a device authorization request (RFC 8628 section 3.1).
///
/// # Errors
/// With the error answer.
pub async fn begin(ports: &Ports, request: TokenRequest<'_>) -> Result<Begun, Refusal> {
    let now = ports.now();
    let decision = issuance::random_uuid(ports).to_string();
    let mut profile = Profile::Entra;
    decide(ports, &request, &decision, now, &mut profile).await.map_err(|denial| {
        let correlation = request.correlation.unwrap_or(&decision);
        let context = ErrorContext { host: &ports.host, decision: &decision, correlation, now };
        Refusal::of(&denial, profile, &context)
    })
}

async fn decide(
    ports: &Ports,
    request: &TokenRequest<'_>,
    decision: &str,
    now: Timestamp,
    profile: &mut Profile,
) -> Result<Begun, Denial> {
    let form = request.form;
    let snapshot = ports.directory.snapshot();
    let (client_id, presented) = client_auth::presented(form, request.basic)?;
    let app: Option<AppId> = client_id.parse().ok();
    let tenant = if is_alias(request.tenant) {
        // Who signs in decides; until then any tenant where the client stands speaks for it.
        snapshot.tenants().find(|tenant| tenant.tenant.enabled && app.is_some_and(|app| tenant.app(app).is_some()))
    } else {
        find_tenant(&snapshot, request.tenant)
    };
    let client = tenant.and_then(|tenant| tenant.app(app?));
    if let Some(client) = client {
        *profile = client.application.deputize.client_profile;
    }
    let mut facts = blank(ports, request.tenant, tenant.map(AsRef::as_ref), &client_id, client.map(AsRef::as_ref));
    facts.authentication = client_auth::gather(presented, client.map(AsRef::as_ref), &*ports.crypto, now);
    let proven = authenticate(ports, request, &facts, now)?;
    let (Some(tenant), Some(client)) = (tenant, client) else {
        return Err(Denial::new(CheckId::ClientKnown, "a client", "none"));
    };
    if proven.method() == Method::None && !client.application.is_fallback_public_client {
        return Err(not_public(proven.app()));
    }
    if request.origin.is_some() {
        let expected = "a device, which sends no `Origin`";
        return Err(Denial::new(CheckId::ClientOrigin, expected, "a page of another site"));
    }
    // The v1.0 endpoint names a resource, and means all that is registered or granted there.
    let of_resource = |resource: &str| format!("openid profile offline_access {resource}/.default");
    let scope = match request.version {
        EndpointVersion::V1 => form.value("resource").map(of_resource).or(form.value("scope").map(str::to_owned)),
        EndpointVersion::V2 => form.value("scope").map(str::to_owned),
    };
    let scope = scope.filter(|scope| !scope.trim().is_empty());
    let scope = scope.ok_or_else(|| Denial::new(CheckId::ScopePresent, "`scope`", "nothing"))?;
    claims_readable(form)?;
    let claims = form.value("claims");
    // Each is a record, made for a stranger.
    if let Err(Wait(seconds)) = ports.limits.attempt(&[Caller::DevicesFrom(request.address.into())], now) {
        let expected = format!("fewer device authorizations from one address; wait {seconds} seconds");
        return Err(Denial::new(CheckId::AttemptsLimited, expected, "too many").retry_after(seconds));
    }
    for _ in 0..TRIES {
        let (device_code, user_code) = (issuance::secret_text(ports), user_code(ports));
        let record = DeviceRecord {
            tenant: tenant.tenant.id,
            segment: request.tenant.to_owned(),
            client: proven.app(),
            user_code: user_code_digest(ports, &user_code),
            scope: scope.clone(),
            claims: claims.map(str::to_owned),
            address: request.address,
            issued: now,
            expires: now.plus(SECONDS),
            stage: DeviceStage::Pending,
        };
        let digest = ports.crypto.keyed_digest(device_code.expose());
        match ports.ledger.commit(vec![Write::InsertDevice(digest, Box::new(record))]).await {
            Ok(()) => {
                let shown = shown(&user_code);
                let verification_uri = format!("{}/device", ports.host);
                let message = message(form.value("mkt"), &verification_uri, &shown);
                return Ok(Begun {
                    decision: decision.to_owned(),
                    user_code: shown,
                    device_code,
                    verification_uri,
                    expires_in: SECONDS,
                    interval: DEVICE_INTERVAL,
                    message,
                });
            }
            Err(CommitError::Conflict) => {}
            Err(CommitError::Unavailable) => return Err(unavailable(Unavailable)),
        }
    }
    Err(unavailable(Unavailable))
}

/// A client that may not leave its credential out here.
pub(crate) fn not_public(app: AppId) -> Denial {
    let expected = format!("`isFallbackPublicClient = true` on the application `{app}`");
    Denial::new(CheckId::ClientPublicAllowed, expected, "a client that is not public")
        .fix("set `isFallbackPublicClient` on the application, so that devices may use it without a credential")
}

/// `?mkt=`: the person's language, as far as it is spoken here.
fn message(market: Option<&str>, uri: &str, code: &str) -> String {
    let language = market.and_then(|market| market.split('-').next()).unwrap_or("en").to_ascii_lowercase();
    match language.as_str() {
        "de" => {
            format!("Öffnen Sie zum Anmelden in einem Webbrowser die Seite {uri} und geben Sie den Code {code} ein.")
        }
        "fr" => {
            format!("Pour vous connecter, ouvrez la page {uri} dans un navigateur web et saisissez le code {code}.")
        }
        "es" => format!("Para iniciar sesión, abra la página {uri} en un explorador web y escriba el código {code}."),
        _ => format!("To sign in, use a web browser to open the page {uri} and enter the code {code} to authenticate."),
    }
}

fn user_code(ports: &Ports) -> String {
    let mut code = String::with_capacity(LENGTH);
    while code.len() < LENGTH {
        // Bytes from 240 on would favour the first letters.
        code.extend(
            issuance::random::<16>(ports)
                .iter()
                .filter(|byte| **byte < 240)
                .filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()))
                .take(LENGTH - code.len()),
        );
    }
    code
}

/// As people read it: `WDJB-MJHT`.
fn shown(code: &str) -> String {
    let (first, second) = code.split_at_checked(LENGTH / 2).unwrap_or((code, ""));
    format!("{first}-{second}")
}

/// As people type it: in any case, with or without the dash and blanks. `None` if it can be no code.
fn typed(text: &str) -> Option<String> {
    let code: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| c.to_ascii_uppercase())
        .take(LENGTH + 1)
        .collect();
    (code.chars().count() == LENGTH && code.chars().all(|c| ALPHABET.contains(&c))).then_some(code)
}

fn user_code_digest(ports: &Ports, code: &str) -> Digest {
    ports.crypto.keyed_digest(&format!("user code\0{code}"))
}

#[cfg(test)]
mod tests {
    use super::{ALPHABET, shown, typed};

    #[test]
    fn a_20_a_user_code_is_read_as_people_type_it_and_nothing_else_is_one() {
        let code: String = ALPHABET.iter().take(8).collect();
        for text in [&*code, &code.to_lowercase(), &shown(&code), " bcdf ghjk ", "b-c-d-f-g-h-j-k"] {
            assert_eq!(typed(text).as_deref(), Some(&*code), "{text}");
        }
        for text in ["", "BCDFGHJ", "BCDFGHJKL", "BCDFGHJA", "BCDFGHJ1", "ＢＣＤＦＧＨＪＫ", &"B".repeat(100_000)]
        {
            assert_eq!(typed(text), None);
        }
    }
}
