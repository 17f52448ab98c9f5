//! The configuration for editors, as a JSON schema, and for readers, as a page. Both are made from the types that read it.
use super::File;
use crate::policy;
use schemars::JsonSchema;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// The accepted values of `tid`.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "its shape is what counts")]
#[schemars(inline)]
pub(super) enum Tenants {
    /// These.
    Listed(Vec<String>),
    /// Every tenant that the issuer serves, those of strangers included.
    Any(Any),
}

/// The word `any`.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "its shape is what counts")]
#[schemars(inline)]
pub(super) enum Any {
    Any,
}

/// The dialect of an issuer's access tokens.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "its shape is what counts")]
#[schemars(inline)]
pub(super) enum Profile {
    Entra,
    Native,
    Jwt,
}

/// On whose authority somebody calls.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "its shape is what counts")]
#[schemars(inline)]
pub(crate) enum Subject {
    User,
    App,
    Either,
}

/// A moment such as `2027-01-31T00:00:00Z`, without quotes.
#[derive(JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, reason = "its shape is what counts")]
pub(crate) struct Moment(#[schemars(extend("format" = "date-time"))] String);

fn schema() -> Value {
    let mut schema = schemars::schema_for!(File).to_value();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("title".to_owned(), "Configuration of `deputize gateway`".into());
    }
    schema
}

/// The pages about the configuration, by the names of their files: one to read, and the JSON schema.
///
/// ```
/// let [(page, text), (schema, _)] = gateway::reference();
/// assert_eq!((page, schema), ("gateway.md", "gateway.schema.json"));
/// assert!(text.contains("| `clock_skew` | number | 60 |"));
/// ```
pub fn reference() -> [(&'static str, String); 2] {
    let schema = schema();
    [("gateway.md", page(&schema)), ("gateway.schema.json", format!("{schema:#}\n"))]
}

const HEAD: &str = "# Gateway: policies and configuration

Written from the code by `cargo xtask generate`. [The guide](../guides/gateway.md) says what it is for;
[the schema](gateway.schema.json) lets editors complete and check it: put `#:schema` and its path into the first line of a file.

## Policies

Each stands in `[policies]`, `[product.policies]`, `[api.policies]` or `[api.operation.policies]`; of those with two brackets there can be
several. Beside them, `remove` names policies of wider scopes that do not apply, and `mandatory` those that narrower ones cannot remove.
";

fn page(schema: &Value) -> String {
    let empty = Map::new();
    let defs = schema.get("$defs").and_then(Value::as_object).unwrap_or(&empty);
    let mut made = HEAD.to_owned();
    made.push_str("\n| policy | is |\n|---|---|\n");
    for name in policy::NAMES {
        // Writing to a String cannot fail.
        let _ = writeln!(made, "| [`{name}`](#{name}) | {} |", described(defs.get(*name)));
    }
    let is_several = |name: &str| {
        let of_policies = defs.get("policies").and_then(|policies| policies.get("properties")?.get(name));
        of_policies.is_some_and(|property| property.get("type").is_some_and(|kind| kind == "array"))
    };
    for name in policy::NAMES {
        let head = if is_several(name) { format!("[[….policies.{name}]]") } else { format!("[….policies.{name}]") };
        let _ = writeln!(made, "\n### {name}\n\n`{head}`: {}\n", described(defs.get(*name)));
        defs.get(*name).into_iter().for_each(|def| attributes(def, &mut made));
    }
    made.push_str("\n## The file\n\n");
    attributes(schema, &mut made);
    for (name, def) in defs.iter().filter(|(name, _)| !policy::NAMES.contains(&name.as_str()) && *name != "policies") {
        let Some(alternatives) = alternatives(def).filter(|_| def.get("properties").is_none()) else {
            if def.get("properties").is_some() {
                let _ = writeln!(made, "\n### {name}\n\n{}\n", described(Some(def)));
                attributes(def, &mut made);
            }
            continue;
        };
        let _ = writeln!(made, "\n### {name}\n\n{}\n", described(Some(def)));
        for one in alternatives {
            let text = described(Some(one));
            let _ = writeln!(made, "- {}{}{text}", kind(one), if text.is_empty() { "" } else { ": " });
        }
    }
    made
}

/// A row for each attribute, in the order of the alphabet but for what is required, which comes first.
fn attributes(def: &Value, made: &mut String) {
    let empty = Map::new();
    let properties = def.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    if properties.is_empty() {
        return;
    }
    made.push_str("| attribute | value | default | |\n|---|---|---|---|\n");
    let required = |name: &str| {
        let names = def.get("required").and_then(Value::as_array);
        names.is_some_and(|names| names.iter().any(|known| known == name))
    };
    let mut all: Vec<(&String, &Value)> = properties.iter().collect();
    all.sort_by_key(|(name, _)| (!required(name), (*name).clone()));
    for (name, property) in all {
        let default = match property.get("default") {
            _ if required(name) => "required".to_owned(),
            None | Some(Value::Null | Value::Object(_)) => String::new(),
            Some(Value::Array(items)) if items.is_empty() => String::new(),
            Some(value) => format!("{value}").replace('|', "\\|"),
        };
        let _ = writeln!(made, "| `{name}` | {} | {default} | {} |", kind(property), described(Some(property)));
    }
}

/// What it is for, in a line.
fn described(schema: Option<&Value>) -> String {
    let text = schema.and_then(|schema| schema.get("description")).and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn alternatives(schema: &Value) -> Option<Vec<&Value>> {
    let all = ["oneOf", "anyOf"].iter().find_map(|word| schema.get(*word)).and_then(Value::as_array)?;
    Some(all.iter().filter(|one| one.get("type").is_none_or(|kind| kind != "null")).collect())
}

/// What may stand there, in words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(word) = schema.get("const") {
        return format!("`{word}`");
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words
            .iter()
            .filter(|word| !word.is_null())
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(all) = alternatives(schema) {
        return all.into_iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    match kinds.first().copied() {
        Some("array") => format!("list of {}", schema.get("items").map(kind).unwrap_or_default()),
        Some("integer" | "number") => "number".to_owned(),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("string") if schema.get("format").is_some_and(|format| format == "date-time") => "moment".to_owned(),
        Some("string") => "text".to_owned(),
        Some("object") => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let names = properties.into_iter().flatten().map(|(name, value)| format!("`{name}` = {}", kind(value)));
            format!("{{ {} }}", names.collect::<Vec<_>>().join(", "))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as editors see it.
    fn seen(text: &str) -> Value {
        fn json(value: toml::Value) -> Value {
            match value {
                toml::Value::String(text) => text.into(),
                toml::Value::Integer(number) => number.into(),
                toml::Value::Float(number) => number.into(),
                toml::Value::Boolean(truth) => truth.into(),
                toml::Value::Datetime(moment) => moment.to_string().into(),
                toml::Value::Array(items) => items.into_iter().map(json).collect(),
                toml::Value::Table(table) => table.into_iter().map(|(name, value)| (name, json(value))).collect(),
            }
        }
        json(toml::Value::Table(toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))))
    }

    /// Whether a value is as a schema says. A word that is not known here stops the test: it would say something.
    fn fits(schema: &Value, root: &Value, it: &Value) -> bool {
        let Some(words) = schema.as_object() else { return schema.as_bool().unwrap() };
        let all = |of: &Value| of.as_array().unwrap().clone();
        words.iter().all(|(word, of)| match word.as_str() {
            "$ref" => fits(root.pointer(&of.as_str().unwrap()[1..]).unwrap(), root, it),
            "type" => {
                let kinds = if of.is_array() { all(of) } else { vec![of.clone()] };
                kinds.iter().any(|kind| match kind.as_str().unwrap() {
                    "string" => it.is_string(),
                    "integer" => it.is_i64() || it.is_u64(),
                    "boolean" => it.is_boolean(),
                    "array" => it.is_array(),
                    "object" => it.is_object(),
                    "null" => it.is_null(),
                    other => panic!("{other}"),
                })
            }
            "properties" => it.as_object().is_none_or(|it| {
                it.iter().all(|(name, value)| of.get(name).is_none_or(|schema| fits(schema, root, value)))
            }),
            "required" => {
                it.as_object().is_none_or(|it| all(of).iter().all(|name| it.contains_key(name.as_str().unwrap())))
            }
            "additionalProperties" => it.as_object().is_none_or(|it| {
                let known = |name: &str| words.get("properties").is_some_and(|known| known.get(name).is_some());
                it.iter().all(|(name, value)| known(name) || fits(of, root, value))
            }),
            "items" => it.as_array().is_none_or(|items| items.iter().all(|item| fits(of, root, item))),
            "enum" => all(of).contains(it),
            "const" => of == it,
            "anyOf" => all(of).iter().any(|one| fits(one, root, it)),
            "oneOf" => all(of).iter().filter(|one| fits(one, root, it)).count() == 1,
            "minimum" => it.as_f64().is_none_or(|it| it >= of.as_f64().unwrap()),
            "maximum" => it.as_f64().is_none_or(|it| it <= of.as_f64().unwrap()),
            "$schema" | "$defs" | "title" | "description" | "default" | "format" => true,
            other => panic!("`{other}` is not known here"),
        })
    }

    fn is_valid(text: &str) -> bool {
        let schema = schema();
        fits(&schema, &schema, &seen(text))
    }

    const EXAMPLE: &str = include_str!("../../../../examples/gateway/gateway.toml");
    const EVERY_POLICY: &str = include_str!("../../tests/every-policy.toml");

    #[test]
    fn every_example_is_as_the_schema_says() {
        let guide = include_str!("../../../../docs/guides/gateway.md");
        let fenced = guide.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let documents = [
            (include_str!("../../tests/imports/01-orders.xml"), crate::Scope::Api),
            (include_str!("../../tests/imports/02-partners.xml"), crate::Scope::Api),
            (include_str!("../../tests/imports/03-on-behalf-of.xml"), crate::Scope::Api),
            (include_str!("../../tests/imports/04-front-door.xml"), crate::Scope::Api),
            (include_str!("../../tests/imports/05-daemon.xml"), crate::Scope::Api),
            (include_str!("../../tests/imports/06-single-page-app.xml"), crate::Scope::Api),
            (include_str!("../../tests/imports/07-open-data.xml"), crate::Scope::Api),
            (include_str!("../../tests/imports/09-partner-tenant.xml"), crate::Scope::Api),
            (include_str!("../../tests/imports/10-all-apis.xml"), crate::Scope::Global),
        ];
        let named = ["tenant", "front-door-id", "gateway-client-id"];
        let named = named.map(|name| (name.to_owned(), "5b1d2a2e-3c0a-4d62-9d39-4f6b7b1f2c11".to_owned())).into();
        let imported = documents.map(|(xml, scope)| crate::import_apim(xml, scope, &named).unwrap().toml);
        let all = [EXAMPLE, EVERY_POLICY].into_iter().chain(fenced).chain(imported.iter().map(String::as_str));
        for text in all {
            assert!(is_valid(text), "{text}");
            assert!(toml::from_str::<File>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_the_gateway_refuses_to_read_the_schema_refuses_too() {
        for (from, to) in [
            ("listen = ", "listens = "),
            ("calls = 5", "calls = \"5\""),
            ("calls = 5", "calls = -5"),
            ("renewal_period = 60", ""),
            ("[policies.cors]", "[policies.cor]"),
            ("action = \"allow\"", "action = \"permit\""),
            ("\"address\", ", "\"adress\", "),
            ("{ claim = \"oid\" }", "{ claims = \"oid\" }"),
            ("allow_credentials = true", "allow_credentials = \"true\""),
            ("allowed_origins = [\"https://app.example\"]", "allowed_origins = \"https://app.example\""),
            ("tenant_id = \"t1\"", ""),
            ("match = \"any\"", "match = \"some\""),
            ("subject = \"user\"", "subject = \"users\""),
            ("exists_action = \"skip\"", "exists_action = \"keep\""),
            ("resource = \"https://api.example/orders\"", ""),
            ("client_certificates = \"optional\"", "client_certificates = \"maybe\""),
            ("dns_name = \"a.example\"", "dns_names = \"a.example\""),
            ("onward = \"passthrough\"", "onward = \"pass\""),
            ("profile = \"native\"", "profile = \"oidc\""),
            ("tenants = \"any\"", "tenants = \"all\""),
            ("http = \"auto\"", "http = \"3\""),
            ("grace_seconds = 5", "grace = 5"),
            ("trip_seconds = 10", "trips = 10"),
            ("{ path = \"/health\", status = 204 }", "{ status = 204 }"),
            ("state = \"suspended\"", "state = \"paused\""),
            ("{ env = \"KEY\" }", "{ variable = \"KEY\" }"),
            ("{ env = \"KEY\" }", "\"KEY\""),
            ("session_hours = 4", "session_hours = \"4\""),
            ("unauthenticated = \"redirect\"", "unauthenticated = \"maybe\""),
            ("client_directed = true", "client_directed = 1"),
            ("prefix = \"blue\"", "prefix = 1"),
            ("shared = true", "shared = \"true\""),
        ] {
            assert!(EVERY_POLICY.contains(from), "{from}");
            let text = EVERY_POLICY.replacen(from, to, 1);
            assert!(toml::from_str::<File>(&text).is_err(), "the gateway reads it: {to}");
            assert!(!is_valid(&text), "the schema has nothing against it: {to}");
        }
    }

    #[test]
    fn every_policy_has_a_row_and_each_of_its_attributes_too() {
        let schema = schema();
        let page = page(&schema);
        for name in policy::NAMES {
            assert!(page.contains(&format!("| [`{name}`](#{name}) | ")), "{name}");
            let section = page.split(&format!("\n### {name}\n")).nth(1).unwrap().split("\n### ").next().unwrap();
            let properties = schema["$defs"][name]["properties"].as_object().unwrap();
            assert!(!properties.is_empty(), "{name}");
            for (attribute, of) in properties {
                assert!(section.contains(&format!("| `{attribute}` | ")), "{name}.{attribute}");
                assert!(!described(Some(of)).is_empty(), "{name}.{attribute} says nothing");
                assert!(!kind(of).is_empty(), "{name}.{attribute} is nothing");
            }
            assert!(EVERY_POLICY.contains(&format!("policies.{name}]")), "the example has no {name}");
        }
    }
}
