//! What a token is asked for: the two spellings of a workload's scope.
use std::borrow::Cow;

/// `cluster:namespace:application`, as platforms prefer to write it, is `api://cluster.namespace.application/.default` for
/// Entra; everything else is left as it is.
pub(crate) fn normalised(target: &str) -> Cow<'_, str> {
    match Workload::named(target) {
        Some(Workload { cluster, namespace, application }) => {
            Cow::Owned(format!("api://{cluster}.{namespace}.{application}/.default"))
        }
        None => Cow::Borrowed(target),
    }
}

/// A workload: where it runs, whose it is, and what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workload<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) application: &'a str,
}

impl<'a> Workload<'a> {
    /// From `cluster:namespace:application`.
    pub(crate) fn named(target: &'a str) -> Option<Self> {
        if target.starts_with("https://") || target.starts_with("api://") {
            return None;
        }
        let mut parts = target.split(':');
        let (Some(cluster), Some(namespace), Some(application), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let whole = ![cluster, namespace, application].contains(&"");
        whole.then_some(Self { cluster, namespace, application })
    }

    /// From any scope of `api://cluster.namespace.application`.
    pub(crate) fn of_scope(scope: &'a str) -> Option<Self> {
        let name = scope.strip_prefix("api://")?.split('/').next()?;
        let mut parts = name.split('.');
        let (Some(cluster), Some(namespace), Some(application), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let whole = ![cluster, namespace, application].contains(&"");
        whole.then_some(Self { cluster, namespace, application })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t11_a_workload_is_the_same_target_in_either_spelling() {
        assert_eq!(normalised("a:b:c"), "api://a.b.c/.default");
        for same in ["", "a", "a:b", "a:b:c:d", "a::c", ":b:c", "a:b:", "api://a.b.c/.default", "api://a:b:c"] {
            assert_eq!(normalised(same), same);
        }
        for same in ["https://graph.microsoft.com/.default", "https://a:b:c"] {
            assert_eq!(normalised(same), same);
        }
        assert_eq!(normalised("http:x:y"), "api://http.x.y/.default", "only those two beginnings are another thing");
    }

    #[test]
    fn any_scope_of_a_workload_names_it() {
        let named = Workload::named("dev-gcp:team:app").unwrap();
        assert_eq!(Workload::of_scope("api://dev-gcp.team.app/.default"), Some(named));
        assert_eq!(Workload::of_scope("api://dev-gcp.team.app/defaultaccess"), Some(named));
        assert_eq!(Workload::of_scope("api://dev-gcp.team.app.evil/.default"), None);
        assert_eq!(Workload::of_scope("api://0a6f-guid/.default"), None);
    }
}
