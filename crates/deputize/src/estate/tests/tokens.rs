//! What an application declares about its tokens.
use super::{SMALL, TENANT, broken, read};
use crate::keys::MasterKey;
use deputize_core::estate::Item;
use deputize_core::model::{ClaimName, GroupMembershipClaims};

const WHOLE: &str = r#"identifierUris = ["api://orders"]
groupMembershipClaims = "ApplicationGroup"
tokenLifetimePolicy = { accessTokenLifetime = "08:00:00" }
optionalClaims.accessToken = [
  { name = "aud", additionalProperties = ["use_guid"] },
  { name = "idtyp", additionalProperties = ["include_user_token"] },
  { name = "groups", essential = true },
  { name = "ipaddr" },
  { name = "upn" },
]
optionalClaims.idToken = [{ name = "acct" }, { name = "sid", essential = false }]
"#;

fn whole(more: &str) -> String {
    SMALL.replacen("identifierUris = [\"api://orders\"]\n", more, 1)
}

#[test]
fn tokens_are_declared_in_graphs_words_and_a_difference_shows_them() {
    let declared = whole(WHOLE);
    let master = MasterKey::passing();
    let plan = read(&declared, &[], &master, false).unwrap();
    let app = plan.items.iter().find_map(|item| match item {
        Item::Application(app) if app.display_name == "Orders" => Some(app),
        _ => None,
    });
    let app = app.unwrap();
    let names: Vec<_> = app.optional_claims.access_token.iter().map(|claim| claim.name).collect();
    assert_eq!(names, [ClaimName::Aud, ClaimName::Idtyp, ClaimName::Groups, ClaimName::Ipaddr, ClaimName::Upn]);
    assert_eq!(app.optional_claims.id_token.len(), 2);
    assert_eq!(app.group_membership_claims, GroupMembershipClaims::ApplicationGroup);
    assert_eq!(app.token_lifetime_policy.unwrap().access_token_lifetime.seconds, 28_800);
    let back = read(SMALL, &plan.items, &master, false).unwrap();
    let steps: Vec<String> = back.difference.steps.iter().map(ToString::to_string).collect();
    let shown = steps.iter().find(|step| step.contains("application Orders")).unwrap();
    for property in ["optionalClaims", "groupMembershipClaims", "tokenLifetimePolicy"] {
        assert!(shown.contains(property), "{shown}");
    }
    assert_eq!(read(&declared, &plan.items, &master, false).unwrap().difference.steps, []);
}

#[test]
fn what_tokens_cannot_say_is_refused_in_its_line() {
    let app = "[[tenants.applications]]\ndisplayName = \"Orders\"\n";
    let claim = |kind: &str, claim: &str| format!("{app}optionalClaims.{kind} = [{claim}]");
    let cases = [
        (claim("accessToken", "{ name = \"ctry\" }"), "the optional claim `ctry` cannot be given", "no countries"),
        (
            claim("accessToken", "{ name = \"ipaddress\" }"),
            "the optional claim `ipaddress` cannot be given",
            "login_hint",
        ),
        (claim("idToken", "{ name = \"verified_primary_email\" }"), "cannot be given", "never as an identity"),
        (claim("idToken", "{ name = \"idtyp\" }"), "the optional claim `idtyp` cannot be given", "`accessToken`"),
        (claim("idToken", "{ name = \"aud\" }"), "the optional claim `aud` cannot be given", "`accessToken`"),
        (claim("accessToken", "{ name = \"aud\" }"), "`aud` stands in every token", "use_guid"),
        (claim("accessToken", "{ name = \"upn\" }, { name = \"upn\" }"), "`upn` is declared twice", "keep one"),
        (
            claim("accessToken", "{ name = \"upn\", source = \"user\" }"),
            "`upn` cannot come from `user`",
            "drop `source`",
        ),
        (
            claim("accessToken", "{ name = \"upn\", additionalProperties = [\"x\"] }"),
            "`upn` has no property `x`",
            "drop it",
        ),
        (claim("accessToken", "{ name = \"groups\" }"), "no groups are named", "groupMembershipClaims"),
        (claim("saml2Token", "{ name = \"upn\" }"), "there are no SAML tokens here", "drop `saml2Token`"),
        (
            format!("{app}groupMembershipClaims = \"DirectoryRole\""),
            "`DirectoryRole` is no value for this",
            "SecurityGroup",
        ),
        (
            format!("{app}tokenLifetimePolicy = {{ accessTokenLifetime = \"00:09:59\" }}"),
            "is no lifetime",
            "ten minutes to a day",
        ),
        (
            format!("{app}tokenLifetimePolicy = {{ accessTokenLifetime = \"1.00:00:01\" }}"),
            "is no lifetime",
            "ten minutes to a day",
        ),
        (
            format!("{app}tokenLifetimePolicy = {{ accessTokenLifetime = \"3600\" }}"),
            "is no lifetime",
            "ten minutes to a day",
        ),
    ];
    for (content, error, hint) in cases {
        let found = broken(&format!("{TENANT}{content}"));
        assert!(found.starts_with("error: `estate.toml` line 6: "), "{content}\n{found}");
        assert!(found.contains(error) && found.contains(hint), "expected `{error}` and `{hint}`:\n{found}");
    }
    // The claims that decide whose a token is are nobody's to declare.
    for name in [
        "iss",
        "sub",
        "oid",
        "tid",
        "scp",
        "roles",
        "azp",
        "appid",
        "ver",
        "exp",
        "amr",
        "act",
        "aio",
        "cnf",
        "wids",
        "xms_mirid",
    ] {
        let found = broken(&format!("{TENANT}{}", claim("accessToken", &format!("{{ name = \"{name}\" }}"))));
        assert!(found.contains(&format!("the optional claim `{name}` cannot be given")), "{found}");
    }
}
