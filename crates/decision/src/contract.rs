//! An API's published contract: what it demands of a token, per route, as data.
//!
//! Guard and gateway enforce it, the authority and the portal publish it, `can-i` evaluates it; nothing restates it.
//! [`decide_claims`] is the one function that compares a token's [`Claims`] with it.
//!
//! ```
//! # use deputize_decision as decision;
//! use decision::contract::{Claims, Contract, Presented, decide_claims};
//! use decision::{Silent, Timestamp};
//!
//! let contract: Contract = serde_json::from_str(r#"{
//!     "audiences": ["api://billing"],
//!     "issuers": [{"issuer": "https://id.example/t1/v2.0", "tenants": ["t1"]}],
//!     "routes": [{"method": "GET", "path": "/invoices", "scopes": ["Invoices.Read"]}]
//! }"#).unwrap();
//! let claims: Claims = serde_json::from_str(r#"{"iss":"https://id.example/t1/v2.0","aud":"api://billing","exp":2000,
//!     "iat":1000,"sub":"s","oid":"o","tid":"t1","azp":"orders","scp":"Invoices.Read","idtyp":"user","ver":"2.0","uti":"1"}"#).unwrap();
//! let token = Presented { typ: Some("JWT"), issuer: contract.issuer_of(&claims), claims: &claims, certificate: None, key: None };
//! let route = contract.route("GET", "/invoices");
//! assert!(decide_claims(&token, &contract, route, Timestamp(1500), &mut Silent).is_ok());
//! ```
mod claims;
mod decide;
mod route;

pub use claims::{Claim, Claims, SubjectKind};
pub use decide::{Presented, Steps, decide_claims, shown};
pub use route::{Route, Subject};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The place of the tenant in an issuer that serves many (Entra's literal braces).
pub const TENANT_TEMPLATE: &str = "{tenantid}";

/// What an API demands of the tokens it accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Contract {
    /// The API's name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The values of `aud` that mean this API, compared byte by byte. Name the application ID URI too: texts use it.
    pub audiences: Vec<String>,
    /// Whose tokens are accepted.
    pub issuers: Vec<TrustedIssuer>,
    /// If present, the only applications that may call (`azp`, `appid` or `client_id`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Vec<String>>,
    /// What may be called with what. A request that matches none is refused.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// How far clocks may differ, in seconds.
    #[serde(default = "sixty")]
    pub skew: i64,
    /// The largest token, in bytes.
    #[serde(default = "sixteen_kib")]
    pub max_token_bytes: usize,
    /// The longest life of a token (`exp - iat`) in seconds; by default the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<i64>,
    /// How long routes that need live cut-offs are served after the last word from their stream, in seconds.
    #[serde(default = "sixty")]
    pub fail_static: i64,
    /// Says that tokens with neither scopes nor roles pass where the route asks for none: the API itself has a list of the
    /// applications that may call it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub authorized_by_list: bool,
    /// How much a refused caller is told.
    #[serde(default)]
    pub disclosure: Disclosure,
    /// Where a user signs in, for challenges; by default derived from the first issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_uri: Option<String>,
}

/// How much a refusal tells the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Disclosure {
    /// Everything, at once: for development.
    Dev,
    /// What concerns the credential that the caller holds; expected values only once its signature is verified.
    #[default]
    Caller,
    /// The error code and no more.
    Public,
}

/// An issuer whose tokens are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct TrustedIssuer {
    /// `iss`, byte by byte; `{tenantid}` stands for the token's `tid`.
    pub issuer: String,
    /// The metadata document; by default the issuer's `/.well-known/openid-configuration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// The key set, where there is no metadata document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Whether the metadata may name a key set on another host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign_keys_host: bool,
    /// The accepted values of `tid`. Needed where the issuer is a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Tenants>,
    /// The shape of its tokens.
    #[serde(default)]
    pub profile: Profile,
    /// The algorithm of keys that state none; `RS256` in the entra profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
}

/// The tenants that are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Tenants {
    /// These.
    Listed(Vec<String>),
    /// `"any"`: every tenant that the issuer serves, those of strangers included.
    Any(Any),
}

/// The word `"any"`, which has to be written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Any {
    /// `"any"`.
    Any,
}

/// The dialect of an issuer's access tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Microsoft Entra ID's: `typ` is `JWT`, the client is `azp` or `appid`.
    #[default]
    Entra,
    /// RFC 9068: `typ` is `at+jwt`, the client is `client_id`.
    Native,
    /// Those of other providers (RFC 7519), which have `iss`, `sub`, `aud` and `exp`, and whatever else. Nothing in them says that they
    /// are access tokens, and an ID token of an application passes for one where the application's id is an audience: name none that is.
    Jwt,
}

impl Profile {
    /// The longest life that is sane, in seconds: Entra's continuous-access tokens live up to 28 hours.
    pub const fn max_lifetime(self) -> i64 {
        match self {
            Self::Entra => 28 * 3_600,
            Self::Native | Self::Jwt => 24 * 3_600,
        }
    }

    /// Whether a header's `typ` says "access token" in this profile.
    pub fn accepts_typ(self, typ: Option<&str>) -> bool {
        let accepted: &[&str] = match self {
            Self::Entra => &["JWT"],
            Self::Native => &["at+jwt", "application/at+jwt"],
            Self::Jwt => &["JWT", "at+jwt", "application/at+jwt"],
        };
        typ.map_or(self == Self::Jwt, |typ| accepted.iter().any(|known| known.eq_ignore_ascii_case(typ)))
    }
}

/// What is wrong with a contract.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ContractError {
    /// A list that decides access is empty.
    #[error("`{0}` is empty; nothing could be accepted: name at least one")]
    Empty(&'static str),
    /// A template accepts tokens of strangers unless it is narrowed.
    #[error("the issuer `{0}` serves many tenants: name the accepted ones in `tenants`, or write `tenants = \"any\"`")]
    TenantsMissing(String),
    /// A template has no metadata address of its own.
    #[error("the issuer `{0}` is a template: say where its `metadata` or `jwks_uri` is")]
    MetadataMissing(String),
    /// Two sources of keys.
    #[error("the issuer `{0}` names both `metadata` and `jwks_uri`; keep one")]
    TwoKeySources(String),
    /// Two entries for one issuer.
    #[error("the issuer `{0}` is listed twice; keep one")]
    IssuerTwice(String),
    /// A path pattern nobody can match safely.
    #[error("the path `{0}` is not a pattern: write `/exact`, `/with/{{parameter}}` or `/prefix/*`")]
    Path(String),
    /// A method nobody sends.
    #[error("the method `{0}` is not a method: write it in capitals, or `*`")]
    Method(String),
    /// A route without a demand.
    #[error(
        "the route `{0}` demands nothing: name `scopes`, `roles` or `app_roles`, or write `authenticated_suffices = true`"
    )]
    Nothing(String),
    /// Demands that the subject cannot meet.
    #[error(
        "the route `{0}` demands what its subject cannot have: `app_roles` are for applications, `roles` and `acrs` for users"
    )]
    Subject(String),
    /// A number that would switch a rule off.
    #[error("`{0}` is out of range")]
    Range(&'static str),
}

impl Contract {
    /// The issuer entry whose tokens have these claims' `iss` (and `tid`, where the entry is a template).
    pub fn issuer_of(&self, claims: &Claims) -> Option<&TrustedIssuer> {
        self.issuer_index(claims).and_then(|at| self.issuers.get(at))
    }

    /// The position of that entry.
    pub fn issuer_index(&self, claims: &Claims) -> Option<usize> {
        let iss = claims.iss.value()?;
        let tid = claims.tid.value().map(AsRef::as_ref);
        self.issuers.iter().position(|entry| issuer_matches(&entry.issuer, iss, tid))
    }

    /// The most exact route for a request: a literal segment beats a parameter, a parameter beats `/*`.
    pub fn route(&self, method: &str, path: &str) -> Option<&Route> {
        if !route::is_canonical(path) {
            return None;
        }
        let candidates = self.routes.iter().filter(|r| r.matches(method, path));
        candidates.reduce(|best, next| if next.more_exact_than(best) { next } else { best })
    }

    /// The name of this API in texts and scopes: its first audience that is a URI, else its first.
    pub fn audience(&self) -> &str {
        let uri = self.audiences.iter().find(|a| a.contains("://"));
        uri.or_else(|| self.audiences.first()).map_or("", String::as_str)
    }

    /// Whether the contract can be enforced as it stands. Reading one from text checks this too.
    ///
    /// # Errors
    /// Names what has to change.
    pub fn validate(&self) -> Result<(), ContractError> {
        let empty = |list: &[String]| list.is_empty() || list.iter().any(String::is_empty);
        if empty(&self.audiences) {
            return Err(ContractError::Empty("audiences"));
        }
        if self.issuers.is_empty() {
            return Err(ContractError::Empty("issuers"));
        }
        if self.clients.as_deref().is_some_and(empty) {
            return Err(ContractError::Empty("clients"));
        }
        if !(0..=600).contains(&self.skew) {
            return Err(ContractError::Range("skew"));
        }
        if !(256..=65_536).contains(&self.max_token_bytes) {
            return Err(ContractError::Range("max_token_bytes"));
        }
        if !(5..=3_600).contains(&self.fail_static) {
            return Err(ContractError::Range("fail_static"));
        }
        if self.max_lifetime.is_some_and(|life| life <= 0) {
            return Err(ContractError::Range("max_lifetime"));
        }
        for (at, entry) in self.issuers.iter().enumerate() {
            entry.validate()?;
            if self.issuers.iter().skip(at + 1).any(|other| other.issuer == entry.issuer) {
                return Err(ContractError::IssuerTwice(entry.issuer.clone()));
            }
        }
        self.routes.iter().try_for_each(Route::validate)
    }
}

impl TrustedIssuer {
    /// Whether many tenants share this entry.
    pub fn is_template(&self) -> bool {
        self.issuer.contains(TENANT_TEMPLATE)
    }

    /// Whether a token with this `tid` may be accepted from this issuer; its `iss` has matched already.
    pub fn accepts_tenant(&self, iss: &str, tid: Option<&str>) -> bool {
        match (&self.tenants, tid) {
            (Some(Tenants::Listed(known)), Some(tid)) => {
                known.iter().any(|t| t == tid) && (self.profile != Profile::Entra || names_tenant(iss, tid))
            }
            (Some(Tenants::Listed(_)), None) => false,
            (Some(Tenants::Any(_)), Some(tid)) => self.profile != Profile::Entra || names_tenant(iss, tid),
            // A `tid` that disagrees with `iss` would make this API write into another tenant's data.
            (None, Some(tid)) => names_tenant(iss, tid),
            (_, None) => self.profile != Profile::Entra,
        }
    }

    fn validate(&self) -> Result<(), ContractError> {
        let name = || self.issuer.clone();
        if self.issuer.is_empty() {
            return Err(ContractError::Empty("issuer"));
        }
        if matches!(&self.tenants, Some(Tenants::Listed(known)) if known.is_empty() || known.iter().any(String::is_empty))
        {
            return Err(ContractError::Empty("tenants"));
        }
        if self.is_template() && self.tenants.is_none() {
            return Err(ContractError::TenantsMissing(name()));
        }
        if self.metadata.is_some() && self.jwks_uri.is_some() {
            return Err(ContractError::TwoKeySources(name()));
        }
        if self.is_template() && self.metadata.is_none() && self.jwks_uri.is_none() {
            return Err(ContractError::MetadataMissing(name()));
        }
        Ok(())
    }
}

/// Whether `iss` is `configured`, with the token's own `tid` in the template's place. Byte by byte.
pub fn issuer_matches(configured: &str, iss: &str, tid: Option<&str>) -> bool {
    // Most name their tenant.
    let template = configured.find('{').and_then(|_| configured.split_once(TENANT_TEMPLATE));
    match template {
        None => configured == iss,
        Some((before, after)) => tid.is_some_and(|tid| {
            let plain = !tid.is_empty() && tid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            plain && iss.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)) == Some(tid)
        }),
    }
}

fn names_tenant(iss: &str, tid: &str) -> bool {
    iss.split('/').skip(3).any(|segment| segment == tid)
}

const fn sixty() -> i64 {
    60
}

const fn sixteen_kib() -> usize {
    16_384
}

/// Reading one of these from text validates it, so that the error carries the place of the table it stands in.
macro_rules! validated {
    ($($type:ident),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let read = $type::deserialize(from)?;
                read.validate().map_err(serde::de::Error::custom)?;
                Ok(read)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                $type::serialize(self, to)
            }
        }
    )*};
}
validated!(Contract, TrustedIssuer, Route);

#[cfg(test)]
mod tests;
