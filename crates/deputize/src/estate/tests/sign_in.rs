//! What a web application declares about signing in and out.
use super::{SMALL, broken, read};
use crate::keys::MasterKey;
use deputize_core::estate::Item;

const WEB: &str = r#"web.redirectUris = ["https://app.example/cb"]
web.logoutUrl = "https://app.example/told"
web.implicitGrantSettings = { enableIdTokenIssuance = true, enableAccessTokenIssuance = false }
"#;

fn with(web: &str) -> String {
    SMALL.replacen("web.redirectUris = [\"http://localhost:8400/callback\"]\n", web, 1)
}

#[test]
fn an_address_for_signing_out_and_id_tokens_without_a_code_are_declared_in_graphs_words() {
    let master = MasterKey::passing();
    let plan = read(&with(WEB), &[], &master, false).unwrap();
    let web = plan.items.iter().find_map(|item| match item {
        Item::Application(app) if app.display_name == "Web" => Some(&app.web),
        _ => None,
    });
    let web = web.unwrap();
    assert_eq!(web.logout_url.as_deref(), Some("https://app.example/told"));
    assert!(web.implicit_grant_settings.enable_id_token_issuance);
    let again = read(&with(WEB), &plan.items, &master, false).unwrap();
    assert!(again.difference.steps.is_empty(), "applied twice it changes nothing");
}

#[test]
fn what_must_not_be_declared_about_signing_in_is_said() {
    for (from, to, said) in [
        ("https://app.example/told", "http://app.example/told", "loopback"),
        ("https://app.example/told", "javascript:alert(1)", "https"),
        ("https://app.example/told", "https://*.example/told", "wildcard"),
        ("enableAccessTokenIssuance = false", "enableAccessTokenIssuance = true", "never handed out without a code"),
    ] {
        let faults = broken(&with(&WEB.replace(from, to)));
        assert!(faults.contains(said), "{to}: {faults}");
    }
}
