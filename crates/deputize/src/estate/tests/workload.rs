//! Federated credentials, trusted subjects and managed identities, as people declare them.
use super::{TENANT, broken, held, open, read};
use crate::data::Temporary;
use crate::keys::MasterKey;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deputize_core::estate::Item;
use deputize_core::workload::{ManagedIdentityKind, TOKEN_EXCHANGE};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

fn authority(ca: bool) -> String {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = if ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    STANDARD.encode(parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
}

fn whole() -> String {
    let authority = authority(true);
    format!(
        r#"{TENANT}
[[tenants.applications]]
displayName = "Billing"
appRoles = [{{ value = "Invoices.Export", allowedMemberTypes = ["Application"] }}]
federatedIdentityCredentials = [
    {{ name = "cluster", issuer = "https://kubernetes.example", subject = "system:serviceaccount:shop:billing" }},
    {{ name = "github", issuer = "https://token.actions.githubusercontent.com", subject = "repo:contoso/billing:ref:refs/heads/main", audiences = ["api://billing-builds"] }},
]
trustedCertificateSubjects = [{{ subjectName = "CN=billing,O=Contoso", authority = {{ value = "{authority}" }} }}]

[[tenants.managedIdentities]]
displayName = "orders-site"
type = "SystemAssigned"
resourceId = "/subscriptions/1/resourcegroups/shop/providers/Microsoft.Web/sites/orders"

[[tenants.managedIdentities]]
displayName = "worker"
type = "UserAssigned"
federatedIdentityCredentials = [{{ name = "cluster", issuer = "https://kubernetes.example", subject = "system:serviceaccount:shop:worker" }}]

[[tenants.appRoleAssignments]]
principalId = "worker"
resourceId = "Billing"
appRoleId = "Invoices.Export"
"#
    )
}

#[tokio::test]
async fn what_is_declared_is_stored_and_a_change_is_told_by_property() {
    let folder = Temporary::create().unwrap();
    let (store, master) = (open(folder.path()), MasterKey::passing());
    let content = whole();
    let plan = read(&content, &[], &master, false).unwrap();
    let told: Vec<String> = plan.difference.steps.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|step| step.starts_with("+ managed identity worker (")), "{told:?}");
    assert!(told.iter().any(|step| step == "+ assignment worker → Billing (Invoices.Export)"), "{told:?}");
    plan.apply(&store, super::NOW).await.unwrap();
    assert_eq!(read(&content, &held(&store).unwrap(), &master, true).unwrap().difference.steps, []);
    let apps = held(&store).unwrap().into_iter().filter_map(|item| match item {
        Item::Application(app) => Some(app),
        _ => None,
    });
    let apps: Vec<_> = apps.into_iter().collect();
    let named = |name: &str| apps.iter().find(|app| app.display_name == name).unwrap();
    let [cluster, github] = named("Billing").federated_identity_credentials.as_slice() else { panic!("two") };
    assert_eq!((cluster.audiences[0].as_str(), github.audiences[0].as_str()), (TOKEN_EXCHANGE, "api://billing-builds"));
    let identity = named("worker").managed_identity.as_ref().unwrap();
    assert_eq!(identity.kind, ManagedIdentityKind::UserAssigned);
    assert!(identity.resource_id.ends_with("/providers/Microsoft.ManagedIdentity/userAssignedIdentities/worker"));

    let changed = content.replace("shop:billing", "shop:invoices").replace("sites/orders", "sites/shop");
    let plan = read(&changed, &held(&store).unwrap(), &master, false).unwrap();
    let told: Vec<String> = plan.difference.steps.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].ends_with(": federatedIdentityCredentials"), "{told:?}");
    assert!(told[1].starts_with("~ managed identity orders-site (") && told[1].ends_with("managedIdentity.resourceId"));
}

#[test]
fn what_cannot_be_trusted_is_refused_with_its_line() {
    let app = "[[tenants.applications]]\ndisplayName = \"A\"\n";
    let federated = |text: &str| format!("{app}federatedIdentityCredentials = [{{ {text} }}]");
    let good = "name = \"cluster\", issuer = \"https://k.example\"";
    let subject = |authority: &str, more: &str| {
        format!(
            "{app}trustedCertificateSubjects = [{{ subjectName = \"CN=a\", authority = {{ value = \"{authority}\" }}{more} }}]"
        )
    };
    let identity = |text: &str| format!("[[tenants.managedIdentities]]\ndisplayName = \"M\"\n{text}");
    let plain = authority(false);
    let cases = [
        (federated("name = \"cluster\", issuer = \"http://k.example\", subject = \"s\""), "is no issuer", "https://"),
        (
            federated("name = \"cluster\", issuer = \"https://k.example?x\", subject = \"s\""),
            "is no issuer",
            "no query",
        ),
        (
            federated("name = \"c\", issuer = \"https://k.example\", subject = \"s\""),
            "is no name of a federated",
            "3 to 120",
        ),
        (federated(&format!("{good}, subject = \"repo:contoso/*\"")), "is no subject", "stands for itself"),
        (federated(&format!("{good}, subject = \"\"")), "is no subject", "1 to 600"),
        (federated(&format!("{good}, subject = \"s\", audiences = []")), "has one audience", "write one"),
        (federated(&format!("{good}, subject = \"s\", audiences = [\"a\", \"b\"]")), "has one audience", "write one"),
        (federated(&format!("{good}, subject = \"s\" }}, {{ {good}, subject = \"t\"")), "declared twice", "of its own"),
        (
            federated(&format!("{good}, subject = \"s\" }}, {{ {}, subject = \"s\"", good.replace("cluster", "other"))),
            "issuer and subject are declared twice",
            "keep one",
        ),
        (
            subject(&plain, ""),
            "the certificate authority cannot be used",
            "not the certificate of a certificate authority",
        ),
        (subject("AAAA", ""), "the certificate authority cannot be used", "not an X.509 certificate"),
        (
            subject(&authority(true), ", revokedCertificateIdentifiers = [\"12\"]"),
            "`12` is no thumbprint",
            "40 (SHA-1) or 64",
        ),
        (identity("type = \"SystemAssigned\""), "the resource is not named", "add `resourceId`"),
        (identity("type = \"UserAssigned\"\nresourceId = \"x\""), "`x` is no resource id", "/subscriptions/"),
        (identity("type = \"Other\""), "`Other` is no value for this", "SystemAssigned"),
        (
            identity("type = \"UserAssigned\"\npasswordCredentials = []"),
            "no property `passwordCredentials`",
            "keyCredentials",
        ),
        (
            identity(&format!(
                "type = \"SystemAssigned\"\nresourceId = \"/subscriptions/1/providers/x\"\nfederatedIdentityCredentials = [{{ {good}, subject = \"s\" }}]"
            )),
            "a system-assigned identity has no federated credentials",
            "UserAssigned",
        ),
        (
            format!("{app}[[tenants.managedIdentities]]\ndisplayName = \"M\"\ntype = \"UserAssigned\"\nappId = \"x\""),
            "`x` is no id",
            "derived",
        ),
    ];
    for (content, error, hint) in cases {
        let found = broken(&format!("{TENANT}{content}"));
        assert!(found.contains("error: `estate.toml` line ") && found.contains(error), "`{error}`\n{content}\n{found}");
        assert!(found.contains(hint), "`{hint}`\n{content}\n{found}");
    }
}
