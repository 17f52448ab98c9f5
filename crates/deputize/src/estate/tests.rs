//! Estate files as people write them: good ones, broken ones, and applying them twice.
use super::plan::{Plan, held, plan};
use crate::data::Temporary;
use crate::file::Text;
use crate::keys::MasterKey;
use decision::{Clock, Timestamp};
use deputize_core::estate::{Item, Sign};
use deputize_core::id::UserId;
use deputize_core::model::PermissionGrant;
use oauth::Scopes;
use std::path::Path;
use std::sync::Arc;
use store::{Change, Object, Store, StoreKeys};
use testkit::SetClock;

const NOW: Timestamp = Timestamp(1_800_000_000);

/// Line 1 to 3 of every broken file.
const TENANT: &str = "[[tenants]]\ndisplayName = \"Contoso\"\ndomains = [\"contoso.example\"]\n";

const SMALL: &str = r#"
[[tenants]]
displayName = "Contoso"
domains = ["contoso.example"]

[[tenants.applications]]
displayName = "Orders"
identifierUris = ["api://orders"]
passwordCredentials = [{ displayName = "first" }]
api.oauth2PermissionScopes = [{ value = "access_as_user", type = "User" }]

[[tenants.applications]]
displayName = "Web"
web.redirectUris = ["http://localhost:8400/callback"]

[[tenants.users]]
userPrincipalName = "ada@contoso.example"
displayName = "Ada"
password = { value = "correct horse battery" }

[[tenants.groups]]
displayName = "Staff"
members = ["ada@contoso.example"]

[[tenants.oauth2PermissionGrants]]
clientId = "Web"
resourceId = "api://orders"
scope = "access_as_user"
"#;

fn read(content: &str, held: &[Item], master: &MasterKey, prune: bool) -> Result<Plan, String> {
    let text = Text { name: "estate.toml".into(), content: content.into() };
    plan(&text, Path::new("."), held, master, NOW, prune).map_err(|failure| failure.to_string())
}

fn broken(content: &str) -> String {
    match read(content, &[], &MasterKey::passing(), false) {
        Ok(_) => panic!("this was taken: {content}"),
        Err(message) => message,
    }
}

fn open(folder: &Path) -> Arc<Store> {
    let clock = Arc::new(SetClock::at(NOW));
    Arc::new(Store::open(&folder.join("store.db"), StoreKeys::new([7; 32]), clock).unwrap())
}

mod access;
mod own_identity;
mod reach;
mod sign_in;
mod tokens;
mod workload;

#[test]
fn what_is_wrong_is_said_with_file_line_and_what_is_expected() {
    let app = "[[tenants.applications]]\ndisplayName = \"Orders\"\n";
    let api = "[[tenants.applications]]\ndisplayName = \"Orders\"\nidentifierUris = [\"api://orders\"]\napi.oauth2PermissionScopes = [{ value = \"Read\" }]\nappRoles = [{ value = \"R\", allowedMemberTypes = [\"User\"] }]\n";
    let web = "[[tenants.applications]]\ndisplayName = \"Web\"\n";
    let user = "[[tenants.users]]\nuserPrincipalName = \"ada@contoso.example\"\ndisplayName = \"Ada\"\n";
    let grant = "[[tenants.oauth2PermissionGrants]]\nclientId = \"Web\"\nresourceId = \"Orders\"\n";
    let role = "[[tenants.appRoleAssignments]]\n";
    let policy = "[[tenants.conditionalAccessPolicies]]\ndisplayName = \"P\"\n";
    let mfa = "grantControls.builtInControls = [\"mfa\"]\n";
    let cases: &[(&[&str], &str, &str)] = &[
        // The language of the file.
        (&[app, "displyName = \"x\""], "line 6: there is no property `displyName` here", "did you mean `displayName`?"),
        (
            &["[[tenants.application]]"],
            "line 4: there is no property `application` here",
            "did you mean `applications`?",
        ),
        (
            &["[[tenants.users]]\ndisplayName = \"x\""],
            "line 4: `userPrincipalName` is missing",
            "add `userPrincipalName`",
        ),
        (
            &[app, "api.oauth2PermissionScopes = [{ value = \"a\", type = \"Everyone\" }]"],
            "line 6: `Everyone` is no value for this",
            "expected one of: User, Admin",
        ),
        (&["enabled = \"yes\""], "line 4: invalid type: string, expected a boolean", ""),
        // Without showing what was written: it is the secret itself.
        (
            &[app, "passwordCredentials = [{ displayName = \"x\", secret = \"hunter2, expected\" }]"],
            "line 6: invalid type: string, expected a table with one of `file`, `env` and `value`",
            "",
        ),
        (&["domains = []"], "line 4: duplicate key", ""),
        // Ids and names.
        (&["id = \"contoso\""], "line 4: `contoso` is no id", "derived"),
        (
            &["id = \"00000000-0000-0000-0000-000000000000\""],
            "line 4: `00000000-0000-0000-0000-000000000000` is no id",
            "derived",
        ),
        (&[app, app], "line 7: this application is declared twice", "keep one of them"),
        (&[user, user], "line 8: this user is declared twice", "keep one of them"),
        (
            &[
                user,
                "[[tenants.users]]\nuserPrincipalName = \"ADA@contoso.example\"\ndisplayName = \"A\"\nid = \"8f6dc1d3-0c4d-4f2a-9c0e-0d6f4d4d2a11\"",
            ],
            "the userPrincipalName `ADA@contoso.example` already belongs to",
            "choose another",
        ),
        (
            &["[[tenants]]\ndisplayName = \"Other\"\ndomains = [\"other.example\", \"contoso.example\"]"],
            "the domain `contoso.example` already belongs to",
            "choose another",
        ),
        (
            &[api, "[[tenants.applications]]\ndisplayName = \"Two\"\nidentifierUris = [\"API://orders/\"]"],
            "the identifier URI `API://orders/` of `Two` already belongs to",
            "choose another",
        ),
        // Registrations.
        (
            &[app, "web.redirectUris = [\"https://*.contoso.example/\"]"],
            "line 6: `https://*.contoso.example/` is no redirect URI",
            "no wildcard",
        ),
        (
            &[app, "web.redirectUris = [\"http://app.contoso.example/\"]"],
            "line 6: `http://app.contoso.example/` is no redirect URI",
            "`https`",
        ),
        (
            &[app, "spa.redirectUris = [\"https://a.example/#x\"]"],
            "line 6: `https://a.example/#x` is no redirect URI",
            "no fragment",
        ),
        (&[app, "identifierUris = [\"orders\"]"], "line 6: `orders` is no application ID URI", "api://orders"),
        (
            &[app, "api.requestedAccessTokenVersion = 3"],
            "line 6: `requestedAccessTokenVersion` is out of range",
            "1 or 2",
        ),
        (
            &[app, "api.oauth2PermissionScopes = [{ value = \"a b\" }]"],
            "line 6: `a b` is no word for a scope",
            "letters",
        ),
        (
            &[app, "api.oauth2PermissionScopes = [{ value = \"openid\" }]"],
            "line 6: `openid` is no word for a scope",
            "OpenID Connect",
        ),
        (
            &[app, "api.oauth2PermissionScopes = [{ value = \"A\" }, { value = \"a\" }]"],
            "line 6: the scope `a` is declared twice",
            "keep one",
        ),
        (
            &[app, "appRoles = [{ value = \"R\", allowedMemberTypes = [] }]"],
            "line 6: nobody may have the app role `R`",
            "[\"User\"]",
        ),
        (&[app, "deputize.signingAlgorithm = \"PS256\""], "line 6: no key signs with `PS256`", "RS256, ES256"),
        (
            &[app, "passwordCredentials = [{ displayName = \"a\", secret = { value = \"in the clear, alas\" } }]"],
            "line 6: a client secret does not belong into this file",
            "`file`",
        ),
        (
            &[app, "passwordCredentials = [{ displayName = \"a\" }, { displayName = \"a\" }]"],
            "line 6: the secret `a` is declared twice",
            "`displayName`",
        ),
        (
            &[app, "passwordCredentials = [{ displayName = \"a\", endDateTime = \"2020-01-01T00:00:00Z\" }]"],
            "line 6: the secret `a` never works",
            "after it begins",
        ),
        (
            &[app, "passwordCredentials = [{ displayName = \"a\", endDateTime = \"tomorrow\" }]"],
            "line 6: invalid value: string \"tomorrow\", expected a moment such as `2030-01-31T12:00:00Z`",
            "",
        ),
        (&[app, "keyCredentials = [{ key = { value = \"none\" } }]"], "line 6: the certificate cannot be used", ""),
        (
            &[app, "keyCredentials = [{ key = { file = \"missing.pem\" } }]"],
            "line 6: the certificate cannot be used",
            "`./missing.pem` cannot be read: there is no such file",
        ),
        (&[app, "keyCredentials = [{ key = {} }]"], "line 6: the certificate cannot be used", "exactly one of"),
        // References.
        (
            &[api, web, "requiredResourceAccess = [{ resourceAppId = \"api://order\", resourceAccess = [] }]"],
            "line 11: there is no application `api://order` in this tenant",
            "did you mean `api://orders`?",
        ),
        (
            &[
                api,
                web,
                "requiredResourceAccess = [{ resourceAppId = \"Orders\", resourceAccess = [{ id = \"Raed\", type = \"Scope\" }] }]",
            ],
            "line 11: `Orders` publishes no scope `Raed`",
            "did you mean `Read`?",
        ),
        (
            &[api, web, grant, "scope = \"Read Write\""],
            "line 14: `Orders` publishes no scope `Write`",
            "its scopes are: Read",
        ),
        (&[api, web, grant, "scope = \"\""], "line 14: this is no list of scopes", "spaces between"),
        (
            &[api, web, grant, "scope = \"Read\"\nconsentType = \"Principal\""],
            "line 15: this consent names no user",
            "principalId",
        ),
        (
            &[
                api,
                web,
                user,
                grant,
                "scope = \"Read\"\nconsentType = \"AllPrincipals\"\nprincipalId = \"ada@contoso.example\"",
            ],
            "line 18: this consent is for all users and names one",
            "drop `principalId`",
        ),
        (
            &[api, user, role, "principalId = \"adam@contoso.example\"\nresourceId = \"Orders\""],
            "there is no user `adam@contoso.example` in this tenant",
            "did you mean `ada@contoso.example`?",
        ),
        (
            &[api, web, role, "principalId = \"Web\"\nresourceId = \"Orders\"\nappRoleId = \"R\""],
            "line 14: `Web` cannot have the app role `R`",
            "add `Application`",
        ),
        (
            &["[[tenants.groups]]\ndisplayName = \"G\"\nmembers = [\"bob@contoso.example\"]"],
            "line 6: there is no user `bob@contoso.example` in this tenant",
            "there are none",
        ),
        (
            &["[[tenants.servicePrincipals]]\nappId = \"Nobody\""],
            "line 5: there is no application `Nobody` in this tenant",
            "the applications of this tenant are: deputize, api://deputize",
        ),
        // People and policies.
        (
            &["[[tenants.users]]\nuserPrincipalName = \"ada\"\ndisplayName = \"Ada\""],
            "line 5: `ada` is no userPrincipalName",
            "contoso.example",
        ),
        (
            &["[[tenants.users]]\nuserPrincipalName = \"ada@other.example\"\ndisplayName = \"Ada\""],
            "line 5: `ada@other.example` is no userPrincipalName",
            "contoso.example",
        ),
        (
            &[user, "password = { value = \"short\" }"],
            "line 7: the password of `ada@contoso.example` cannot be used",
            "12 to 256",
        ),
        (
            &[user, "password = { env = \"DEPUTIZE_NOT_SET\" }"],
            "line 7: the password of `ada@contoso.example` cannot be used",
            "set the environment variable `DEPUTIZE_NOT_SET`",
        ),
        (&[policy, "grantControls = {}"], "line 6: the policy `P` demands nothing", "[\"mfa\"]"),
        (&[policy, "grantControls.builtInControls = [\"compliantDevice\"]"], "`compliantDevice`", "block, mfa"),
        (
            &[policy, mfa, "conditions.users.includeUsers = [\"All\", \"ada@contoso.example\"]"],
            "`All` stands beside names",
            "keep `All`",
        ),
        (&[policy, mfa, "conditions.users.includeRoles = [\"Reader\"]"], "no directory role `Reader`", "isTenantAdmin"),
        (&[policy, mfa, "conditions.clientAppTypes = [\"phone\"]"], "`phone` is no kind of client", "`browser`"),
        (&[policy, mfa, "conditions.clientAppTypes = [\"other\"]"], "only people can do", "only be blocked"),
        (&[policy, mfa, "conditions.locations.includeLocations = [\"Ofice\"]"], "no named location `Ofice`", ""),
        (
            &[policy, mfa, "conditions.applications.includeAuthenticationContextClassReferences = [\"x\"]"],
            "`x` is no authentication context",
            "`c1` to `c99`",
        ),
        (
            &[
                policy,
                "conditions.applications.includeAuthenticationContextClassReferences = [\"c1\"]\n",
                "grantControls.authenticationContext = \"c2\"",
            ],
            "defines a context by a context",
            "[\"mfa\"]",
        ),
        (
            &[policy, "sessionControls.signInFrequency = { type = \"hours\" }"],
            "a time of the policy `P` is out of range",
            "value = 4",
        ),
        (
            &["[[tenants.namedLocations]]\ndisplayName = \"L\"\nipRanges = [{ cidrAddress = \"10.0.0.0/33\" }]"],
            "`10.0.0.0/33` is no network",
            "203.0.113.0/24",
        ),
        (
            &[policy, "grantControls.authenticationContext = \"c100\""],
            "`c100` is no authentication context",
            "`c1` to `c99`",
        ),
        (&["[tenants.settings]\nmaxChainDepth = 8"], "`maxChainDepth` is out of range", "1 to 7"),
        (&["[tenants.settings]\nappTokenSeconds = 0"], "a lifetime in `settings` is out of range", "60 to 86400"),
    ];
    for (parts, error, hint) in cases {
        let content = format!("{TENANT}{}", parts.concat());
        let found = broken(&content);
        let (first, second) = found.split_once('\n').unwrap();
        assert!(first.starts_with("error: `estate.toml`"), "{content}\n{found}");
        assert!(first.contains(error), "expected `{error}` of\n{content}\nfound\n{found}");
        assert!(second.contains(hint), "expected `{hint}` of\n{content}\nfound\n{found}");
    }
}

#[test]
fn every_fault_of_a_file_is_told_at_once() {
    let found =
        broken(&format!("{TENANT}id = \"x\"\n[[tenants.users]]\nuserPrincipalName = \"a\"\ndisplayName = \"\"\n"));
    assert_eq!(found.matches("error: ").count(), 3, "{found}");
    assert!(found.find("line 4").unwrap() < found.find("line 6").unwrap(), "in the order of the file: {found}");
}

#[test]
fn an_ended_certificate_is_refused() {
    let key = jose::SigningKey::generate(jose::Algorithm::RS256).unwrap();
    let der = key.self_signed("orders", Timestamp(1), NOW.plus(-1)).unwrap();
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
    let app = format!(
        "[[tenants.applications]]\ndisplayName = \"O\"\nkeyCredentials = [{{ key = {{ value = \"{text}\" }} }}]"
    );
    let found = broken(&format!("{TENANT}{app}"));
    assert!(found.contains("line 6: the certificate ended at 2027-01-15T07:59:59Z"), "{found}");
}

#[tokio::test]
async fn applying_twice_changes_nothing_and_secrets_are_made_once() {
    let folder = Temporary::create().unwrap();
    let (store, master) = (open(folder.path()), MasterKey::passing());
    let first = read(SMALL, &[], &master, false).unwrap();
    assert_eq!(first.secrets.len(), 1);
    assert!(first.difference.steps.iter().all(|step| step.sign == Sign::Added));
    first.apply(&store, NOW).await.unwrap();

    let second = read(SMALL, &held(&store).unwrap(), &master, true).unwrap();
    assert_eq!(second.difference.steps, []);
    assert_eq!(second.secrets, []);
    let digest = second.items.iter().find_map(|item| match item {
        Item::Application(app) => app.password_credentials.first().map(|known| known.digest),
        _ => None,
    });
    assert_eq!(digest, first.secrets.first().map(|new| master.digest(&new.secret)));
}

#[tokio::test]
async fn a_change_is_told_by_property_and_passwords_stay_unless_they_change() {
    let folder = Temporary::create().unwrap();
    let (store, master) = (open(folder.path()), MasterKey::passing());
    read(SMALL, &[], &master, false).unwrap().apply(&store, NOW).await.unwrap();
    let changed =
        SMALL.replace("8400/callback", "8400/back").replace("displayName = \"Ada\"", "displayName = \"Ada L\"");
    let changed = changed.replace("correct horse battery", "another good password");
    let plan = read(&changed, &held(&store).unwrap(), &master, false).unwrap();
    let told: Vec<String> = plan.difference.steps.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("~ application Web (") && told[0].ends_with("): web.redirectUris"), "{told:?}");
    assert_eq!(told[1], "~ user ada@contoso.example: displayName, passwordHash, signInSessionsValidFrom");

    let left_out = SMALL.replace("password = { value = \"correct horse battery\" }\n", "");
    let plan = read(&left_out, &held(&store).unwrap(), &master, false).unwrap();
    assert_eq!(plan.difference.steps, [], "a password that is left out is not taken away");
}

#[tokio::test]
async fn what_is_not_declared_ends_only_when_pruned_and_users_own_consents_stay() {
    let folder = Temporary::create().unwrap();
    let (store, master) = (open(folder.path()), MasterKey::passing());
    let first = read(SMALL, &[], &master, false).unwrap();
    first.apply(&store, NOW).await.unwrap();
    let all = held(&store).unwrap();
    let granted = all.iter().find_map(|item| match item {
        Item::Grant(grant) => Some(grant.clone()),
        _ => None,
    });
    let ada = all.iter().find_map(|item| match item {
        Item::User(user) => Some(user.id),
        _ => None,
    });
    let own =
        PermissionGrant { principal_id: ada, scope: Scopes::parse("access_as_user").unwrap(), ..granted.unwrap() };
    let stray = PermissionGrant { principal_id: Some(UserId(uuid::Uuid::from_u128(9))), ..own.clone() };
    let put = [own, stray].map(|grant| Change::from(Object::Grant(grant))).to_vec();
    let record = first_record(&store);
    store.apply(put, record).await.unwrap();

    let without_group = SMALL.split("[[tenants.groups]]").next().unwrap().to_owned();
    let kept = read(&without_group, &held(&store).unwrap(), &master, false).unwrap();
    assert_eq!((kept.difference.steps.len(), kept.difference.undeclared), (0, 3));
    let pruned = read(&without_group, &held(&store).unwrap(), &master, true).unwrap();
    let mut told: Vec<String> = pruned.difference.steps.iter().map(ToString::to_string).collect();
    told.sort();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("- consent Web → Orders for 00000000-"), "{told:?}");
    assert_eq!(told[1], "- consent Web → Orders for all users (access_as_user)");
    assert_eq!(told[2], "- group Staff");
    pruned.apply(&store, NOW).await.unwrap();
    assert!(held(&store).unwrap().iter().any(|item| matches!(item, Item::Grant(grant) if grant.principal_id == ada)));
}

#[tokio::test]
async fn another_tenant_is_left_alone_and_its_domain_cannot_be_taken() {
    let folder = Temporary::create().unwrap();
    let (store, master) = (open(folder.path()), MasterKey::passing());
    read(SMALL, &[], &master, false).unwrap().apply(&store, NOW).await.unwrap();
    let other = "[[tenants]]\ndisplayName = \"F\"\ndomains = [\"fabrikam.example\"]\n";
    let plan = read(other, &held(&store).unwrap(), &master, true).unwrap();
    assert!(plan.difference.steps.iter().all(|step| step.sign == Sign::Added));
    let thief = other.replace("\"fabrikam.example\"", "\"fabrikam.example\", \"contoso.example\"");
    let found = read(&thief, &held(&store).unwrap(), &master, true).err().unwrap();
    assert!(found.contains("the domain `contoso.example` already belongs to"), "{found}");
}

#[tokio::test]
async fn what_is_applied_is_seen_by_others_on_the_same_store() {
    let folder = Temporary::create().unwrap();
    let (running, applying) = (open(folder.path()), open(folder.path()));
    read(SMALL, &[], &MasterKey::passing(), false).unwrap().apply(&applying, NOW).await.unwrap();
    running.poll().unwrap();
    let snapshot = deputize_core::ports::Directory::snapshot(&*running);
    assert!(snapshot.by_domain("CONTOSO.example").is_some());
}

#[test]
fn every_algorithm_that_we_have_keys_for_may_be_declared() {
    for algorithm in crate::keys::ALGORITHMS {
        let app =
            format!("[[tenants.applications]]\ndisplayName = \"O\"\ndeputize.signingAlgorithm = \"{algorithm}\"\n");
        assert!(read(&format!("{TENANT}{app}"), &[], &MasterKey::passing(), false).is_ok(), "{algorithm}");
    }
}

#[test]
fn every_estate_in_the_examples_is_read() {
    // The files that contoso.toml names are made by the demo; here their places are checked to be all that is missing.
    let found = broken(include_str!("../../../../examples/estate/contoso.toml"));
    assert!(
        found.lines().filter(|line| line.starts_with("hint")).all(|line| line.contains("there is no such file")),
        "{found}"
    );
    let minimal = include_str!("../../../../examples/estate/minimal.toml")
        .replace("{ env = \"DEPUTIZE_ADA\" }", "{ value = \"a good long password\" }");
    let plan = read(&minimal, &[], &MasterKey::passing(), false).unwrap();
    assert_eq!(plan.secrets.len(), 1);
}

#[test]
fn digests_of_secrets_are_those_of_the_authority() {
    let master = MasterKey::passing();
    let folder = Temporary::create().unwrap();
    let store = open(folder.path());
    let settings = ::authority::Settings {
        host: "https://localhost".into(),
        signing_keys: Vec::new(),
        pepper: master.pepper(),
        seal_key: [0; 32],
        random: Arc::new(crate::system::random),
        federation: ::authority::Federation::default(),
    };
    let clock: Arc<dyn Clock> = Arc::new(SetClock::at(NOW));
    let authority = ::authority::authority(settings, store.clone(), store, clock);
    let secret = oauth::Secret::new("a client secret");
    assert_eq!(master.digest(&secret), authority.ports.crypto.keyed_digest(secret.expose()));
}

fn first_record(store: &Store) -> deputize_core::audit::AuditRecord {
    store.audit(0, 1).unwrap().remove(0).1
}
