//! The guide for applications in any language: its files are read, and its commands are run.
use crate::facades::{Estate, HEADER};
use serde_json::json;
use sidecar::{File, Settings};

const GUIDE: &str = include_str!("../../../../docs/guides/any-language.md");

/// The blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    GUIDE.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn its_file_is_read() {
    let file: File = toml::from_str(&blocks("toml").join("\n")).unwrap();
    let settings = Settings::read(
        &|name| ["IDENTITY_HEADER", "SESSION_KEY"].contains(&name).then(|| "secret".repeat(6)),
        Some(file),
    )
    .unwrap();
    let shown = settings.shown();
    assert_eq!(
        [&shown["native"]["bind"], &shown["entra"]["bind"], &shown["identity"]["bind"]],
        ["127.0.0.1:3003", "127.0.0.1:5000", "127.0.0.1:3004"],
    );
    assert_eq!(shown["entra"]["overrides"], json!(["AuthorizationHeader"]));
    assert_eq!(shown["for_the_application"]["IDENTITY_ENDPOINT"], "http://127.0.0.1:3004/msi/token");
    assert_eq!(
        (&shown["long_running"]["life_seconds"], &shown["long_running"]["key"]),
        (&json!(604_800), &json!("(set)"))
    );
    assert!(!shown.to_string().contains("secretsecret"));
}

#[tokio::test]
async fn its_commands_run() {
    let estate = Estate::with("", &[("Sidecar__AllowOverrides__GetAuthorizationHeaderUnauthenticated", "true")]).await;
    let commands = format!("set -euo pipefail\nexport no_proxy='*'\n{}", blocks("sh").join("\n"));
    let variables = [
        ("SIDECAR", estate.native.clone()),
        ("ENTRA", estate.entra.clone()),
        ("IDENTITY_ENDPOINT", format!("{}/msi/token", estate.identity)),
        ("IDENTITY_HEADER", HEADER.to_owned()),
        ("TOKEN", estate.user(&json!({}))),
    ];
    let run = move || std::process::Command::new("bash").arg("-c").arg(commands).envs(variables).output();
    let run = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{told}\n{}", String::from_utf8_lossy(&run.stderr));
    let sent: Vec<_> = estate.api.seen().into_iter().map(|sent| (sent.method, sent.target, sent.body)).collect();
    let sent: Vec<_> =
        sent.iter().map(|(method, target, body)| (method.as_str(), target.as_str(), body.as_str())).collect();
    assert_eq!(
        sent,
        [
            ("GET", "/invoices?year=2026", ""),
            ("POST", "/invoices", r#"{"customer": 7}"#),
            ("GET", "/v1/reports/today", ""),
            ("GET", "/invoices", ""),
        ]
    );
    for expected in ["insufficient_claims", "user.assigned", "every check passes", "authorizationHeader", "expires_on"]
    {
        assert!(told.contains(expected), "{expected}: {told}");
    }
}
