//! Operations from an OpenAPI document: what can be called, and the scopes that its `security` sections ask for. A document adds
//! checks and takes none away.
use super::world::World;
use super::{SettingsError, Spanned, fault, why};
use crate::policy::Tables;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

/// The largest document that is read, in bytes.
const LONGEST: u64 = 16 << 20;
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

/// An operation of a document.
pub(super) struct Described {
    /// Its `operationId`.
    pub(super) name: String,
    pub(super) method: String,
    pub(super) path: String,
    /// What its `security` asks for.
    pub(super) demands: Tables,
}

#[derive(Deserialize)]
struct Document {
    openapi: Option<String>,
    #[serde(default)]
    paths: BTreeMap<String, BTreeMap<String, Value>>,
    #[serde(default)]
    components: Components,
    #[serde(default)]
    security: Vec<Requirement>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Components {
    security_schemes: BTreeMap<String, Scheme>,
}

#[derive(Deserialize)]
struct Scheme {
    #[serde(rename = "type")]
    kind: String,
    /// That of `Authorization`, where the type is `http`.
    scheme: Option<String>,
}

/// What a scheme asks callers for.
enum Asks {
    /// A token with these scopes.
    Scopes,
    /// Any token.
    Token,
    /// Something else, which no check of a token looks at.
    Else,
}

impl Scheme {
    /// `None` for a type that OpenAPI does not have.
    fn asks(&self) -> Option<Asks> {
        let is_bearer = self.scheme.as_ref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"));
        match self.kind.as_str() {
            "oauth2" | "openIdConnect" => Some(Asks::Scopes),
            "http" if is_bearer => Some(Asks::Token),
            "http" | "apiKey" | "mutualTLS" => Some(Asks::Else),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    operation_id: Option<String>,
    security: Option<Vec<Requirement>>,
}

/// Schemes, all of which are needed, and the scopes of each.
type Requirement = BTreeMap<String, Vec<String>>;

/// The operations of the document in this file.
pub(super) fn read(file: &Spanned<PathBuf>, world: &mut World<'_>) -> Result<Vec<Described>, SettingsError> {
    let at = file.span();
    let path = world.beside().join(file.get_ref());
    let shown = file.get_ref().display();
    let unread =
        |problem: String| fault(&at, format!("`{shown}` {problem}"), "name an OpenAPI document, in YAML or JSON");
    let size = std::fs::metadata(&path).map_err(|error| unread(format!("cannot be read: {}", why(&error))))?.len();
    if size > LONGEST {
        return Err(unread("is larger than 16 MiB".to_owned()));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| unread(format!("cannot be read: {}", why(&error))))?;
    let document: Document = serde_saphyr::from_str(&text).map_err(|error| {
        let text = error.to_string();
        unread(format!("is no OpenAPI document: {}", text.lines().next().unwrap_or_default()))
    })?;
    if !document.openapi.as_deref().is_some_and(|version| version.starts_with("3.")) {
        return Err(fault(
            &at,
            format!("`{shown}` is no OpenAPI document of version 3"),
            "convert it, or write operations",
        ));
    }
    let mut all = Vec::new();
    let mut unchecked = BTreeSet::new();
    for (path, item) in &document.paths {
        for (method, operation) in item.iter().filter(|(name, _)| METHODS.contains(&name.as_str())) {
            let place = format!("`{} {path}` of `{shown}`", method.to_ascii_uppercase());
            let wrong = |problem: &str, hint: &str| fault(&at, format!("{place} {problem}"), hint);
            let read: Operation = serde_json::from_value(operation.clone())
                .map_err(|error| wrong(&format!("cannot be read: {error}"), "correct the document"))?;
            let name = read.operation_id.filter(|name| !name.is_empty());
            let name =
                name.ok_or_else(|| wrong("has no `operationId`", "give it one: policies and logs name it so"))?;
            let security = read.security.as_ref().unwrap_or(&document.security);
            let demands = demands(security, &document.components, &at, &mut unchecked).map_err(|problem| {
                let hint = "correct the document, or take the operation out of it and write it out here, with its own `require`";
                wrong(&problem, hint)
            })?;
            all.push(Described { name, method: method.to_ascii_uppercase(), path: path.clone(), demands });
        }
    }
    if all.is_empty() {
        return Err(unread("describes no operation".to_owned()));
    }
    for name in unchecked {
        world.remark(format!(
            "the security scheme `{name}` of `{shown}` asks for something that is no token, and only a policy such as \
             `subscription_key` checks that"
        ));
    }
    Ok(all)
}

/// Alternatives of which one has to hold, and of each all of it. One that asks for no scope is met by any token that the API's
/// policies take. `unchecked` gets the schemes that ask for no token.
fn demands(
    security: &[Requirement],
    components: &Components,
    at: &Range<usize>,
    unchecked: &mut BTreeSet<String>,
) -> Result<Tables, String> {
    let mut alternatives: Vec<Vec<String>> = Vec::new();
    // A scheme of an alternative that no token meets.
    let mut without_token = None;
    for requirement in security {
        let mut scopes: Vec<String> = Vec::new();
        let mut is_met_by_token = requirement.is_empty();
        for (name, of_scheme) in requirement {
            let scheme = components.security_schemes.get(name);
            let scheme = scheme.ok_or_else(|| format!("names the security scheme `{name}`, which is not described"))?;
            let kind = &scheme.kind;
            let asks = scheme
                .asks()
                .ok_or_else(|| format!("names the security scheme `{name}`, and OpenAPI has no type `{kind}`"))?;
            match asks {
                Asks::Scopes => scopes.extend_from_slice(of_scheme),
                Asks::Token | Asks::Else if !of_scheme.is_empty() => {
                    return Err(format!(
                        "asks for {} by the security scheme `{name}`, and its type `{kind}` has no scopes",
                        of_scheme.join(" ")
                    ));
                }
                Asks::Token => {}
                Asks::Else => {
                    unchecked.insert(name.clone());
                    continue;
                }
            }
            is_met_by_token = true;
        }
        if !is_met_by_token {
            without_token = requirement.keys().next();
        }
        scopes.sort();
        scopes.dedup();
        alternatives.push(scopes);
    }
    alternatives.dedup();
    // It would be taken for met, and the scopes of the others with it, and nobody looks at what it asks for.
    if let Some(name) = without_token.filter(|_| alternatives.iter().any(|scopes| !scopes.is_empty())) {
        return Err(format!("has `{name}`, which asks for no token, as an alternative to scopes"));
    }
    if alternatives.iter().any(Vec::is_empty) {
        return Ok(Tables::default());
    }
    match alternatives.as_slice() {
        [] => Ok(Tables::default()),
        [all] => Ok(Tables::requiring(at, Vec::new(), all.clone())),
        each if each.iter().all(|scopes| scopes.len() == 1) => Ok(Tables::requiring(at, each.concat(), Vec::new())),
        _ => Err("has alternatives of several scopes, which `require` cannot say".to_owned()),
    }
}
