//! Conditional access as estate files declare it.
use super::{TENANT, read};
use crate::estate::plan::Plan;
use crate::keys::MasterKey;
use deputize_core::estate::Item;

#[test]
fn conditional_access_is_declared_with_graphs_names_and_its_changes_are_told() {
    let whole = |network: &str, state: &str| {
        format!(
            r#"{TENANT}
[[tenants.applications]]
displayName = "Payroll"
[[tenants.users]]
userPrincipalName = "ada@contoso.example"
displayName = "Ada"
[[tenants.groups]]
displayName = "Staff"
[[tenants.namedLocations]]
displayName = "Office"
isTrusted = true
ipRanges = [{{ cidrAddress = "{network}" }}]
[[tenants.conditionalAccessPolicies]]
displayName = "Payroll away from the office"
state = "{state}"
conditions.applications.includeApplications = ["Payroll"]
conditions.users.includeUsers = ["All"]
conditions.users.excludeUsers = ["ada@contoso.example"]
conditions.users.excludeGroups = ["Staff"]
conditions.users.includeRoles = ["Global Administrator"]
conditions.clientAppTypes = ["browser", "mobileAppsAndDesktopClients"]
conditions.locations = {{ includeLocations = ["All"], excludeLocations = ["AllTrusted", "Office"] }}
grantControls = {{ operator = "OR", builtInControls = ["mfa"], authenticationContext = "c2" }}
sessionControls.signInFrequency = {{ value = 4, type = "hours", authenticationType = "secondaryAuthentication" }}
sessionControls.sessionLifetime = {{ value = 1, type = "days" }}
[[tenants.conditionalAccessPolicies]]
displayName = "c2"
conditions.applications.includeAuthenticationContextClassReferences = ["c2"]
grantControls.builtInControls = ["mfa"]
"#
        )
    };
    let master = MasterKey::passing();
    let plan = |content: String, held: &[Item]| read(&content, held, &master, false).unwrap();
    let steps = |plan: &Plan| plan.difference.steps.iter().map(ToString::to_string).collect::<Vec<_>>();
    let first = plan(whole("198.51.100.77/24", "enabled"), &[]);
    let again = plan(whole("198.51.100.0/24", "enabled"), &first.items);
    assert_eq!(steps(&again), [""; 0], "applied twice, nothing changes");
    let other = plan(whole("203.0.113.0/24", "enabledForReportingButNotEnforced"), &first.items);
    assert_eq!(
        steps(&other),
        ["~ tenant contoso.example: namedLocations", "~ policy Payroll away from the office: state"]
    );
    let Some(Item::Policy(policy)) = first.items.iter().find(|item| item.kind() == "policy") else { panic!() };
    let json = serde_json::to_value(policy).unwrap();
    assert_eq!(json["conditions"]["locations"]["includeLocations"][0], "All");
    assert_eq!(json["conditions"]["users"]["includeRoles"][0], "62e90394-69f5-4237-9190-012177145e10");
    assert_eq!(json["sessionControls"]["signInFrequency"]["authenticationType"], "secondaryAuthentication");
}
