//! What reaches beyond one tenant: applications of many tenants, owners, guests.
use super::{broken, read};
use crate::keys::MasterKey;
use deputize_core::estate::Item;
use deputize_core::model::{HomeAccount, SignInAudience};

const TWO: &str = r#"
[[tenants]]
displayName = "Contoso"
domains = ["contoso.example"]
[[tenants.applications]]
displayName = "Web"
appId = "8f6dc1d3-0c4d-4f2a-9c0e-0d6f4d4d2a11"
signInAudience = "AzureADMultipleOrgs"
owners = ["ada@contoso.example"]
[[tenants.users]]
userPrincipalName = "ada@contoso.example"
displayName = "Ada"
[[tenants.users]]
userPrincipalName = "ivan_fabrikam.example#EXT#@contoso.example"
displayName = "Ivan"
identities = [{ issuer = "fabrikam.example", issuerAssignedId = "ivan@fabrikam.example" }]

[[tenants]]
displayName = "Fabrikam"
domains = ["fabrikam.example"]
[[tenants.servicePrincipals]]
appId = "8f6dc1d3-0c4d-4f2a-9c0e-0d6f4d4d2a11"
[[tenants.users]]
userPrincipalName = "ivan@fabrikam.example"
displayName = "Ivan"
"#;

#[test]
fn applications_of_many_tenants_owners_and_guests_are_declared_and_their_changes_told() {
    let master = MasterKey::passing();
    let plan = read(TWO, &[], &master, false).unwrap();
    let items: Vec<Item> = plan.difference.steps.into_iter().map(|step| step.item).collect();
    let user = |name: &str| {
        let found = items.iter().find_map(|item| match item {
            Item::User(user) if user.user_principal_name == name => Some(user.clone()),
            _ => None,
        });
        found.unwrap()
    };
    let (ada, ivan) = (user("ada@contoso.example"), user("ivan@fabrikam.example"));
    let guest = user("ivan_fabrikam.example#EXT#@contoso.example");
    assert_eq!(guest.home, Some(HomeAccount { tenant: ivan.tenant, user: ivan.id }));
    assert!(ada.home.is_none() && ivan.home.is_none());
    let web = items.iter().find_map(|item| if let Item::Application(web) = item { Some(web) } else { None }).unwrap();
    assert_eq!((web.sign_in_audience, &web.owners[..]), (SignInAudience::AzureADMultipleOrgs, &[ada.id][..]));
    assert!(read(TWO, &items, &master, false).unwrap().difference.steps.is_empty(), "applied twice it changes nothing");
    let plan = read(&TWO.replace("owners = [\"ada@contoso.example\"]\n", ""), &items, &master, false).unwrap();
    let told: Vec<String> = plan.difference.steps.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].ends_with(": owners"), "{told:?}");
}

#[test]
fn what_cannot_reach_there_is_said() {
    for (from, to, said) in [
        ("signInAudience = \"AzureADMultipleOrgs\"\n", "", "application of its own tenant alone"),
        ("\"AzureADMultipleOrgs\"", "\"Everyone\"", "Everyone"),
        ("owners = [\"ada@", "owners = [\"eve@", "there is no user `eve@contoso.example`"),
        ("issuer = \"fabrikam.example\"", "issuer = \"contoso.example\"", "is no other tenant"),
        ("issuerAssignedId = \"ivan@", "issuerAssignedId = \"eve@", "there is no user `eve@fabrikam.example`"),
        ("identities = [{", "password = { value = \"a long password\" }\nidentities = [{", "signs in at home"),
    ] {
        let found = broken(&TWO.replace(from, to));
        assert!(found.contains(said), "expected `{said}` in {found}");
    }
}
