//! How variables are written: for a shell, as JSON, or as a Secret of Kubernetes.
use oauth::Secret;
use serde_json::{Map, Value};

/// Which form is asked for.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(super) struct Wanted {
    /// As lines that a shell evaluates; so it is if nothing is said
    #[arg(long)]
    shell: bool,
    /// As a JSON object
    #[arg(long)]
    json: bool,
    /// As a Secret of Kubernetes, for `envFrom`
    #[arg(long)]
    k8s: bool,
}

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Shell,
    Json,
    Kubernetes,
}

impl Wanted {
    pub(super) fn form(&self) -> Form {
        match self {
            Self { json: true, .. } => Form::Json,
            Self { k8s: true, .. } => Form::Kubernetes,
            Self { .. } => Form::Shell,
        }
    }
}

impl Form {
    /// The variables of an application of this name.
    pub(super) fn of(self, app: &str, variables: &[(String, Secret)]) -> String {
        let lines = |line: &dyn Fn(&str, &str) -> String| {
            let lines = variables.iter().map(|(name, value)| line(name, value.expose()));
            lines.collect::<Vec<_>>().join("\n")
        };
        match self {
            Self::Shell => lines(&exported),
            Self::Json => {
                let all = variables.iter().map(|(name, value)| (name.clone(), value.expose().into()));
                format!("{:#}", Value::Object(all.collect::<Map<_, _>>()))
            }
            // What JSON has for a text, YAML 1.2 reads as the same text.
            Self::Kubernetes => format!(
                "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {}\ntype: Opaque\nstringData:\n{}",
                resource_name(app),
                lines(&|name, value| format!("  {name}: {}", Value::from(value)))
            ),
        }
    }
}

/// A line that every POSIX shell reads as this value, whatever is in it.
pub(crate) fn exported(name: &str, value: &str) -> String {
    format!("export {name}='{}'", value.replace('\'', "'\\''"))
}

/// A name that Kubernetes takes (RFC 1123 section 2.1).
fn resource_name(app: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = app.chars().map(plain).take(57).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "azure".to_owned() } else { format!("azure-{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<(String, Secret)> {
        [("A", "it's \"$HOME\" `x`\n\\"), ("B", "{\"k\":[1]}")]
            .map(|(name, value)| (name.to_owned(), Secret::new(value)))
            .into()
    }

    #[test]
    fn a_shell_reads_back_what_was_written() {
        assert_eq!(Form::Shell.of("x", &some()), "export A='it'\\''s \"$HOME\" `x`\n\\'\nexport B='{\"k\":[1]}'");
    }

    #[test]
    fn json_and_yaml_hold_the_same_texts() {
        let json: Value = serde_json::from_str(&Form::Json.of("x", &some())).unwrap();
        assert_eq!(json["A"], "it's \"$HOME\" `x`\n\\");
        let yaml = Form::Kubernetes.of("Önly Orders!", &some());
        assert!(yaml.contains("\n  name: azure-nly-orders\n"), "{yaml}");
        assert!(yaml.contains(r#"  A: "it's \"$HOME\" `x`\n\\""#), "{yaml}");
        assert_eq!(resource_name("!!"), "azure");
    }
}
