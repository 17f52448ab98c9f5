//! Which APIs an application calls as itself, and what a tenant does about users who are dropped.
use super::{SMALL, TENANT, broken, read};
use crate::keys::MasterKey;
use deputize_core::estate::Item;
use deputize_core::model::DroppedUserContext;

const NEEDS: &str = "requiredResourceAccess = [{ resourceAppId = \"api://orders\", resourceAccess = [] }]\n";

fn web(more: &str) -> String {
    SMALL.replacen("displayName = \"Web\"\n", &format!("displayName = \"Web\"\n{more}"), 1)
}

#[test]
fn an_edge_is_declared_with_its_reason() {
    let own = "deputize.ownIdentity = [{ resourceAppId = \"Orders\", reason = \"files carry no user\" }]\n";
    let declared = web(&format!("{NEEDS}{own}"));
    let refusing = declared.replacen("[[tenants.app", "settings.droppedUserContext = \"refuse\"\n[[tenants.app", 1);
    let plan = read(&refusing, &[], &MasterKey::passing(), false).unwrap();
    let app = |name: &str| {
        plan.items.iter().find_map(|item| match item {
            Item::Application(app) if app.display_name == name => Some(app.clone()),
            _ => None,
        })
    };
    let (web, orders) = (app("Web").unwrap(), app("Orders").unwrap());
    assert_eq!(web.own_identity(orders.app_id), Some("files carry no user"));
    assert_eq!(web.own_identity(web.app_id), None);
    let settings = plan.items.iter().find_map(|item| match item {
        Item::Tenant(tenant) => Some(tenant.settings.dropped_user_context),
        _ => None,
    });
    assert_eq!(settings, Some(DroppedUserContext::Refuse));
    // Without the declaration nothing else differs.
    let before = read(&web_without(&refusing, own), &[], &MasterKey::passing(), false).unwrap();
    let after = read(&refusing, &before.items, &MasterKey::passing(), false).unwrap();
    let told: Vec<String> = after.difference.steps.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].ends_with("deputize.ownIdentity"), "{told:?}");
}

fn web_without(file: &str, line: &str) -> String {
    file.replacen(line, "", 1)
}

#[test]
fn what_is_wrong_with_an_edge_is_told_in_its_line() {
    let api = "[[tenants.applications]]\ndisplayName = \"A\"\nidentifierUris = [\"api://a\"]\n\
               [[tenants.applications]]\ndisplayName = \"B\"\n";
    let needs = "requiredResourceAccess = [{ resourceAppId = \"api://a\", resourceAccess = [] }]\n";
    let own = |entries: &str| format!("deputize.ownIdentity = [{entries}]\n");
    let edge = "{ resourceAppId = \"A\", reason = \"files carry no user\" }";
    for (content, error, hint) in [
        (
            format!("{needs}{}", own("{ resourceAppId = \"api://b\", reason = \"files carry no user\" }")),
            "line 10: there is no application `api://b`",
            "did you mean `api://a`?",
        ),
        (
            own(edge),
            "line 9: the application does not say that it needs `A`",
            "name it in `requiredResourceAccess` too",
        ),
        (
            format!("{needs}{}", own("{ resourceAppId = \"A\", reason = \"-\" }")),
            "line 10: this reason says nothing",
            "write a sentence of 10 to 500 characters",
        ),
        (
            format!("{needs}{}", own("{ resourceAppId = \"A\", reason = \"files carry\\nno user\" }")),
            "line 10: this reason says nothing",
            "on one line",
        ),
        (
            format!("{needs}{}", own(&format!("{edge}, {edge}"))),
            "line 10: `A` stands in `ownIdentity` twice",
            "keep one of them",
        ),
        (format!("{needs}{}", own("{ resourceAppId = \"A\" }")), "line 10: `reason` is missing", "add `reason`"),
        (
            format!("{needs}deputize.ownIdentities = []\n"),
            "line 10: there is no property `ownIdentities` here",
            "did you mean `ownIdentity`?",
        ),
    ] {
        let found = broken(&format!("{TENANT}{api}{content}"));
        assert!(found.contains(error) && found.contains(hint), "expected `{error}` and `{hint}`:\n{found}");
    }
    let found = broken(&format!("{TENANT}settings.droppedUserContext = \"deny\"\n"));
    assert!(found.contains("line 4: `deny` is no value") && found.contains("record, refuse"), "{found}");
}
