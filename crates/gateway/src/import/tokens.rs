//! Tokens of callers: `validate-jwt` and `validate-azure-ad-token`.
use super::write::Table;
use super::{Element, Reading};
use roxmltree::Node;
use toml::Value;

const WELL_KNOWN: &str = "/.well-known/openid-configuration";
/// What Entra's v1 tokens are issued by.
const STS: &str = "https://sts.windows.net/";
const LOGIN: &str = "https://login.microsoftonline.com/";

/// Where the issuers of a cloud's v1.0 tokens begin, if it has a host of its own for them.
fn issuer_v1(authority: &str) -> Option<&'static str> {
    match authority.split_once("://")?.1 {
        "login.microsoftonline.com" | "login.microsoftonline.us" => Some(STS),
        "login.partner.microsoftonline.cn" => Some("https://sts.chinacloudapi.cn/"),
        _ => None,
    }
}

impl<'a> Reading<'a> {
    pub(super) fn validate_jwt(&mut self, node: Element<'a>) {
        let Some(mut table) = self.common(node) else { return };
        let mut issuers = Vec::new();
        let stated = self.list(node, "issuers", "issuer");
        for config in node.children().filter(|child| child.has_tag_name("openid-config")) {
            let Some(url) = self.attribute(config, "url") else { return };
            issuers.extend(issuers_of(&url, &stated));
        }
        for left in node.children().filter(|other| other.has_tag_name("decryption-keys")) {
            self.leave(left, "encrypted tokens are not taken");
        }
        let shared = self.shared_keys(node, issuers.is_empty());
        if let (Some(keys), [issuer]) = (&shared, stated.as_slice()) {
            table.set("issuer", issuer.clone());
            table.set_written("issuer_signing_keys", format!("[{}]", keys.join(", ")));
        } else if shared.is_some() {
            return self.leave(node, "the issuer of tokens of shared keys is not stated once; add it to `issuers`");
        } else if issuers.is_empty() {
            return self
                .leave(node, "it names no `openid-config`, so there is nobody to trust; add an `[[issuer]]` by hand");
        }
        let audiences = self.list(node, "audiences", "audience");
        if audiences.is_empty() {
            let why = "it takes tokens for any API, which is no check; add the audience and import it again";
            return self.leave(node, why);
        }
        for (attribute, why) in [
            ("require-expiration-time", "tokens without an end are refused here"),
            ("require-signed-tokens", "tokens without a signature are refused here"),
        ] {
            if node.attribute(attribute).is_some_and(|text| text.eq_ignore_ascii_case("false")) {
                self.leave(node, format!("`{attribute}=\"false\"`: {why}"));
            }
        }
        if node.attribute("require-scheme").is_some_and(|scheme| !scheme.eq_ignore_ascii_case("bearer")) {
            self.leave(node, "`require-scheme`: the scheme is always `Bearer`");
        }
        let skew = self.attribute(node, "clock-skew");
        let Some(skew) = skew.as_deref().map_or(Some(0), seconds) else {
            return self.leave(node, "`clock-skew` is no number of seconds, and no time such as `00:05:00`");
        };
        let names =
            issuers.into_iter().map(|(name, issuer, metadata)| self.issuer(&name, &issuer, Some(&metadata))).collect();
        table.set_list("issuers", names);
        table.set_list("audiences", audiences);
        table.set("clock_skew", skew);
        self.token_check(node, "validate_jwt", table);
    }

    /// Keys that an issuer shares, where there is nobody else to trust. They are secrets, and so not written.
    fn shared_keys(&mut self, node: Element<'a>, alone: bool) -> Option<Vec<String>> {
        let lists = node.children().filter(|child| child.has_tag_name("issuer-signing-keys"));
        let keys: Vec<Element<'a>> = lists.flat_map(|list| list.children()).filter(Node::is_element).collect();
        let public = |key: &Element<'_>| ["n", "e", "certificate-id"].iter().any(|name| key.has_attribute(*name));
        if let Some(key) = keys.iter().find(|key| !alone || public(key)) {
            let why = "public keys are those of an issuer; put them into a key set, and name its file as `jwks` of an `[[issuer]]`; \
                       and keys that are shared stand alone";
            self.leave(*key, why);
            return None;
        }
        let mut written = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            let variable = format!("SIGNING_KEY_{}", at + 1);
            let mut table = Table::default();
            if key.has_attribute("id") {
                table.set("id", self.attribute(*key, "id")?);
            }
            table.set_written("key", format!("{{ env = \"{variable}\" }}"));
            self.leave(*key, format!("the key is not written into the file: set it as the variable `{variable}`"));
            written.push(table.inline());
        }
        (!written.is_empty()).then_some(written)
    }

    pub(super) fn validate_azure_ad_token(&mut self, node: Element<'a>) {
        let Some(mut table) = self.common(node) else { return };
        let Some(tenant) = self.attribute(node, "tenant-id") else {
            return self.leave(node, "`tenant-id` is missing");
        };
        let tenant = tenant.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
        if tenant.len() != 36 || tenant.matches('-').count() != 4 {
            return self.leave(node, "`tenant-id` is not the tenant's id; issuers are compared by it, so give the id");
        }
        let authority = if node.has_attribute("authentication-endpoint") {
            self.attribute(node, "authentication-endpoint")
        } else {
            Some(LOGIN.to_owned())
        };
        let Some(authority) = authority else { return };
        let authority = authority.trim_end_matches('/').to_owned();
        let audiences = self.list(node, "audiences", "audience");
        let backends = self.list(node, "backend-application-ids", "application-id");
        if audiences.is_empty() && backends.is_empty() {
            let why =
                "it takes tokens for any API of the tenant, which is no check; add the audience and import it again";
            return self.leave(node, why);
        }
        let Some(clients) = self.whole_list(node, "client-application-ids", "application-id") else {
            return self.leave(node, "an application of it is not known, so the check is left out whole");
        };
        for left in node.children().filter(|other| other.has_tag_name("decryption-keys")) {
            self.leave(left, "encrypted tokens are not taken");
        }
        if let Some(issuer) = issuer_v1(&authority) {
            table.set("issuer_v1", format!("{issuer}{tenant}/"));
        }
        table.set("authority", authority);
        table.set("tenant_id", tenant);
        table.set_list("audiences", audiences);
        table.set_list("backend_application_ids", backends);
        table.set_list("client_application_ids", clients);
        table.set("clock_skew", 0);
        self.token_check(node, "validate_azure_ad_token", table);
    }

    /// What both have: where the token is, and how it is refused.
    fn common(&mut self, node: Element<'a>) -> Option<Table> {
        if node.has_attribute("token-value") {
            self.leave(node, "`token-value` is an expression; name the header or the parameter that the token is in");
            return None;
        }
        let mut table = Table::default();
        for (attribute, name) in [("header-name", "header_name"), ("query-parameter-name", "query_parameter_name")] {
            if node.has_attribute(attribute) {
                let text = self.attribute(node, attribute)?;
                if !text.eq_ignore_ascii_case("authorization") {
                    table.set(name, text);
                }
            }
        }
        if node.has_attribute("failed-validation-httpcode") {
            let code = self.attribute(node, "failed-validation-httpcode")?;
            match code.parse::<i64>() {
                Ok(code) => table.set("failed_validation_httpcode", code),
                Err(_) => self.leave(node, "`failed-validation-httpcode` is no status; refusals are 401"),
            }
        }
        if let Some(message) = self.attribute(node, "failed-validation-error-message") {
            table.set("failed_validation_error_message", message);
        }
        Some(table)
    }

    fn token_check(&mut self, node: Element<'a>, policy: &'static str, mut table: Table) {
        let mut claims = Vec::new();
        let lists = node.children().filter(|child| child.has_tag_name("required-claims"));
        let all: Vec<Element<'a>> = lists.flat_map(|list| list.children()).filter(Node::is_element).collect();
        for claim in all {
            let Some(name) = self.attribute(claim, "name") else {
                return self.leave(claim, "the claim has no name that is known, so the check is left out whole");
            };
            let values: Vec<Element<'a>> = claim.children().filter(|child| child.has_tag_name("value")).collect();
            let count = values.len();
            let values: Vec<String> = values.into_iter().filter_map(|value| self.text(value)).collect();
            if values.len() != count {
                return self.leave(claim, "a value of it is not known, so the check is left out whole");
            }
            let mut rule = Table::default();
            rule.set("name", name);
            if let Some(matches) = claim.attribute("match") {
                rule.set("match", matches);
            }
            if let Some(separator) = claim.attribute("separator") {
                rule.set("separator", separator);
            }
            rule.set_list("value", values);
            claims.push(rule.inline());
        }
        if !claims.is_empty() {
            table.set_written("required_claims", format!("[{}]", claims.join(", ")));
        }
        if node.has_attribute("output-token-variable-name") {
            self.leave(node, "`output-token-variable-name`: there are no variables; `set_header` sends a `claim`");
        }
        if self.parts.once.iter().any(|(name, _)| *name == policy) {
            return self.leave(node, "a second check of tokens at the same scope; put it into a narrower one");
        }
        self.parts.identifies = true;
        self.parts.once.push((policy, table));
    }

    /// Adds an issuer, and gives its name.
    fn issuer(&mut self, name: &str, issuer: &str, metadata: Option<&str>) -> String {
        let mut table = Table::default();
        table.set("name", name);
        table.set("issuer", issuer);
        if let Some(metadata) = metadata {
            table.set("metadata", metadata);
        }
        let tenant = issuer.split('/').find(|part| part.len() == 36 && part.matches('-').count() == 4);
        if let Some(tenant) = tenant {
            table.set("tenants", Value::Array(vec![tenant.into()]));
        }
        if !self.parts.issuers.contains(&table) {
            self.parts.issuers.push(table);
        }
        name.to_owned()
    }
}

/// The issuers that a metadata document stands for: a name, `iss`, and the document.
fn issuers_of(url: &str, stated: &[String]) -> Vec<(String, String, String)> {
    let base = url.strip_suffix(WELL_KNOWN).unwrap_or(url);
    let host = base.split("://").nth(1).unwrap_or(base).split('/').next().unwrap_or_default();
    let name = |at: usize| match at {
        0 => host.to_owned(),
        at => format!("{host}-{}", at + 1),
    };
    if stated.is_empty() {
        // OpenID Connect Discovery section 4.3; Entra's first endpoints are the known exception.
        let v1 = base.strip_prefix(LOGIN).filter(|tenant| !tenant.contains('/'));
        let issuer = v1.map_or_else(|| base.to_owned(), |tenant| format!("{STS}{tenant}/"));
        return vec![(name(0), issuer, url.to_owned())];
    }
    stated.iter().enumerate().map(|(at, issuer)| (name(at), issuer.clone(), url.to_owned())).collect()
}

/// A number of seconds, or hours, minutes and seconds.
fn seconds(text: &str) -> Option<i64> {
    let mut parts = text.split(':').map(|part| part.parse::<i64>().ok().filter(|part| *part >= 0));
    let all = parts.by_ref().collect::<Option<Vec<_>>>()?;
    match all.as_slice() {
        [seconds] => Some(*seconds),
        [hours, minutes, seconds] => Some(hours * 3_600 + minutes * 60 + seconds),
        _ => None,
    }
}
