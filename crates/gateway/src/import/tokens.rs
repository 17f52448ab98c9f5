//! Tokens of callers: `validate-jwt` and `validate-azure-ad-token`.
use super::write::Table;
use super::{Element, Reading, Taken, known, whole};
use roxmltree::Node;
use toml::Value;

const WELL_KNOWN: &str = "/.well-known/openid-configuration";
const LOGIN: &str = "https://login.microsoftonline.com/";
/// Where the authorities of Entra's clouds are, and where the issuers of their v1.0 tokens begin.
const CLOUDS: [(&str, &str); 4] = [
    ("login.microsoftonline.com", "https://sts.windows.net/"),
    ("login.windows.net", "https://sts.windows.net/"),
    ("login.microsoftonline.us", "https://sts.windows.net/"),
    ("login.partner.microsoftonline.cn", "https://sts.chinacloudapi.cn/"),
];
/// What checks take at most.
const LONGEST_SKEW: i64 = 600;
const COMMON: [&str; 6] = [
    "header-name",
    "query-parameter-name",
    "token-value",
    "failed-validation-httpcode",
    "failed-validation-error-message",
    "output-token-variable-name",
];

fn issuer_v1(host: &str) -> Option<&'static str> {
    CLOUDS.iter().find(|(authority, _)| *authority == host).map(|(_, issuer)| *issuer)
}

fn host_of(url: &str) -> &str {
    let behind = url.split_once("://").map_or(url, |(_, behind)| behind);
    behind.split(['/', '?']).next().unwrap_or_default()
}

/// Whether a text is a tenant's id.
fn is_id(text: &str) -> bool {
    text.len() == 36 && text.matches('-').count() == 4
}

/// A metadata document that a check names.
struct Config<'a> {
    node: Element<'a>,
    url: String,
}

/// An issuer, before it has a name.
struct Issuer {
    iss: String,
    metadata: String,
}

impl<'a> Reading<'a> {
    pub(super) fn validate_jwt(&mut self, node: Element<'a>) -> Taken<'a> {
        let own = ["require-expiration-time", "require-scheme", "require-signed-tokens", "clock-skew"];
        let children =
            ["openid-config", "issuer-signing-keys", "decryption-keys", "audiences", "issuers", "required-claims"];
        known(node, &[own.as_slice(), &COMMON].concat(), &children)?;
        let mut table = self.common(node)?;
        let stated = self.list(node, "issuers", "issuer")?;
        let mut configs = Vec::new();
        for config in node.children().filter(|child| child.has_tag_name("openid-config")) {
            known(config, &["url"], &[])?;
            configs.push(Config { node: config, url: self.required(config, "url")?.trim().to_owned() });
        }
        let issuers = self.issuers(&configs, &stated)?;
        let shared = self.shared_keys(node, configs.is_empty())?;
        if let (Some(keys), [issuer]) = (&shared, stated.as_slice()) {
            table.set("issuer", issuer.clone());
            table.set_written("issuer_signing_keys", format!("[{}]", keys.join(", ")));
        } else if shared.is_some() {
            return whole(node, "the issuer of tokens of shared keys is not stated once; add it to `issuers`");
        } else if issuers.is_empty() {
            return whole(
                node,
                "it names no `openid-config`, so there is nobody to trust; add an `[[issuer]]` by hand",
            );
        }
        let audiences = self.list(node, "audiences", "audience")?;
        if audiences.is_empty() {
            let why = "it takes tokens for any API, which is no check; add the audience and import it again";
            return whole(node, why);
        }
        let skew = self.attribute(node, "clock-skew")?;
        let Some(skew) = skew.as_deref().map_or(Some(0), seconds) else {
            return whole(node, "`clock-skew` is no number of seconds, and no time such as `00:05:00`");
        };
        self.required_claims(node, &mut table)?;
        self.is_first(node, "validate_jwt")?;
        for (attribute, why) in [
            ("require-expiration-time", "tokens without an end are refused here"),
            ("require-signed-tokens", "tokens without a signature are refused here"),
        ] {
            if self.flag(node, attribute)? == Some(false) {
                self.leave(node, format!("`{attribute}=\"false\"`: {why}"));
            }
        }
        if skew > LONGEST_SKEW {
            self.leave(node, "`clock-skew`: it is 600 seconds at most");
        }
        if shared.is_some() {
            self.leave(
                node,
                "tokens that live longer than a day are refused: if yours do, say their seconds as `max_lifetime`",
            );
        }
        if self.attribute(node, "require-scheme")?.is_some_and(|scheme| !scheme.eq_ignore_ascii_case("bearer")) {
            self.leave(node, "`require-scheme`: the scheme is always `Bearer`");
        }
        let names: Vec<String> = issuers.into_iter().map(|issuer| self.issuer(issuer)).collect();
        table.set_list("issuers", names);
        table.set_list("audiences", audiences);
        table.set("clock_skew", skew.min(LONGEST_SKEW));
        self.token_check(node, "validate_jwt", table);
        Ok(())
    }

    /// Whose tokens pass, and where each one's metadata is. What is stated goes before what an address says.
    fn issuers(&mut self, configs: &[Config<'a>], stated: &[String]) -> Taken<'a, Vec<Issuer>> {
        let mut issuers: Vec<Issuer> = Vec::new();
        if stated.is_empty() {
            for config in configs {
                let issuer = issuer_at(&config.url).or_else(|why| whole(config.node, why))?;
                if !issuers.iter().any(|known| known.iss == issuer.iss) {
                    issuers.push(issuer);
                }
            }
            return Ok(issuers);
        }
        let mut used = Vec::new();
        for iss in stated.iter().filter(|_| !configs.is_empty()) {
            if issuers.iter().any(|known| known.iss == *iss) {
                continue;
            }
            let Some((config, metadata)) = metadata_of(iss, configs) else {
                let why =
                    format!("which of the addresses has the keys of `{iss}` cannot be told; keep one in a document");
                return configs.first().map_or(Ok(Vec::new()), |config| whole(config.node, why));
            };
            // A document is of one issuer: another one's tokens would find no keys.
            let said = issuer_at(&config.url).ok();
            let is_anothers = said.is_some_and(|said| said.iss.trim_end_matches('/') != iss.trim_end_matches('/'));
            if metadata == config.url && (is_anothers || issuers.iter().any(|known| known.metadata == metadata)) {
                let why = format!(
                    "the document there is of one issuer: write the `jwks_uri` of `{iss}` in place of `metadata`"
                );
                self.leave(config.node, why);
            }
            used.push(config.node.id());
            issuers.push(Issuer { iss: iss.clone(), metadata });
        }
        for config in configs.iter().filter(|config| !used.contains(&config.node.id())) {
            self.leave(config.node, "none of the `issuers` is there, so it is not needed");
        }
        Ok(issuers)
    }

    /// Keys that an issuer shares, where there is nobody else to trust. They are secrets, and so not written.
    fn shared_keys(&mut self, node: Element<'a>, alone: bool) -> Taken<'a, Option<Vec<String>>> {
        let lists = node.children().filter(|child| child.has_tag_name("issuer-signing-keys"));
        let keys: Vec<Element<'a>> = lists.flat_map(|list| list.children()).filter(Node::is_element).collect();
        let public = |key: &Element<'_>| ["n", "e", "certificate-id"].iter().any(|name| key.has_attribute(*name));
        if let Some(key) = keys.iter().find(|key| !alone || public(key)) {
            let why = "public keys are those of an issuer; put them into a key set, and name its file as `jwks` of an `[[issuer]]`; \
                       and keys that are shared stand alone";
            return whole(*key, why);
        }
        let mut written = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            known(*key, &[], &[])?;
            let variable = format!("SIGNING_KEY_{}", at + 1);
            let mut table = Table::default();
            if let Some(id) = self.attribute(*key, "id")? {
                table.set("id", id);
            }
            table.set_written("key", format!("{{ env = \"{variable}\" }}"));
            self.leave(
                *key,
                format!(
                    "the key is not written into the file: set it as the variable `{variable}`; it is for HS256, unless you say `algorithm`"
                ),
            );
            written.push(table.inline());
        }
        Ok((!written.is_empty()).then_some(written))
    }

    pub(super) fn validate_azure_ad_token(&mut self, node: Element<'a>) -> Taken<'a> {
        let own = ["tenant-id", "authentication-endpoint"];
        let children =
            ["client-application-ids", "backend-application-ids", "audiences", "required-claims", "decryption-keys"];
        known(node, &[own.as_slice(), &COMMON].concat(), &children)?;
        let mut table = self.common(node)?;
        let tenant = self.required(node, "tenant-id")?;
        let tenant = tenant.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
        if !is_id(&tenant) {
            return whole(node, "`tenant-id` is not the tenant's id; issuers are compared by it, so give the id");
        }
        let authority = self.attribute(node, "authentication-endpoint")?.unwrap_or_else(|| LOGIN.to_owned());
        let authority = authority.trim_end_matches('/').to_owned();
        let audiences = self.list(node, "audiences", "audience")?;
        let backends = self.list(node, "backend-application-ids", "application-id")?;
        if audiences.is_empty() && backends.is_empty() {
            let why =
                "it takes tokens for any API of the tenant, which is no check; add the audience and import it again";
            return whole(node, why);
        }
        let clients = self.list(node, "client-application-ids", "application-id")?;
        if let Some(issuer) = issuer_v1(host_of(&authority)) {
            table.set("issuer_v1", format!("{issuer}{tenant}/"));
        }
        table.set("authority", authority);
        table.set("tenant_id", tenant);
        table.set_list("audiences", audiences);
        table.set_list("backend_application_ids", backends);
        table.set_list("client_application_ids", clients);
        table.set("clock_skew", 0);
        self.required_claims(node, &mut table)?;
        self.is_first(node, "validate_azure_ad_token")?;
        self.token_check(node, "validate_azure_ad_token", table);
        Ok(())
    }

    /// What both have: where the token is, and how it is refused.
    fn common(&mut self, node: Element<'a>) -> Taken<'a, Table> {
        if node.has_attribute("token-value") {
            return whole(
                node,
                "`token-value` is an expression; name the header or the parameter that the token is in",
            );
        }
        let mut table = Table::default();
        for (attribute, name) in [("header-name", "header_name"), ("query-parameter-name", "query_parameter_name")] {
            if let Some(text) =
                self.attribute(node, attribute)?.filter(|text| !text.eq_ignore_ascii_case("authorization"))
            {
                table.set(name, text);
            }
        }
        if let Some(code) = self.attribute(node, "failed-validation-httpcode")? {
            match code.parse::<i64>() {
                Ok(code) => table.set("failed_validation_httpcode", code),
                Err(_) => self.leave(node, "`failed-validation-httpcode` is no status; refusals are 401"),
            }
        }
        if let Some(message) = self.attribute(node, "failed-validation-error-message")? {
            table.set("failed_validation_error_message", message);
        }
        Ok(table)
    }

    fn required_claims(&self, node: Element<'a>, table: &mut Table) -> Taken<'a> {
        let mut claims = Vec::new();
        for list in node.children().filter(|child| child.has_tag_name("required-claims")) {
            known(list, &[], &["claim"])?;
            for claim in list.children().filter(Node::is_element) {
                known(claim, &["name", "match", "separator"], &["value"])?;
                let mut rule = Table::default();
                rule.set("name", self.required(claim, "name")?);
                match self.attribute(claim, "match")?.map(|text| text.to_ascii_lowercase()) {
                    None => {}
                    Some(text) if text == "all" || text == "any" => rule.set("match", text),
                    Some(_) => return whole(claim, "`match` is neither `all` nor `any`"),
                }
                if let Some(separator) = self.attribute(claim, "separator")? {
                    rule.set("separator", separator);
                }
                let values = self.values(claim)?;
                if values.iter().any(String::is_empty) {
                    return whole(claim, "a value of it is empty");
                }
                rule.set_list("value", values);
                claims.push(rule.inline());
            }
        }
        if !claims.is_empty() {
            table.set_written("required_claims", format!("[{}]", claims.join(", ")));
        }
        Ok(())
    }

    fn token_check(&mut self, node: Element<'a>, policy: &'static str, table: Table) {
        for left in node.children().filter(|other| other.has_tag_name("decryption-keys")) {
            self.leave(left, "encrypted tokens are not taken");
        }
        if node.has_attribute("output-token-variable-name") {
            self.leave(node, "`output-token-variable-name`: there are no variables; `set_header` sends a `claim`");
        }
        self.parts.identifies = true;
        self.tokens.clear();
        self.tokens.extend(node.attribute("output-token-variable-name"));
        self.parts.once.push((policy, table));
    }

    /// Adds an issuer, and gives its name.
    fn issuer(&mut self, Issuer { iss, metadata }: Issuer) -> String {
        let known = self.parts.issuers.iter().position(|(_, other, _)| *other == iss);
        if let Some((name, ..)) = known.and_then(|at| self.parts.issuers.get(at)) {
            return name.clone();
        }
        let host = host_of(&metadata);
        let taken = self.parts.issuers.iter().filter(|(name, ..)| name.starts_with(host)).count();
        let name = if taken == 0 { host.to_owned() } else { format!("{host}-{}", taken + 1) };
        let mut table = Table::default();
        table.set("name", name.as_str());
        table.set("issuer", iss.as_str());
        table.set("metadata", metadata);
        match iss.split('/').skip(3).find(|part| is_id(part)).filter(|_| is_of_entra(&iss)) {
            Some(tenant) => table.set("tenants", Value::Array(vec![tenant.into()])),
            None => table.set("profile", "jwt"),
        }
        self.parts.issuers.push((name.clone(), iss, table));
        name
    }
}

/// Whether its tokens are like Entra's: by its host, or by an address as Entra's tenants have them.
fn is_of_entra(iss: &str) -> bool {
    let host = host_of(iss);
    !host.ends_with(".b2clogin.com")
        && (CLOUDS.iter().any(|(authority, v1)| *authority == host || host_of(v1) == host)
            || iss.trim_end_matches('/').trim_end_matches("/v2.0").rsplit('/').next().is_some_and(is_id))
}

/// The issuer that an address of metadata says, where it says one (OpenID Connect Discovery section 4.3; Entra's first endpoints
/// are the known exception).
fn issuer_at(url: &str) -> Result<Issuer, &'static str> {
    let Some(base) = url.strip_suffix(WELL_KNOWN) else {
        return Err("its address does not say whose tokens pass; add `issuers`");
    };
    let host = host_of(base);
    let issuer = |iss: String| Ok(Issuer { iss, metadata: url.to_owned() });
    if host.ends_with(".b2clogin.com") || host.ends_with(".ciamlogin.com") {
        return Err("the issuer there has the tenant's id, and the address has its name; add `issuers`");
    }
    let Some(v1) = issuer_v1(host) else {
        // Auth0's issuers end with a slash.
        return issuer(if host.ends_with(".auth0.com") { format!("{base}/") } else { base.to_owned() });
    };
    let behind: Vec<&str> = base.split('/').skip(3).collect();
    match behind.as_slice() {
        [tenant, "v2.0"] if is_id(tenant) && host != "login.windows.net" => issuer(base.to_owned()),
        [tenant] if is_id(tenant) => issuer(format!("{v1}{tenant}/")),
        _ => Err("whose tokens pass is not said: name the tenant by its id in the address, or add `issuers`"),
    }
}

/// Where the metadata of a stated issuer is: by which of the documents, and its address.
fn metadata_of<'c, 'a>(iss: &str, configs: &'c [Config<'a>]) -> Option<(&'c Config<'a>, String)> {
    let exact = configs.iter().find(|config| issuer_at(&config.url).is_ok_and(|issuer| issuer.iss == iss));
    if let Some(config) = exact {
        return Some((config, config.url.clone()));
    }
    // Entra has a document for each tenant and version, and documents often name that of the other version.
    let of_entra = configs.iter().find_map(|config| Some((config, issuer_v1(host_of(&config.url))?)));
    let tenant = iss.split('/').skip(3).find(|part| is_id(part));
    if let (Some((config, v1)), Some(tenant)) = (of_entra, tenant) {
        if iss == format!("{v1}{tenant}/") {
            return Some((config, format!("https://{}/{tenant}{WELL_KNOWN}", host_of(&config.url))));
        }
        if issuer_v1(host_of(iss)).is_some() {
            return Some((config, format!("{}{WELL_KNOWN}", iss.trim_end_matches('/'))));
        }
    }
    let mut of_host = configs.iter().filter(|config| host_of(&config.url) == host_of(iss));
    match (configs, of_host.next(), of_host.next()) {
        ([only], ..) | (_, Some(only), None) => Some((only, only.url.clone())),
        _ => None,
    }
}

/// A number of seconds, or hours, minutes and seconds.
fn seconds(text: &str) -> Option<i64> {
    let mut parts = text.split(':').map(|part| part.parse::<i64>().ok().filter(|part| *part >= 0));
    let all = parts.by_ref().collect::<Option<Vec<_>>>()?;
    match all.as_slice() {
        [seconds] => Some(*seconds),
        [hours, minutes, seconds] => {
            hours.checked_mul(3_600)?.checked_add(minutes.checked_mul(60)?)?.checked_add(*seconds)
        }
        _ => None,
    }
}
