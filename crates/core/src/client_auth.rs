//! Which client calls: exactly one mechanism, judged before anything else is read.
//!
//! To add a mechanism: a variant of [`AuthenticationFacts`], its gathering in [`gather`], its rule in `authenticate`.
pub(crate) mod federated;

use crate::audit::Credential;
use crate::denial::Denial;
use crate::directory::Registration;
use crate::facts::{AuthenticationFacts, ClientFacts, Facts, MatchedSecret, TenantFacts};
use crate::id::{AppId, ObjectId, PrincipalId};
use crate::model::{Digest, PasswordCredential, Profile};
use crate::ports::Crypto;
use crate::token::{ClientAssertionClaims, ClientAssertionFacts};
use decision::{CheckId, Timestamp};
use oauth::{CLIENT_ASSERTION_JWT_BEARER, Form, Parameter, Parameters, Secret};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use uuid::Uuid;

/// Clocks of clients may differ by this much.
const SKEW: i64 = 60;
/// The longest life of a client assertion, in seconds. MSAL's live for ten minutes; those of azure-identity's asynchronous
/// Python for half an hour.
const fn assertion_life(profile: Profile) -> i64 {
    match profile {
        Profile::Entra => 1_800,
        Profile::Native => 600,
    }
}

/// Credentials from the `Authorization: Basic` header, form-decoded (RFC 6749 section 2.3.1).
#[derive(Clone, Debug)]
pub struct Basic {
    /// User part.
    pub client_id: String,
    /// Password part; may be empty.
    pub secret: Secret,
}

/// How the client proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Not at all: a public client.
    None,
    /// With a secret.
    Secret,
    /// With a signed assertion.
    Assertion,
}

impl Method {
    /// `azpacr` / `appidacr`.
    pub const fn acr(self) -> &'static str {
        match self {
            Self::None => "0",
            Self::Secret => "1",
            Self::Assertion => "2",
        }
    }
}

/// Proof that the calling client is who it says. Only [`decide`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticatedClient {
    app: AppId,
    principal: PrincipalId,
    profile: Profile,
    method: Method,
    credential: Option<Credential>,
    once: Option<(Digest, Timestamp)>,
}

impl AuthenticatedClient {
    /// Its client id.
    pub fn app(&self) -> AppId {
        self.app
    }
    /// Its service principal.
    pub fn principal(&self) -> PrincipalId {
        self.principal
    }
    /// Its dialect.
    pub fn profile(&self) -> Profile {
        self.profile
    }
    /// How it proved itself.
    pub fn method(&self) -> Method {
        self.method
    }
    /// Which of its credentials it used.
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }
    /// The assertion id to consume, where assertions work once, and until when to remember it.
    pub fn once(&self) -> Option<(Digest, Timestamp)> {
        self.once
    }
}

/// What was sent to prove which client calls.
pub enum Presented<'a> {
    /// Nothing.
    Nothing,
    /// More than one thing.
    Several(String),
    /// A secret.
    Secret(&'a str),
    /// An assertion.
    Assertion(&'a str),
    /// An assertion of an unknown type.
    AssertionType(&'a str),
}

/// What is read to find out which client calls: exactly one mechanism proves it.
pub const PARAMETERS: Parameters = Parameters {
    when: "Which client calls",
    each: &[
        Parameter::depends(
            "client_id",
            "The application's id. Needed unless HTTP Basic or a client assertion names it.",
        ),
        Parameter::depends("client_secret", "A secret of the application within its dates; its value, not its id."),
        Parameter::depends(
            "client_assertion",
            "A JWT signed with a certificate of the application (RS256 or PS256; `x5t`, `x5t#S256` or `x5c`), or one of an \
             issuer that is registered among its federated identity credentials.",
        ),
        Parameter::depends(
            "client_assertion_type",
            "`urn:ietf:params:oauth:client-assertion-type:jwt-bearer`; needed beside `client_assertion`.",
        ),
    ],
};

/// What is read of a client's request beside its form.
pub const HEADERS: Parameters = Parameters {
    when: "Header fields",
    each: &[
        Parameter::header("authorization", "HTTP Basic with the client id and a secret, each form-encoded."),
        Parameter::header(
            "origin",
            "Sent by browsers: it must be that of one of the client's `spa` redirect URIs, and no credential may stand \
             beside it.",
        ),
    ],
};

/// Reads the client id and the one mechanism that was used.
///
/// # Errors
/// If no client id was sent.
pub fn presented<'a>(form: &'a Form, basic: Option<&'a Basic>) -> Result<(Cow<'a, str>, Presented<'a>), Denial> {
    let named = form.value("client_id").or(basic.map(|basic| basic.client_id.as_str())).map(Cow::Borrowed);
    let Some(client_id) = named.or_else(|| peek(form.value("client_assertion")?, "sub").map(Cow::Owned)) else {
        return Err(Denial::new(CheckId::ParameterPresent, "`client_id`", "nothing").fix("send `client_id`"));
    };
    let sent = [
        basic.is_some().then_some("HTTP Basic"),
        form.mentions("client_secret").then_some("`client_secret`"),
        form.mentions("client_assertion").then_some("`client_assertion`"),
    ];
    let sent: Vec<&str> = sent.into_iter().flatten().collect();
    let presented = if sent.len() > 1 {
        Presented::Several(sent.join(" and "))
    } else if basic.is_some_and(|basic| basic.client_id != client_id) {
        Presented::Several("two different client ids".to_owned())
    } else if let Some(basic) = basic {
        Presented::Secret(basic.secret.expose())
    } else if let Some(secret) = form.value("client_secret") {
        Presented::Secret(secret)
    } else if let Some(assertion) = form.value("client_assertion") {
        match form.value("client_assertion_type") {
            Some(CLIENT_ASSERTION_JWT_BEARER) => Presented::Assertion(assertion),
            other => Presented::AssertionType(other.unwrap_or("nothing")),
        }
    } else {
        Presented::Nothing
    };
    Ok((client_id, presented))
}

/// A claim of an assertion, unverified: it only chooses whose keys must have signed it (RFC 7521 section 4.2: `client_id` is
/// optional beside an assertion).
fn peek(assertion: &str, name: &str) -> Option<String> {
    use base64::Engine as _;
    let payload = assertion.split('.').nth(1)?.trim_end_matches('=');
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&claims).ok()?;
    claims.get(name)?.as_str().map(str::to_owned)
}

/// Compares what was sent with what is registered. All registered secrets are compared, in constant time each.
pub fn gather(
    presented: Presented<'_>,
    client: Option<&Registration>,
    crypto: &dyn Crypto,
    now: Timestamp,
) -> AuthenticationFacts {
    match presented {
        Presented::Nothing => AuthenticationFacts::Nothing,
        Presented::Several(found) => AuthenticationFacts::Several { found },
        Presented::AssertionType(found) => {
            AuthenticationFacts::AssertionType { found: found.chars().take(80).collect() }
        }
        Presented::Secret(secret) => {
            let digest = crypto.keyed_digest(secret);
            // Who has none is compared with one that never works: an unknown client takes as long as a wrong secret.
            let registered = client.map(|client| &*client.application.password_credentials);
            let registered = registered.filter(|registered| !registered.is_empty());
            let registered = registered.unwrap_or(std::slice::from_ref(&NOBODYS));
            let mut matched: Option<MatchedSecret> = None;
            for credential in registered {
                if equal(&credential.digest, &digest) && matched.is_none_or(|best| best.end < credential.end_date_time)
                {
                    let PasswordCredential { key_id, start_date_time: start, end_date_time: end, .. } = *credential;
                    matched = Some(MatchedSecret { key_id, start, end });
                }
            }
            let is_key_id = registered.iter().any(|credential| credential.key_id.to_string() == secret);
            AuthenticationFacts::Secret { matched, is_key_id }
        }
        Presented::Assertion(text) => {
            let nobody = crate::model::Application::default();
            let application = client.map_or(&nobody, |client| &client.application);
            let mut assertion = crypto.client_assertion(text, application, now);
            // The registration's dates bind beside the certificate's own.
            if let ClientAssertionFacts::Verified(claims) = &mut assertion
                && let Some(key) = application.key_credentials.iter().find(|key| key.key_id == claims.key_id)
            {
                claims.certificate_not_before = claims.certificate_not_before.max(key.start_date_time);
                claims.certificate_not_after = claims.certificate_not_after.min(key.end_date_time);
            }
            AuthenticationFacts::Assertion(assertion)
        }
    }
}

/// A secret that nothing matches, and that has expired.
static NOBODYS: PasswordCredential = PasswordCredential {
    key_id: ObjectId(Uuid::from_u128(0x5c7b_29e4_d1a8_4f36_b0e2_7f94_8d3a_61c5)),
    display_name: String::new(),
    digest: Digest([0; 32]),
    hint: String::new(),
    start_date_time: Timestamp(0),
    end_date_time: Timestamp(0),
};

/// Compares without leaving early: how long it takes says nothing of where they differ.
fn equal(a: &Digest, b: &Digest) -> bool {
    a.0.iter().zip(b.0).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// Steps 1a to 1d of spec/entra.md section 6.3: tenant, client, and its proof.
///
/// # Errors
/// The first check that fails.
pub fn decide(facts: &Facts, now: Timestamp) -> Result<AuthenticatedClient, Denial> {
    let (tenant, client) = crate::admission::tenant_and_client(facts)?;
    let Proven { method, credential, once } = authenticate(facts, tenant, client, now)?;
    let ClientFacts { app_id: app, principal, profile, .. } = *client;
    Ok(AuthenticatedClient { app, principal, profile, method, credential, once })
}

/// What a mechanism came to.
struct Proven {
    method: Method,
    credential: Option<Credential>,
    once: Option<(Digest, Timestamp)>,
}

fn authenticate(facts: &Facts, tenant: &TenantFacts, client: &ClientFacts, now: Timestamp) -> Result<Proven, Denial> {
    let app = client.app_id;
    match &facts.authentication {
        AuthenticationFacts::Several { found } => {
            Err(Denial::new(CheckId::ClientCredentialSingle, "one mechanism for one client", found.as_str()))
        }
        AuthenticationFacts::Nothing if client.public_allowed => {
            Ok(Proven { method: Method::None, credential: None, once: None })
        }
        AuthenticationFacts::Nothing => Err(Denial::new(
            CheckId::ClientCredentialPresent,
            format!("a credential of the confidential client `{app}`"),
            "none",
        )),
        AuthenticationFacts::AssertionType { found } => Err(Denial::new(
            CheckId::ClientAssertionTyped,
            format!("`client_assertion_type={CLIENT_ASSERTION_JWT_BEARER}`"),
            found.as_str(),
        )),
        _ if !client.confidential => Err(Denial::new(
            CheckId::ClientConfidential,
            format!("no credential, since `{app}` is a public client"),
            "a credential",
        )),
        AuthenticationFacts::Secret { matched: None, is_key_id } => {
            let denial = Denial::new(
                CheckId::ClientSecretCorrect,
                format!("a secret of the application `{app}`"),
                "another one",
            );
            Err(if *is_key_id {
                denial.fix("send the secret's value; what was sent is the secret's id")
            } else {
                denial
            })
        }
        AuthenticationFacts::Secret { matched: Some(MatchedSecret { key_id, start, end }), .. } => {
            if now < *start || now >= *end {
                let expected = format!("a secret valid at {now}");
                return Err(Denial::new(
                    CheckId::ClientSecretCurrent,
                    expected,
                    format!("one valid from {start} to {end}"),
                ));
            }
            let credential = Some(Credential::Secret { key_id: *key_id });
            Ok(Proven { method: Method::Secret, credential, once: None })
        }
        AuthenticationFacts::Federated { assertion, credentials } => {
            federated::decide(client, assertion, credentials, now)
        }
        AuthenticationFacts::Assertion(ClientAssertionFacts::Refused { check, reason }) => {
            Err(Denial::new(*check, format!("an assertion signed with a certificate of `{app}`"), reason.as_str()))
        }
        AuthenticationFacts::Assertion(ClientAssertionFacts::Verified(claims)) => {
            let once = assertion(facts, tenant, client, claims, now)?;
            let key_id = Some(claims.key_id).filter(|id| *id != ObjectId::default());
            let credential = Some(Credential::Certificate { thumbprint: claims.thumbprint.clone(), key_id });
            Ok(Proven { method: Method::Assertion, credential, once })
        }
    }
}

/// RFC 7523 section 3, as leniently as real clients need it (spec/entra.md section 1, rows 6 and 7).
fn assertion(
    facts: &Facts,
    tenant: &TenantFacts,
    client: &ClientFacts,
    claims: &ClientAssertionClaims,
    now: Timestamp,
) -> Result<Option<(Digest, Timestamp)>, Denial> {
    let app = client.app_id.to_string();
    // The entra profile's clients write the id as their configuration does.
    let same = |id: &String| match client.profile {
        Profile::Entra => id.eq_ignore_ascii_case(&app),
        Profile::Native => *id == app,
    };
    if !same(&claims.iss) || !same(&claims.sub) {
        return Err(Denial::new(
            CheckId::ClientAssertionClaims,
            format!("`iss` and `sub` to be `{app}`"),
            "another value",
        ));
    }
    let names = [tenant.id.to_string(), facts.tenant_requested.clone()];
    let host = &facts.host;
    let ours = |aud: &String| {
        names.iter().chain(&tenant.domains).any(|name| {
            *aud == format!("{host}/{name}/oauth2/v2.0/token")
                || *aud == format!("{host}/{name}/oauth2/token")
                || *aud == format!("{host}/{name}/v2.0")
        })
    };
    if claims.aud.len() != 1 || !claims.aud.iter().all(ours) {
        let expected = format!("`aud` to be `{host}/{}/oauth2/v2.0/token`", tenant.id);
        return Err(Denial::new(CheckId::ClientAssertionClaims, expected, "another audience"));
    }
    let current = claims.exp.plus(SKEW) > now && claims.nbf.is_none_or(|nbf| nbf <= now.plus(SKEW));
    let life = assertion_life(client.profile);
    if !current || claims.exp > now.plus(life + SKEW) {
        let expected = format!("`exp` after {now} and at most {life} seconds ahead");
        return Err(Denial::new(CheckId::ClientAssertionCurrent, expected, format!("`exp` of {}", claims.exp)));
    }
    if now < claims.certificate_not_before || now >= claims.certificate_not_after {
        let expected = format!("a certificate valid at {now}");
        let found = format!("one valid from {} to {}", claims.certificate_not_before, claims.certificate_not_after);
        return Err(Denial::new(CheckId::ClientCertificateCurrent, expected, found));
    }
    if !client.one_time_assertions {
        return Ok(None);
    }
    let Some(jti) = &claims.jti else {
        return Err(Denial::new(
            CheckId::ClientAssertionOnce,
            "`jti`, since this client's assertions work once",
            "none",
        ));
    };
    let digest = Sha256::new_with_prefix(app.as_bytes()).chain_update([0]).chain_update(jti.as_bytes()).finalize();
    Ok(Some((Digest(digest.into()), claims.exp.plus(SKEW))))
}
