//! Configuration by the names of Microsoft's sidecar: sections and values, joined by `:`. In the file they are tables, in the
//! environment `__` stands for `:`, and the environment wins. Upper and lower case are the same.
use super::SettingsError;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::{Spanned, Table, Value};

/// Values by their names.
#[derive(Debug, Default)]
pub(super) struct Sections(BTreeMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    /// As it is written.
    name: String,
    value: String,
    origin: Origin,
    used: Cell<bool>,
}

#[derive(Clone, Debug)]
enum Origin {
    File(Range<usize>),
    Variable(String),
}

impl Sections {
    /// Reads these tables of the file, and the variables that begin with the name of one.
    ///
    /// # Errors
    /// If a value is no text, number or switch.
    pub(super) fn read(
        tables: Vec<(&'static str, Option<Spanned<Table>>)>,
        variables: &[(String, String)],
    ) -> Result<Self, SettingsError> {
        let mut sections = Self::default();
        for (name, table) in tables {
            if let Some(table) = table {
                let at = table.span();
                for (member, value) in table.into_inner() {
                    sections.add(&format!("{name}:{member}"), value, &at)?;
                }
            }
            for (variable, value) in variables {
                let section = variable.get(..name.len()).filter(|begin| begin.eq_ignore_ascii_case(name));
                if section.is_some() && variable.get(name.len()..).is_some_and(|rest| rest.starts_with("__")) {
                    sections.keep(&variable.replace("__", ":"), value.clone(), Origin::Variable(variable.clone()));
                }
            }
        }
        Ok(sections)
    }

    fn add(&mut self, name: &str, value: Value, at: &Range<usize>) -> Result<(), SettingsError> {
        let text = match value {
            Value::Table(table) => {
                return table
                    .into_iter()
                    .try_for_each(|(member, value)| self.add(&format!("{name}:{member}"), value, at));
            }
            Value::Array(list) => {
                let mut places = list.into_iter().enumerate();
                return places.try_for_each(|(place, value)| self.add(&format!("{name}:{place}"), value, at));
            }
            Value::String(text) => text,
            Value::Integer(number) => number.to_string(),
            Value::Boolean(switch) => switch.to_string(),
            Value::Float(_) | Value::Datetime(_) => {
                return Err(SettingsError::File {
                    at: at.clone(),
                    problem: format!("`{name}` is no text"),
                    hint: "write it in quotes".to_owned(),
                });
            }
        };
        self.keep(name, text, Origin::File(at.clone()));
        Ok(())
    }

    fn keep(&mut self, name: &str, value: String, origin: Origin) {
        let lower = name.to_ascii_lowercase();
        let first = self.0.get(&lower).map(|entry| entry.name.clone());
        let name = first.unwrap_or_else(|| name.to_owned());
        self.0.insert(lower, Entry { name, value, origin, used: Cell::new(false) });
    }

    /// A value that is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let entry = self.0.get(&name.to_ascii_lowercase())?;
        entry.used.set(true);
        Some(entry.value.as_str()).filter(|value| !value.is_empty())
    }

    /// A switch.
    pub(super) fn switch(&self, name: &str, usual: bool) -> Result<bool, SettingsError> {
        match self.text(name) {
            None => Ok(usual),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => Err(self.wrong(name, "it is neither `true` nor `false`", "write one of them")),
        }
    }

    /// Several values: one by one (`Scopes:0`), or in one text with spaces between them.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        if let Some(text) = self.text(name) {
            return text.split_whitespace().map(str::to_owned).collect();
        }
        (0..).map_while(|place| self.text(&format!("{name}:{place}")).map(str::to_owned)).collect()
    }

    /// The names in a section, as they are written first, each once.
    pub(super) fn members(&self, section: &str) -> Vec<String> {
        let prefix = format!("{}:", section.to_ascii_lowercase());
        let mut members: Vec<String> = Vec::new();
        for (known, entry) in &self.0 {
            let member = known.strip_prefix(&prefix).and_then(|_| entry.name.get(prefix.len()..));
            let Some(member) = member.and_then(|rest| rest.split(':').next()) else { continue };
            if !members.iter().any(|other| other.eq_ignore_ascii_case(member)) {
                members.push(member.to_owned());
            }
        }
        members
    }

    /// Whether the section says anything.
    pub(super) fn has(&self, section: &str) -> bool {
        let prefix = format!("{}:", section.to_ascii_lowercase());
        self.0.keys().any(|name| name.starts_with(&prefix))
    }

    /// What is wrong with a value, at the place that it comes from.
    pub(super) fn wrong(&self, name: &str, problem: &str, hint: &str) -> SettingsError {
        match self.0.get(&name.to_ascii_lowercase()).map(|entry| entry.origin.clone()) {
            Some(Origin::Variable(name)) => SettingsError::Variable { name, problem: format!("{problem}; {hint}") },
            Some(Origin::File(at)) => {
                SettingsError::File { at, problem: format!("`{name}`: {problem}"), hint: hint.to_owned() }
            }
            None => SettingsError::Variable { name: name.replace(':', "__"), problem: format!("{problem}; {hint}") },
        }
    }

    /// Refuses names of the file that nobody asked for: a misspelt rule would rule nothing.
    pub(super) fn nothing_left(&self) -> Result<(), SettingsError> {
        let left = self.0.values().find(|entry| !entry.used.get() && matches!(entry.origin, Origin::File(_)));
        match left {
            Some(entry) => {
                Err(self.wrong(&entry.name, "nothing has this name here", "check its spelling, or take it out"))
            }
            None => Ok(()),
        }
    }
}
