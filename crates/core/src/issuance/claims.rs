//! The shapes of our tokens: which claims there are, and when they are left out.
use super::optional::Optional;
use crate::chain::Chain;
use crate::id::AppId;
use serde::Serialize;
use std::net::IpAddr;

/// Claims of an access token (spec/entra.md section 9.1; RFC 9068 in the native profile).
#[derive(Serialize)]
pub(super) struct AccessClaims<'a> {
    pub(super) aud: String,
    pub(super) iss: String,
    pub(super) iat: i64,
    pub(super) nbf: i64,
    pub(super) exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acct: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acr: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acrs: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) act: Option<Actor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aio: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) amr: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) appid: Option<AppId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) appidacr: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) azp: Option<AppId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) azpacr: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<AppId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) family_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) given_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) idp: Option<String>,
    pub(super) idtyp: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ipaddr: Option<IpAddr>,
    pub(super) jti: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    pub(super) oid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) preferred_username: Option<&'a str>,
    pub(super) rh: String,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) roles: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sid: Option<String>,
    pub(super) sub: String,
    pub(super) tid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unique_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upn: Option<&'a str>,
    pub(super) uti: &'a str,
    pub(super) ver: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) xms_cc: Option<[&'static str; 1]>,
    #[serde(flatten)]
    pub(super) optional: Optional<'a>,
    /// The resource behind a managed identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) xms_mirid: Option<&'a str>,
}

/// RFC 8693 section 4.1: the outermost is the current actor; those inside are for information.
#[derive(Serialize)]
pub(super) struct Actor {
    pub(super) sub: AppId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) act: Option<Box<Self>>,
}

/// Claims of an ID token (spec/entra.md section 9.2).
#[derive(Serialize)]
pub(super) struct IdClaims<'a> {
    pub(super) aud: AppId,
    pub(super) iss: String,
    pub(super) iat: i64,
    pub(super) nbf: i64,
    pub(super) exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acrs: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) amr: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acct: Option<u8>,
    pub(super) auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) family_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) given_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) idp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ipaddr: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nonce: Option<&'a str>,
    pub(super) oid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) preferred_username: Option<&'a str>,
    pub(super) sid: String,
    pub(super) sub: String,
    pub(super) tid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unique_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upn: Option<&'a str>,
    pub(super) uti: &'a str,
    pub(super) ver: &'static str,
    #[serde(flatten)]
    pub(super) optional: Optional<'a>,
}

/// The chain in clear, nearest actor first.
pub(super) fn actor(chain: &Chain) -> Option<Actor> {
    chain.actors.iter().rev().fold(None, |inner, actor| Some(Actor { sub: *actor, act: inner.map(Box::new) }))
}
