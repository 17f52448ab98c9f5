//! The configuration as text, in the order that people read it.
use super::{Left, Scope};
use std::fmt::Write as _;
use toml::Value;

/// A table: names, and values as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table(Vec<(&'static str, String)>);

impl Table {
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.push((name, value.into().to_string()));
    }

    /// Where the list has something.
    pub(super) fn set_list(&mut self, name: &'static str, values: Vec<String>) {
        if !values.is_empty() {
            self.set(name, values);
        }
    }

    /// Tables within a line, where there are some.
    pub(super) fn set_tables(&mut self, name: &'static str, tables: &[Self]) {
        if !tables.is_empty() {
            let all: Vec<String> = tables.iter().map(Self::inline).collect();
            self.set_written(name, format!("[{}]", all.join(", ")));
        }
    }

    /// Takes in what another one has.
    pub(super) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// A value that is written already: a table within a line, or a date.
    pub(super) fn set_written(&mut self, name: &'static str, written: String) {
        self.0.push((name, written));
    }

    fn toml(&self, head: &str, made: &mut String) {
        made.push_str(head);
        made.push('\n');
        for (name, value) in &self.0 {
            // Writing to a String cannot fail.
            let _ = writeln!(made, "{name} = {value}");
        }
        made.push('\n');
    }

    /// Within one line.
    pub(super) fn inline(&self) -> String {
        let all: Vec<String> = self.0.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        format!("{{ {} }}", all.join(", "))
    }
}

/// What a document comes to.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Each with its name and its `iss`.
    pub(super) issuers: Vec<(String, String, Table)>,
    pub(super) authorities: Vec<Table>,
    /// The service's address.
    pub(super) upstream: Option<String>,
    /// Seconds until its answer begins.
    pub(super) answer_seconds: Option<i64>,
    /// Policies of which there is one.
    pub(super) once: Vec<(&'static str, Table)>,
    /// Policies of which there can be several.
    pub(super) many: Vec<(&'static str, Table)>,
    /// Hosts that requests are sent to.
    pub(super) allowed_hosts: Vec<String>,
    /// The onward credential.
    pub(super) onward: Option<String>,
    /// Whether the document has the service asked with a credential that is not carried over, or takes the caller's out: then it is
    /// asked with none.
    pub(super) fails_closed: bool,
    /// Whether callers are to be asked for certificates.
    pub(super) client_certificates: bool,
    /// Whether a check says who calls.
    pub(super) identifies: bool,
}

impl Parts {
    pub(super) fn toml(&self, scope: Scope, left: &[Left]) -> String {
        let mut made = String::new();
        if !left.is_empty() {
            made.push_str("# Not carried over");
            let checks = left.iter().filter(|left| left.is_check).count();
            if checks > 0 {
                let _ = write!(made, ", checks of callers among it ({checks}), without which the API is laxer");
            }
            made.push_str(":\n");
            for Left { line, element, why, .. } in left {
                let _ = writeln!(made, "# - line {line}, <{element}>: {why}");
            }
            made.push('\n');
        }
        if self.client_certificates {
            let mark = if scope == Scope::Api { "" } else { "# at the beginning of the file:\n# " };
            let _ = writeln!(made, "{mark}client_certificates = \"optional\"\n");
        }
        if !self.allowed_hosts.is_empty() {
            let hosts = Value::from(self.allowed_hosts.clone());
            let (mark, head) = if scope == Scope::Api { ("", "") } else { ("# ", "# in the file:\n") };
            let _ = writeln!(made, "{head}{mark}[send_request]\n{mark}allowed_hosts = {hosts}\n");
        }
        for (_, _, issuer) in &self.issuers {
            issuer.toml("[[issuer]]", &mut made);
        }
        for authority in &self.authorities {
            authority.toml("[[authority]]", &mut made);
        }
        let prefix = match scope {
            Scope::Global => "",
            Scope::Product => "product.",
            Scope::Api => "api.",
            Scope::Operation => "api.operation.",
        };
        if scope == Scope::Api {
            self.api(&mut made);
        }
        for (name, table) in &self.once {
            table.toml(&format!("[{prefix}policies.{name}]"), &mut made);
        }
        for (name, table) in &self.many {
            table.toml(&format!("[[{prefix}policies.{name}]]"), &mut made);
        }
        let onward = self.onward.clone().or_else(|| self.fails_closed.then(|| "\"none\"".to_owned()));
        match (scope, onward) {
            (Scope::Operation, Some(onward)) => {
                let onward = onward.replace('\n', "\n# ");
                let _ = writeln!(made, "# in [[api.operation]], or the API's counts:\n# onward = {onward}");
            }
            (Scope::Global | Scope::Product, Some(onward)) => {
                let onward = onward.replace('\n', "\n# ");
                let _ = writeln!(made, "# in each [[api]], or what stands there counts:\n# onward = {onward}");
            }
            (Scope::Api, _) => {
                made.push_str("[[api.operation]]\nname = \"everything\"\nmethod = \"*\"\npath = \"/*\"\n");
            }
            _ => {}
        }
        made
    }

    fn api(&self, made: &mut String) {
        if self.upstream.is_none() {
            made.push_str("# Where the service is, the document does not say: write its address.\n");
        }
        let mut upstream = Table::default();
        upstream.set("name", "imported");
        upstream.set("url", self.upstream.as_deref().unwrap_or("https://service.invalid"));
        if let Some(seconds) = self.answer_seconds {
            upstream.set("answer_seconds", seconds);
        }
        upstream.toml("[[upstream]]", made);
        let mut api = Table::default();
        api.set("name", "imported");
        api.set("path", "/");
        api.set("upstream", "imported");
        // API Management sends on what the caller sent, where a policy sets nothing else.
        let without = if self.fails_closed { "\"none\"" } else { "\"passthrough\"" };
        api.set_written("onward", self.onward.clone().unwrap_or_else(|| without.to_owned()));
        api.toml("[[api]]", made);
    }
}
