//! For what tokens may be asked: an optional list of targets, in the platform's terms.
use crate::target::Workload;
use serde::Deserialize;

/// A list of targets. Without one, every target may be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outbound {
    rules: Option<Vec<OutboundRule>>,
    /// Where this workload is: what a rule leaves out.
    here: Here,
}

/// One target that may be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "`{ application, namespace, cluster }` or `{ target }`")]
pub enum OutboundRule {
    /// A workload, in either spelling and with any scope of it.
    Application {
        /// What it is called.
        application: String,
        /// Whose it is; by default this workload's.
        namespace: Option<String>,
        /// Where it runs; by default where this workload does.
        cluster: Option<String>,
    },
    /// Exactly this scope or audience.
    Target {
        /// Its text.
        target: String,
    },
}

/// Where this workload is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Here {
    /// Where it runs (`NAIS_CLUSTER_NAME`).
    pub cluster: Option<String>,
    /// Whose it is (`NAIS_NAMESPACE`).
    pub namespace: Option<String>,
}

impl Outbound {
    /// Only these.
    pub fn only(rules: Vec<OutboundRule>, here: Here) -> Self {
        Self { rules: Some(rules), here }
    }

    /// Whether there is a list.
    pub fn is_restricted(&self) -> bool {
        self.rules.is_some()
    }

    /// Refuses a target that is not listed; of several scopes each has to be.
    pub(crate) fn admit(&self, target: &str) -> Result<(), String> {
        let Some(rules) = &self.rules else { return Ok(()) };
        let mut scopes = target.split(' ').filter(|scope| !scope.is_empty()).peekable();
        if scopes.peek().is_none() {
            return Err("the outbound policy lists targets, and none is named; name one in `target`".to_owned());
        }
        match scopes.find(|scope| !rules.iter().any(|rule| self.allows(rule, scope))) {
            None => Ok(()),
            Some(scope) => Err(format!(
                "no rule of `outbound` allows the target `{scope}`; add `{}` to the configuration of the sidecar",
                missing(scope)
            )),
        }
    }

    fn allows(&self, rule: &OutboundRule, scope: &str) -> bool {
        match rule {
            OutboundRule::Target { target } => target == scope,
            OutboundRule::Application { application, namespace, cluster } => {
                let Some(asked) = Workload::named(scope).or_else(|| Workload::of_scope(scope)) else { return false };
                let is = |stated: &Option<String>, own: &Option<String>, asked: &str| {
                    stated.as_deref().or(own.as_deref()) == Some(asked)
                };
                application == asked.application
                    && is(namespace, &self.here.namespace, asked.namespace)
                    && is(cluster, &self.here.cluster, asked.cluster)
            }
        }
    }
}

/// The rule that would allow it.
fn missing(scope: &str) -> String {
    match Workload::named(scope).or_else(|| Workload::of_scope(scope)) {
        Some(Workload { cluster, namespace, application }) => {
            format!("{{ application = \"{application}\", namespace = \"{namespace}\", cluster = \"{cluster}\" }}")
        }
        None => format!("{{ target = \"{scope}\" }}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Outbound {
        let rules = toml::from_str::<std::collections::BTreeMap<String, Vec<OutboundRule>>>(
            r#"outbound = [
                { application = "near" },
                { application = "far", namespace = "other", cluster = "prod-fss" },
                { target = "https://graph.microsoft.com/.default" },
                { target = "nav:one" }, { target = "nav:two" },
            ]"#,
        );
        let here = Here { cluster: Some("dev-gcp".into()), namespace: Some("team".into()) };
        Outbound::only(rules.unwrap().remove("outbound").unwrap(), here)
    }

    #[test]
    fn a_listed_target_is_allowed_in_either_spelling() {
        for target in [
            "dev-gcp:team:near",
            "api://dev-gcp.team.near/.default",
            "api://dev-gcp.team.near/defaultaccess",
            "prod-fss:other:far",
            "https://graph.microsoft.com/.default",
            "nav:one nav:two",
        ] {
            assert_eq!(policy().admit(target), Ok(()), "{target}");
        }
    }

    #[test]
    fn any_other_target_is_refused_with_the_rule_that_is_missing() {
        let refused = |target: &str| policy().admit(target).unwrap_err();
        assert!(
            refused("dev-gcp:other:near")
                .contains(r#"`{ application = "near", namespace = "other", cluster = "dev-gcp" }`"#)
        );
        assert!(refused("nav:three").contains(r#"`{ target = "nav:three" }`"#));
        for target in [
            "prod-gcp:team:near",
            "dev-gcp:team:nearby",
            "api://dev-gcp.team.near.evil/.default",
            "https://graph.microsoft.com/.default https://vault.azure.net/.default",
            "https://graph.microsoft.com/",
            "nav:one nav:three",
            "",
            " ",
        ] {
            refused(target);
        }
    }

    #[test]
    fn without_a_list_everything_may_be_asked_for() {
        assert_eq!(Outbound::default().admit("anything"), Ok(()));
        assert!(Outbound::only(Vec::new(), Here::default()).admit("anything").is_err(), "an empty list allows nothing");
    }
}
