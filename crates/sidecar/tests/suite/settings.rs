//! The environment (2.11), and what is said where it is wrong.
use crate::support::JWK;
use serde_json::json;
use sidecar::{Bind, Credential, EventStream, File, Settings, SettingsError};
use std::collections::HashMap;
use std::time::Duration;

fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
    read_with(variables, "")
}

fn read_with(variables: &[(&str, &str)], file: &str) -> Result<Settings, String> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    let file: File = toml::from_str(file).map_err(|error| error.to_string())?;
    let variable = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    Settings::read(&variable, Some(file)).map_err(|error| error.to_string())
}

fn refused(variables: &[(&str, &str)]) -> String {
    read(variables).map(drop).unwrap_err()
}

const ENTRA: [(&str, &str); 3] = [("AZURE_ENABLED", "true"), ("AZURE_APP_CLIENT_ID", "me"), ("AZURE_APP_JWK", JWK)];

#[test]
fn without_any_variable_it_starts_as_texas_does() {
    let settings = read(&[]).unwrap();
    assert_eq!(settings.bind, Bind::parse("127.0.0.1:3000").unwrap());
    assert_eq!((settings.probe, settings.metrics), (None, None));
    assert_eq!((settings.upstream.retries, settings.upstream.connect), (1, Duration::from_secs(2)));
    assert_eq!((settings.upstream.read, settings.upstream.total), (Duration::from_secs(3), Duration::from_secs(5)));
    assert!(settings.providers.iter().all(|provider| !provider.enabled));
}

#[test]
fn start_up_errors_have_the_words_that_are_documented() {
    assert_eq!(refused(&ENTRA[..1]), "missing required environment variable 'AZURE_APP_CLIENT_ID'");
    assert_eq!(refused(&ENTRA[..2]), "missing required environment variable 'AZURE_APP_JWK'");
    for provider in ["AZURE", "TOKEN_X", "MASKINPORTEN", "IDPORTEN", "ANSATTPORTEN"] {
        for value in ["yes", "TRUE", "1", ""] {
            let switch = format!("{provider}_ENABLED");
            assert!(refused(&[(&switch, value)]).starts_with(&format!("parse boolean option '{switch}': ")), "{value}");
        }
    }
    let missing = "missing configuration for provider 'entra_id': set AZURE_APP_WELL_KNOWN_URL or \
                   AZURE_OPENID_CONFIG_ISSUER, AZURE_OPENID_CONFIG_TOKEN_ENDPOINT, AZURE_OPENID_CONFIG_JWKS_URI";
    assert_eq!(refused(&ENTRA), missing);
    let idporten = [("IDPORTEN_ENABLED", "true"), ("IDPORTEN_AUDIENCE", "me"), ("IDPORTEN_ISSUER", "https://i")];
    let missing = "missing configuration for provider 'idporten': set IDPORTEN_WELL_KNOWN_URL or IDPORTEN_ISSUER, \
                   IDPORTEN_JWKS_URI";
    assert_eq!(refused(&idporten), missing);
    let unnamed = JWK.replace("\"kid\"", "\"kidd\"");
    let told = refused(&[ENTRA[0], ENTRA[1], ("AZURE_APP_JWK", &unnamed)]);
    assert!(told.starts_with("environment variable 'AZURE_APP_JWK': ") && told.contains("no `kid`"), "{told}");
    for (name, value) in [("BIND_ADDRESS", "3000"), ("PROBE_BIND_ADDRESS", "x"), ("TEXAS_HTTP_MAX_RETRIES", "-1")] {
        assert!(refused(&[(name, value)]).contains(name));
    }
}

#[test]
fn an_address_that_others_reach_needs_a_credential_of_callers() {
    for open in ["0.0.0.0:3000", "10.0.0.1:3000", "[::]:3000", "[::ffff:10.0.0.1]:3000"] {
        assert!(refused(&[("BIND_ADDRESS", open)]).contains("DEPUTIZE_CALLER_TOKEN"), "{open}");
        assert!(read(&[("BIND_ADDRESS", open), ("DEPUTIZE_CALLER_TOKEN", "")]).is_err(), "{open}");
        assert!(read(&[("BIND_ADDRESS", open), ("DEPUTIZE_CALLER_TOKEN", "s3cret")]).is_ok(), "{open}");
    }
    for own in ["127.0.0.1:3001", "[::1]:3000", "localhost:3000", "[::ffff:127.0.0.1]:3000", "unix:/run/a.sock"] {
        assert!(read(&[("BIND_ADDRESS", own)]).is_ok(), "{own}");
    }
}

#[test]
fn an_operator_calls_from_this_machine_alone() {
    for elsewhere in ["0.0.0.0:3002", "10.1.2.3:3002", "nonsense"] {
        assert!(refused(&[("ADMIN_BIND_ADDRESS", elsewhere)]).contains("no address of this machine alone"));
        assert!(read_with(&[], &format!("admin = \"{elsewhere}\"")).is_err(), "{elsewhere}");
    }
    for here in ["127.0.0.1:3002", "unix:/run/admin.sock"] {
        let read = [read(&[("ADMIN_BIND_ADDRESS", here)]), read_with(&[], &format!("admin = \"{here}\""))];
        assert_eq!(read.map(|settings| settings.unwrap().admin.unwrap().to_string()), [here, here]);
    }
}

#[test]
fn keys_are_kept_for_a_time_that_makes_sense() {
    for wrong in ["0", "29", "43201", "-50"] {
        refused(&[("DEPUTIZE_KEY_SET_SECONDS", wrong)]);
        assert!(read_with(&[], &format!("key_set_seconds = {wrong}")).is_err(), "{wrong}");
    }
    let file = "key_set_seconds = 600\ncheck_user_tokens = true";
    let settings = read_with(&[], file).unwrap();
    assert_eq!((settings.key_seconds, settings.user_tokens_checked), (Some(600), true));
    let stated = [("DEPUTIZE_KEY_SET_SECONDS", "60"), ("DEPUTIZE_CHECK_USER_TOKENS", "false")];
    let settings = read_with(&stated, file).unwrap();
    assert_eq!((settings.key_seconds, settings.user_tokens_checked), (Some(60), false), "the environment wins");
    assert_eq!(read(&[]).unwrap().key_seconds, None);
}

#[test]
fn what_azure_injects_serves_entra_too() {
    let settings = read(&[
        ("AZURE_ENABLED", "true"),
        ("AZURE_CLIENT_ID", "me"),
        ("AZURE_TENANT_ID", "contoso"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token"),
    ])
    .unwrap();
    let entra = &settings.providers[0];
    assert_eq!(entra.client_id.as_deref(), Some("me"));
    assert!(matches!(&entra.credential, Some(Credential::Federated(path)) if path.ends_with("token")));
    let expected = "https://login.microsoftonline.com/contoso/v2.0/.well-known/openid-configuration";
    assert_eq!(entra.discovery.as_deref(), Some(expected));
    let secret = [ENTRA[0], ENTRA[1], ("AZURE_APP_CLIENT_SECRET", "s"), ("AZURE_APP_WELL_KNOWN_URL", "https://x")];
    assert!(matches!(read(&secret).unwrap().providers[0].credential, Some(Credential::Secret(_))));
}

#[test]
fn what_is_shown_has_no_secret() {
    let more = [
        ("AZURE_APP_WELL_KNOWN_URL", "https://login.example/.well-known"),
        ("DEPUTIZE_CALLER_TOKEN", "canary-token"),
        ("K_SECRET", "canary-secret"),
    ];
    let file = r#"[[provider]]
        name = "k"
        discovery = "https://k.example"
        client_id = "k"
        token = "client-credentials"
        secret = { env = "K_SECRET" }"#;
    let settings = read_with(&[ENTRA.as_slice(), &more].concat(), file).unwrap();
    let shown = settings.shown();
    for text in [format!("{shown:#}"), format!("{settings:?}")] {
        assert!(!text.contains("canary") && !text.contains("870MB6gf"), "{text}");
    }
    // Somebody puts one into an address all the same.
    let within = file.replace("https://k.example", "https://k:canary@k.example/metadata");
    let told = read_with(&[("K_SECRET", "x")], &within).unwrap().shown();
    assert_eq!(told["providers"]["k"]["discovery"], "https://withheld@k.example/metadata");
    let providers = &shown["providers"];
    assert_eq!(providers["entra_id"]["credential"], json!({ "key": { "kid": "registered", "alg": "ES256" } }));
    assert_eq!(providers["k"]["credential"], json!({ "secret": "(set)" }));
    assert_eq!(providers["tokenx"], "not enabled");
    let exchange = &shown["for_the_application"]["NAIS_TOKEN_EXCHANGE_ENDPOINT"];
    assert_eq!(exchange, "http://127.0.0.1:3000/api/v1/token/exchange");
}

#[test]
fn a_file_is_told_by_its_places() {
    let place = |file: &str| {
        let parsed: File = toml::from_str(file).unwrap();
        match Settings::read(&|_| None, Some(parsed)).unwrap_err() {
            SettingsError::File { at, problem, .. } => (file[at].to_owned(), problem),
            other => panic!("{other}"),
        }
    };
    assert_eq!(place(r#"bind = "3000""#).0, r#""3000""#);
    for name in ["entra_id", "azuread", "a b", ""] {
        assert_eq!(place(&format!("[[provider]]\nname = \"{name}\"")).0, format!("{name:?}"));
    }
    let (_, problem) = place("[[provider]]\nname = \"k\"\ntoken = \"client-credentials\"\ndiscovery = \"https://k\"");
    assert!(problem.contains("nothing proves who asks"), "{problem}");
    let (_, problem) = place("[[provider]]\nname = \"k\"");
    assert!(problem.contains("nothing says where it is"), "{problem}");
    let (at, problem) = place("[callers]\ntoken = { env = \"NONE\" }");
    assert!(at.contains("NONE") && problem.contains("is not set"), "{at} {problem}");
    for wrong in ["prot = 1", "[[provider]]\nname = \"k\"\nurl = \"x\"", "outbound = [{ app = \"x\" }]"] {
        assert!(toml::from_str::<File>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_example_that_the_guide_shows_is_understood() {
    let file: File = toml::from_str(include_str!("../../../../examples/sidecar/sidecar.toml")).unwrap();
    assert!(Settings::read(&|_| None, Some(file)).is_ok());
}

#[test]
fn a_provider_tells_of_cut_offs_where_that_is_said_and_somebody_proves_who_asks() {
    let addresses = [("AZURE_APP_WELL_KNOWN_URL", "https://id.example/t/v2.0/.well-known/openid-configuration")];
    let entra = |events: &'static str| read(&[&ENTRA[..], &addresses, &[("DEPUTIZE_EVENTS", events)]].concat());
    let of = |settings: &Settings, name: &str| {
        settings.providers.iter().find(|provider| provider.name == name).unwrap().events.clone()
    };
    let told = entra(" entra_id, ").unwrap();
    assert_eq!((of(&told, "entra_id"), of(&told, "tokenx")), (Some(EventStream::Issuer), None));
    assert_eq!(of(&entra("").unwrap(), "entra_id"), None);
    assert!(entra("tokenx").unwrap_err().contains("'tokenx' is no provider that is enabled"));
    let idporten =
        [("IDPORTEN_ENABLED", "true"), ("IDPORTEN_AUDIENCE", "me"), ("IDPORTEN_WELL_KNOWN_URL", "https://i")];
    let idporten = [&idporten[..], &[("DEPUTIZE_EVENTS", "idporten")]].concat();
    assert!(refused(&idporten).contains("provider 'idporten' has no credential"));

    let file = |events: &str, more: &str| {
        let provider = "[[provider]]\nname = \"id\"\ndiscovery = \"https://id.example/m\"\naudience = \"me\"\n";
        read_with(&[("S", "secret")], &format!("{provider}{events}\n{more}"))
    };
    let proof = "client_id = \"me\"\nsecret = { env = \"S\" }";
    let url = "https://id.example/t/events";
    assert_eq!(of(&file("events = true", proof).unwrap(), "id"), Some(EventStream::Issuer));
    assert_eq!(of(&file(&format!("events = \"{url}\""), proof).unwrap(), "id"), Some(EventStream::Url(url.to_owned())));
    assert_eq!(of(&file("events = false", proof).unwrap(), "id"), None);
    assert!(file("events = true", "").unwrap_err().contains("nothing proves who asks"));
    assert!(file("events = 1", proof).unwrap_err().contains("`true`, or an address"));

    let settings = |table: &str| read_with(&[], &format!("[cut_offs]\n{table}"));
    let usual = settings("").unwrap().cut_offs;
    assert_eq!((usual.fail_static, usual.closed), (60, false));
    let stated = settings("fail_static = 86400\nclosed = true").unwrap().cut_offs;
    assert_eq!((stated.fail_static, stated.closed), (86_400, true));
    for out in ["fail_static = 4", "fail_static = 86401", "fail_static = -1"] {
        assert!(settings(out).unwrap_err().contains("give seconds from 5 to 86400"), "{out}");
    }
}
