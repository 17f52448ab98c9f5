//! The rooms of the house and the arrows between them, as ARCHITECTURE.md has them.

use super::Finding;
use cargo_metadata::{DependencyKind, Metadata};

/// A room and the rooms it may name in its `[dependencies]`. `decision` is the language all others speak, so a room that
/// may depend on `oauth` or `core` may name it too.
const ROOMS: &[(&str, &[&str])] = &[
    ("deputize-decision", &[]),
    ("deputize-oauth", &["deputize-decision"]),
    ("deputize-jose", &["deputize-oauth", "deputize-decision"]),
    ("deputize-fetch", &["deputize-jose", "deputize-oauth", "deputize-decision"]),
    ("deputize-serve", &[]),
    ("deputize-telemetry", &["deputize-fetch"]),
    ("deputize-core", &["deputize-oauth", "deputize-decision"]),
    ("deputize-sql", &[]),
    ("deputize-store", &["deputize-core", "deputize-sql", "deputize-oauth", "deputize-decision"]),
    ("deputize-pages", &[]),
    (
        "deputize-authority",
        &[
            "deputize-core",
            "deputize-jose",
            "deputize-oauth",
            "deputize-decision",
            "deputize-fetch",
            "deputize-guard",
            "deputize-pages",
        ],
    ),
    ("deputize-portal", &["deputize-client", "deputize-oauth", "deputize-decision", "deputize-pages"]),
    ("deputize-guard", &["deputize-jose", "deputize-oauth", "deputize-decision", "deputize-fetch"]),
    ("deputize-client", &["deputize-jose", "deputize-oauth", "deputize-decision", "deputize-fetch"]),
    (
        "deputize-gateway",
        &[
            "deputize-guard",
            "deputize-client",
            "deputize-jose",
            "deputize-oauth",
            "deputize-decision",
            "deputize-fetch",
            "deputize-serve",
            "deputize-telemetry",
            "deputize-sql",
        ],
    ),
    (
        "deputize-sidecar",
        &[
            "deputize-guard",
            "deputize-client",
            "deputize-jose",
            "deputize-oauth",
            "deputize-decision",
            "deputize-fetch",
            "deputize-serve",
            "deputize-telemetry",
        ],
    ),
    ("deputize-testkit", &["deputize-decision", "deputize-jose", "deputize-oauth"]),
    ("deputize-example-orders", &["deputize-client", "deputize-guard", "deputize-decision", "deputize-oauth"]),
    ("deputize-example-billing", &["deputize-client", "deputize-guard", "deputize-decision", "deputize-oauth"]),
    ("xtask", &[]),
];

/// The binary wires everything, so it may name every room but these.
const BINARY: &str = "deputize";
const DEVELOPMENT: &[&str] = &["deputize-testkit", "xtask"];

/// A dependency of one package of the workspace on another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrow {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) tests_only: bool,
}

/// Every arrow of the workspace, and one from each package to itself so that a room without arrows is seen too.
pub(crate) fn arrows(metadata: &Metadata) -> Vec<Arrow> {
    let members = metadata.workspace_packages();
    let is_member = |name: &str| members.iter().any(|package| package.name.as_str() == name);
    members
        .iter()
        .flat_map(|package| {
            let from = package.name.to_string();
            let itself = Arrow { from: from.clone(), to: from.clone(), tests_only: false };
            let arrows = package.dependencies.iter().filter(|dependency| is_member(&dependency.name));
            std::iter::once(itself)
                .chain(arrows.map(move |dependency| Arrow {
                    from: from.clone(),
                    to: dependency.name.clone(),
                    tests_only: dependency.kind == DependencyKind::Development,
                }))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The arrows that the table does not have.
pub(crate) fn findings(arrows: &[Arrow]) -> Vec<Finding> {
    arrows.iter().filter_map(finding).collect()
}

fn finding(arrow: &Arrow) -> Option<Finding> {
    let Arrow { from, to, tests_only } = arrow;
    let place = format!("Cargo.toml of {from}");
    let allowed = if from == BINARY {
        !DEVELOPMENT.contains(&to.as_str())
    } else if let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| room == from) {
        from == to || allowed.contains(&to.as_str())
    } else {
        return (from == to).then(|| Finding {
            place,
            problem: "is a package that the table of rooms does not have".to_owned(),
            fix: "add it to xtask/src/check/rooms.rs and ARCHITECTURE.md with the rooms it may depend on".to_owned(),
        });
    };
    // A test may stand anything beside the room it tests, except the programs at the top.
    let allowed = allowed || (*tests_only && to != BINARY && to != "xtask");
    (!allowed).then(|| Finding {
        place,
        problem: format!("depends on {to}, an arrow the architecture does not have"),
        fix: format!(
            "remove it: let {from} declare a port (a trait) that the binary fills from {to}, or move the code to a room both may see"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrow(from: &str, to: &str) -> Arrow {
        Arrow { from: from.to_owned(), to: to.to_owned(), tests_only: false }
    }

    fn for_tests(from: &str, to: &str) -> Arrow {
        Arrow { tests_only: true, ..arrow(from, to) }
    }

    #[test]
    fn an_arrow_of_the_table_passes() {
        let allowed = [
            arrow("deputize-store", "deputize-sql"),
            arrow("deputize-authority", "deputize-core"),
            arrow("deputize", "deputize-authority"),
            for_tests("deputize-guard", "deputize-testkit"),
        ];
        assert_eq!(findings(&allowed), []);
    }

    #[test]
    fn an_arrow_that_goes_back_up_fails() {
        for (from, to) in [
            ("deputize-core", "deputize-store"),
            ("deputize-core", "deputize-jose"),
            ("deputize-decision", "deputize-oauth"),
            ("deputize-guard", "deputize-client"),
            ("deputize-authority", "deputize-store"),
            ("deputize-pages", "deputize-core"),
            ("deputize-portal", "deputize-core"),
            ("deputize-example-orders", "deputize-jose"),
            ("deputize-jose", "deputize"),
        ] {
            let found = findings(&[arrow(from, to)]);
            assert_eq!(found.len(), 1, "{from} -> {to}");
            assert!(found[0].place.contains(from) && found[0].problem.contains(to), "{found:?}");
        }
    }

    #[test]
    fn the_testkit_is_for_tests_only() {
        assert_eq!(findings(&[arrow("deputize-guard", "deputize-testkit")]).len(), 1);
        assert_eq!(findings(&[arrow("deputize", "deputize-testkit")]).len(), 1);
    }

    #[test]
    fn a_test_may_not_stand_on_the_binary() {
        assert_eq!(findings(&[for_tests("deputize-guard", "deputize")]).len(), 1);
    }

    #[test]
    fn a_room_that_the_table_does_not_know_fails() {
        let found = findings(&[arrow("deputize-attic", "deputize-attic")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].fix.contains("rooms.rs"));
    }
}
