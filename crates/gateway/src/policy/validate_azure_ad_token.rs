//! `validate_azure_ad_token`: a token of one tenant, of either version, for one of these audiences. Issuers and keys follow from the
//! authority and the tenant; the rest is that of `validate_jwt`.
use super::Part;
use super::required_claims::{self, ClaimTable};
use super::validate_jwt::{Common, sixty};
use crate::settings::{SettingsError, Spanned, World, fault};
use decision::contract::{Profile, Tenants, TrustedIssuer};
use http::Uri;
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::Range;

/// Calls with a token of one tenant, v1.0 or v2.0, for one of these audiences. Issuers and keys follow from the tenant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "validate_azure_ad_token")]
pub(crate) struct Table {
    /// Where the tenant signs in: `https://` and the host of a cloud, or of an authority of one's own.
    authority: Spanned<String>,
    /// The tenant's id, as `tid` in its tokens.
    tenant_id: Spanned<String>,
    /// The issuer of its v1.0 tokens, where it does not begin with `authority`.
    issuer_v1: Option<Spanned<String>>,
    /// The values of `aud` of which any one will do.
    #[serde(default)]
    audiences: Vec<String>,
    /// Ids of the API's own registrations, which are audiences too.
    #[serde(default)]
    backend_application_ids: Vec<String>,
    /// The only applications that may call; by default any.
    client_application_ids: Option<Vec<String>>,
    /// Claims that the token has, all of them.
    #[serde(default)]
    required_claims: Vec<Spanned<ClaimTable>>,
    /// How far clocks may differ, in seconds.
    #[serde(default = "sixty")]
    clock_skew: i64,
    /// Who tells which tokens were cut off before their end (sessions that were ended, users who were disabled, consents that were
    /// withdrawn), by the name that the file gives it: the authority, with the client id of the application that these tokens are
    /// for, which has the app role `Events.Read` there. By default nobody, and a token is good until its end.
    cut_offs: Option<Spanned<String>>,
    /// The field that carries the token; by default `Authorization`, with `Bearer` before it.
    header_name: Option<Spanned<String>>,
    /// The parameter that carries it, in its place.
    query_parameter_name: Option<Spanned<String>>,
    /// The status of refusals; by default 401, and what the check that failed says where that is another.
    failed_validation_httpcode: Option<Spanned<u16>>,
    /// The text of refusals; by default what failed, and how to mend it.
    failed_validation_error_message: Option<String>,
}

impl super::Table for Table {
    fn part(&self, at: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        // Tokens of version 1.0 repeat what the client asked for, and those of 2.0 have the registration's own.
        let written = [self.audiences.as_slice(), &self.backend_application_ids].concat();
        let in_tokens = written.iter().map(|id| as_in_tokens(id)).filter(|id| !written.contains(id));
        let audiences: Vec<String> = written.iter().cloned().chain(in_tokens).collect();
        if audiences.is_empty() {
            let problem = "it takes tokens for any API of the tenant, which is no check";
            return Err(fault(at, problem, "add `audiences` or `backend_application_ids`"));
        }
        let names_clients = |rule: &Spanned<ClaimTable>| rule.get_ref().names_any_of(&["azp", "appid"]);
        if self.client_application_ids.is_none() && !self.required_claims.iter().any(names_clients) {
            let place = world.place().to_owned();
            world.remark(format!(
                "`validate_azure_ad_token` of {place} takes tokens of any application in the tenant: name those that may call in \
                 `client_application_ids`"
            ));
        }
        let (authority, tenant) = (host(&self.authority)?, tenant(&self.tenant_id)?);
        let clients: Option<Vec<String>> =
            self.client_application_ids.as_ref().map(|ids| ids.iter().map(|id| as_in_tokens(id)).collect());
        let v1 = match &self.issuer_v1 {
            None => format!("{authority}/{tenant}/"),
            Some(text) => {
                let segments: Vec<String> = text.get_ref().split('/').map(as_in_tokens).collect();
                if !segments.iter().skip(3).any(|segment| *segment == tenant) {
                    let problem = format!("the issuer of `{tenant}` has it in its path");
                    return Err(fault(&text.span(), problem, format!("write `{authority}/{tenant}/`")));
                }
                segments.join("/")
            }
        };
        let issuers = [(format!("{authority}/{tenant}/v2.0"), "/v2.0"), (v1, "")].map(|(issuer, version)| {
            let metadata = format!("{authority}/{tenant}{version}/.well-known/openid-configuration");
            let derived = TrustedIssuer {
                metadata: Some(metadata),
                jwks_uri: None,
                foreign_keys_host: false,
                profile: Profile::Entra,
                algorithm: None,
                tenants: None,
                issuer,
            };
            let known = world.issuer_called(&derived.issuer).unwrap_or(derived);
            TrustedIssuer { tenants: Some(Tenants::Listed(vec![tenant.clone()])), ..known }
        });
        let common = Common {
            audiences,
            issuers: issuers.into(),
            clients: clients.as_deref(),
            claims: &self.required_claims,
            skew: self.clock_skew,
            max_lifetime: None,
            shared: None,
            cut_offs: self.cut_offs.as_ref(),
            header_name: self.header_name.as_ref(),
            query_parameter_name: self.query_parameter_name.as_ref(),
            failed_validation_httpcode: self.failed_validation_httpcode.as_ref(),
            failed_validation_error_message: self.failed_validation_error_message.as_deref(),
        };
        common.check(at, world)
    }

    fn identifies(&self) -> bool {
        true
    }

    fn told(&self) -> String {
        let audiences = [self.audiences.as_slice(), &self.backend_application_ids].concat().join(" or ");
        let clients = match &self.client_application_ids {
            None => "any application".to_owned(),
            Some(clients) => clients.join(" or "),
        };
        let (tenant, skew) = (self.tenant_id.get_ref(), self.clock_skew);
        let more = required_claims::told(
            &self.required_claims,
            self.header_name.as_ref(),
            self.query_parameter_name.as_ref(),
            self.failed_validation_httpcode.as_ref(),
        );
        format!("a token of the tenant {tenant} for {audiences}, of {clients}, give or take {skew} s{more}")
    }
}

/// Where issuers begin.
fn host(text: &Spanned<String>) -> Result<&str, SettingsError> {
    let wrong =
        |problem: &str| fault(&text.span(), problem, "write `https://id.example`: the scheme and the host alone");
    let written = text.get_ref().strip_suffix('/').unwrap_or(text.get_ref());
    let uri: Uri = written.parse().map_err(|_| wrong("this is no address"))?;
    let authority = written.split_once("://").filter(|(scheme, _)| matches!(*scheme, "https" | "http"));
    let (_, authority) = authority.ok_or_else(|| wrong("the address has no scheme that is spoken here"))?;
    if uri.authority().is_none_or(|parsed| parsed.as_str() != authority) || authority.contains('@') {
        return Err(wrong("the address has more than a host"));
    }
    Ok(written)
}

/// An id as tokens write it: portals and scripts give GUIDs in capitals too, and no token has these.
fn as_in_tokens(id: &str) -> String {
    let is_guid =
        id.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if is_guid { id.to_ascii_lowercase() } else { id.to_owned() }
}

/// A tenant that is one.
fn tenant(text: &Spanned<String>) -> Result<String, SettingsError> {
    let id = text.get_ref().as_str();
    let hint = "write the tenant's id, as `tid` in its tokens";
    if ["common", "organizations", "consumers"].iter().any(|word| id.eq_ignore_ascii_case(word)) {
        return Err(fault(&text.span(), "this stands for the tenants of strangers too", hint));
    }
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(fault(&text.span(), "this is no tenant's id, and tokens name no other", hint));
    }
    Ok(as_in_tokens(id))
}
