//! What files say, and how each of their mistakes is told.
mod callers;
mod limits;
mod sign_in;

use super::*;
use crate::{AccessLog, Gateway, Ids, Ports};
use client::TokenCache;
use fetch::{Fetch, KeySets};
use std::path::Path;
use std::sync::Arc;

const SOUND: &str = r#"
[[issuer]]
name = "contoso"
issuer = "https://id.example/t1/v2.0"
tenants = ["t1"]

[[authority]]
name = "contoso"
token_endpoint = "https://id.example/t1/oauth2/v2.0/token"
client_id = "gateway"
secret = { env = "SECRET" }

[[upstream]]
name = "orders"
url = "https://orders.internal/v1"

[[api]]
name = "orders"
path = "/orders"
upstream = "orders"
[api.policies.validate_jwt]
issuers = ["contoso"]
audiences = ["api://orders"]
[[api.operation]]
name = "read"
method = "GET"
path = "/{id}"
[api.operation.onward.on_behalf_of]
authority = "contoso"
target = "api://billing/.default"
"#;

fn read(text: &str) -> Result<Gateway, SettingsError> {
    read_in(text, Path::new(""))
}

fn read_in(text: &str, beside: &Path) -> Result<Gateway, SettingsError> {
    let file = toml::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    let fetch = Arc::new(Fetch::builder().build().unwrap());
    let random: Arc<dyn client::Random> = Arc::new(|bytes: &mut [u8]| bytes.fill(7));
    let ports = Ports {
        key_sets: Arc::new(KeySets::new(Arc::clone(&fetch) as Arc<dyn fetch::Transport>)),
        streams: Fetch::clone(&fetch),
        host: client::managed_identity::ManagedIdentity::of_this_host(
            |_| None,
            Arc::clone(&fetch) as Arc<dyn client::Transport>,
            Arc::new(testkit::SetClock::default()),
        ),
        tokens: fetch,
        token_cache: TokenCache::new(1 << 20),
        clock: Arc::new(testkit::SetClock::default()),
        ids: Arc::new(Ids::new(random.as_ref())),
        random,
        access_log: Arc::new(AccessLog::off()),
        telemetry: Arc::new(crate::Telemetry::new(None, &[], 1)),
        store: None,
    };
    let variable = |name: &str| match name {
        "SECRET" => Some("a secret of sixteen".to_owned()),
        "SIGN_IN_KEY" => Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned()),
        _ => None,
    };
    Gateway::new(&file, &variable, beside, ports)
}

/// The line that is wrong, what is wrong with it and what to change.
fn wrong(text: &str) -> (String, String, String) {
    let error = read(text).err().unwrap_or_else(|| panic!("accepted:\n{text}"));
    let line = text.get(error.at.clone()).unwrap_or_default().lines().next().unwrap_or_default();
    (line.to_owned(), error.problem, error.hint)
}

#[test]
fn a_sound_file_says_what_applies() {
    let gateway = read(SOUND).unwrap();
    let [operation] = gateway.effective().try_into().unwrap();
    assert_eq!((operation.operation.as_str(), operation.upstream.as_str()), ("orders/read", "orders"));
    assert_eq!(operation.onward, "a token of `contoso` for `api://billing/.default`, on behalf of the user");
    assert_eq!(operation.policies[0].text, "a token of contoso for api://orders, give or take 60 s");
}

#[test]
fn every_mistake_is_named_with_its_place() {
    let replaced = |from: &str, to: &str| {
        assert!(SOUND.contains(from), "{from}");
        SOUND.replace(from, to)
    };
    let added = |more: &str| format!("{SOUND}{more}");
    let operation = "\n[[api.operation]]\nname = \"b\"\nmethod = \"GET\"\npath = \"/b\"\n";
    for (text, place, problem) in [
        (replaced("issuers = [\"contoso\"]", "issuers = [\"contso\"]"), "\"contso\"", "there is no issuer `contso`"),
        (replaced("upstream = \"orders\"", "upstream = \"other\""), "\"other\"", "there is no upstream `other`"),
        (replaced("authority = \"contoso\"", "authority = \"x\""), "\"x\"", "there is no authority `x`"),
        (replaced("https://orders.internal/v1", "ftp://orders"), "\"ftp://orders\"", "no scheme that is spoken here"),
        (
            replaced("https://orders.internal/v1", "https://u:p@orders"),
            "\"https://u:p@orders\"",
            "has a name or password",
        ),
        (
            replaced("https://orders.internal/v1", "https://orders/a/../b"),
            "\"https://orders/a/../b\"",
            "not in its one spelling",
        ),
        (replaced("/{id}", "/a/../b"), "\"/a/../b\"", "no pattern"),
        (replaced("\"GET\"", "\"get\""), "\"/{id}\"", "no pattern"),
        (replaced("path = \"/orders\"", "path = \"orders\""), "\"orders\"", "no path of an API"),
        (replaced("path = \"/orders\"", "path = \"/%6frders\""), "\"/%6frders\"", "no path of an API"),
        (
            replaced("audiences = [\"api://orders\"]", "audiences = []"),
            "[api.policies.validate_jwt]",
            "`audiences` is empty",
        ),
        (
            replaced("secret = { env = \"SECRET\" }", "secret = { env = \"NONE\" }"),
            "{ env = \"NONE\" }",
            "variable NONE is not set",
        ),
        (replaced("secret = { env = \"SECRET\" }", ""), "[[authority]]", "nothing proves to the authority who asks"),
        (
            replaced("issuer = \"https://id.example/t1/v2.0\"", "issuer = \"https://id.example/{tenantid}/v2.0\""),
            "[[issuer]]",
            "is a template",
        ),
        (added(operation).replace("/b", "/{other}"), "\"/{other}\"", "another operation has this method and path"),
        (added(&operation.replace("\"b\"", "\"read\"")), "\"read\"", "there is an operation `read` already"),
        (
            added(&format!("{operation}[api.operation.policies]\nremove = [\"validate_jwt\"]\n")),
            "\"b\"",
            "no policy that checks who calls",
        ),
        (
            added(&format!("{operation}[api.operation.policies]\nremove = [\"ip_filter\"]\n")),
            "\"ip_filter\"",
            "no wider scope has `ip_filter`",
        ),
        (added(&format!("{operation}[api.operation.policies]\nremove = [\"jwt\"]\n")), "\"jwt\"", "`jwt` is no policy"),
        (
            added(&format!("{operation}[api.operation.policies.require]\n")),
            "[api.operation.policies.require]",
            "`require` demands nothing",
        ),
        (
            replaced("[[api.operation]]", "[api.policies]\nmandatory = [\"validate_jwt\"]\n[[api.operation]]").replace(
                "[api.operation.onward",
                "[api.operation.policies]\nremove = [\"validate_jwt\"]\n[api.operation.onward",
            ),
            "\"validate_jwt\"",
            "`validate_jwt` of api orders is mandatory",
        ),
        (added("\n[[product]]\nname = \"gold\"\napis = [\"stock\"]\n"), "\"stock\"", "there is no api `stock`"),
        (added("\n[[subscription]]\nname = \"s\"\nprimary = { env = \"SECRET\" }\n"), "\"s\"", "not to one thing"),
        (
            added(
                "\n[[subscription]]\nname = \"s\"\nall_apis = true\nprimary = { env = \"SECRET\" }\nsecondary = { env = \"SECRET\" }\n",
            ),
            "{ env = \"SECRET\" }",
            "is a key of `s` too",
        ),
        (
            format!("trusted_proxies = [\"10.0.0.0/33\"]\n{SOUND}"),
            "\"10.0.0.0/33\"",
            "neither an address nor a network",
        ),
        (
            replaced(
                "[api.policies.validate_jwt]\nissuers = [\"contoso\"]\naudiences = [\"api://orders\"]",
                "public = true",
            ),
            "onward",
            "`on_behalf_of` has no verified token",
        ),
        (
            replaced(
                "[[api.operation]]",
                "[[api.policies.set_header]]\nname = \"Content-Length\"\nvalue = [\"5\"]\n[[api.operation]]",
            ),
            "\"Content-Length\"",
            "belongs to the connection",
        ),
        (
            replaced(
                "[[api.operation]]",
                "[[api.policies.set_header]]\nname = \"X-A\"\nvalue = [\"a\\nb\"]\n[[api.operation]]",
            ),
            "\"a\\nb\"",
            "no value of a field",
        ),
        (
            replaced("[[api.operation]]", "[api.policies.ip_filter]\naction = \"allow\"\n[[api.operation]]"),
            "[api.policies.ip_filter]",
            "`ip_filter` names no address",
        ),
    ] {
        let (found, told, hint) = wrong(&text);
        assert_eq!(found, place, "{told}");
        assert!(told.contains(problem), "expected `{problem}`, got `{told}`");
        assert!(!hint.is_empty());
    }
}

#[test]
fn where_a_service_is_and_how_it_is_kept_is_said_in_one_way() {
    let with = |more: &str| SOUND.replace("[[api]]", &format!("{more}\n\n[[api]]"));
    let url = |url: &str| SOUND.replace("https://orders.internal/v1", url);
    for (text, place, problem) in [
        (url("http://127.0.0.1:99999"), "\"http://127.0.0.1:99999\"", "the port of the address is none of"),
        (url("http://127.0.0.1:0"), "\"http://127.0.0.1:0\"", "the port of the address is none of"),
        (url("http://[::1]:65536/v1"), "\"http://[::1]:65536/v1\"", "the port of the address is none of"),
        (url("https://orders.internal/v1#a"), "\"https://orders.internal/v1#a\"", "the address has a fragment"),
        (with("addresses = [\"10.0.0.7\"]"), "\"10.0.0.7\"", "the address has no port"),
        (with("addresses = [\"10.0.0.7:0\"]"), "\"10.0.0.7:0\"", "the address has no port"),
        (with("addresses = [\"a@b:1\"]"), "\"a@b:1\"", "no host and port"),
        (with("addresses = [\"https://b:1/x\"]"), "\"https://b:1/x\"", "no host and port"),
        (with("addresses = [\"a:1\", \"A:1\"]"), "\"A:1\"", "listed twice"),
        (
            with(&format!("addresses = {:?}", (1..=65).map(|n| format!("a:{n}")).collect::<Vec<_>>())),
            "\"a:65\"",
            "64 addresses at most",
        ),
        (with("circuit = { statuses = [404] }"), "404", "no failure of a service"),
        (with("circuit = { trip_seconds = 0 }"), "\"orders\"", "`trip_seconds` is out of range"),
        (with("probe = { path = \"health\" }"), "\"health\"", "this is no path"),
        (with("probe = { path = \"/h\", status = 1000 }"), "1000", "this is no status"),
        (with("probe = { path = \"/h\", healthy = 0 }"), "\"/h\"", "are counts of answers"),
        (with("probe = { path = \"/h\", interval_seconds = 0 }"), "\"/h\"", "`interval_seconds` is out of range"),
    ] {
        let (found, told, hint) = wrong(&text);
        assert_eq!(found, place, "{told}");
        assert!(told.contains(problem), "expected `{problem}`, got `{told}`");
        assert!(!hint.is_empty());
    }
    for (more, problem) in [
        ("idle_seconds = 0", "`idle_seconds` is out of range"),
        ("longest_seconds = 604801", "`longest_seconds` is out of range"),
        ("grace_seconds = 3601", "`grace_seconds` is out of range"),
    ] {
        let (found, told, _) = wrong(&format!("{SOUND}[api.operation.stream]\n{more}\n"));
        assert_eq!((found.as_str(), told.as_str()), ("[api.operation.stream]", problem));
    }
    let sound = "addresses = [\"[2001:db8::1]:8443\", \"orders-2.internal:8443\"]\nhttp = \"2\"
        probe = { path = \"/health?deep=1\" }";
    assert!(read(&with(sound)).is_ok());
    for sound in ["http://[::1]:65535/v1", "https://orders.internal:8443", "http://[::1]"] {
        assert!(read(&url(sound)).is_ok(), "{sound}");
    }
}

#[test]
fn a_listener_says_who_may_connect_and_how_it_speaks() {
    let with = |more: &str| format!("[[listener]]\naddress = \"localhost:8080\"\n{more}\n{SOUND}");
    for (text, place, problem) in [
        (with(""), "\"localhost:8080\"", "no certificate for this listener"),
        (with("plain = true\nproxy_protocol = true"), "\"localhost:8080\"", "nobody may tell here whose"),
        (
            format!(
                "trusted_proxies = [\"::/0\"]\n{}",
                with("plain = true\nclient_certificate_header = \"Client-Cert\"")
            ),
            "\"localhost:8080\"",
            "anybody may tell here which certificate",
        ),
        (with("plain = true\ningress_from = []"), "[]", "no connection may come from anywhere"),
        (with("plain = true\ningress_from = [\"10.0.0.1/33\"]"), "\"10.0.0.1/33\"", "neither an address nor a network"),
        (
            with("plain = true\n[[listener]]\naddress = 'localhost:8080'\nplain = true"),
            "'localhost:8080'",
            "there is a listener `localhost:8080` already",
        ),
    ] {
        let (found, told, hint) = wrong(&text);
        assert_eq!(found, place, "{told}");
        assert!(told.contains(problem), "expected `{problem}`, got `{told}`");
        assert!(!hint.is_empty());
    }
    assert!(read(&with("plain = true\ningress_from = [\"10.0.0.0/8\", \"::1\"]")).is_ok());
    let (_, told, hint) = wrong(&format!("client_certificates = \"optional\"\n{SOUND}"));
    assert!(told.contains("over TLS only") && hint.contains("[[certificate]]"), "{told}");
}

#[test]
fn fields_of_the_connection_are_nobodys_to_set() {
    for name in [
        "Connection",
        "Proxy-Connection",
        "Keep_Alive",
        "Proxy-Authorization",
        "Transfer_Encoding",
        "Proxy",
        "TE",
        "Host",
        "Expect",
        "Content-Length",
        "Upgrade",
    ] {
        let policy = format!("[[api.policies.set_header]]\nname = \"{name}\"\nvalue = [\"a\"]\n[[api.operation]]");
        let (place, problem, _) = wrong(&SOUND.replace("[[api.operation]]", &policy));
        assert_eq!((place, problem.as_str()), (format!("\"{name}\""), "this field belongs to the connection"));
    }
}

#[test]
fn what_never_applies_or_is_laxer_than_it_looks_is_told() {
    let remarks = |text: &str| read(text).unwrap_or_else(|error| panic!("{error}")).remarks();
    let with = |more: &str| SOUND.replace("[[api.operation]]", &format!("{more}\n[[api.operation]]"));
    let url = |url: &str| SOUND.replace("https://orders.internal/v1", url);
    let limit = "[api.policies.rate_limit]\ncalls = 5\nrenewal_period = 60";
    let by_key = |policy: &str, key: &str| {
        with(&format!("[[api.policies.{policy}]]\ncalls = 5\nrenewal_period = 300\ncounter_key = [{key}]"))
    };
    let unchecked = |text: &str| {
        let check = "[api.policies.validate_jwt]\nissuers = [\"contoso\"]\naudiences = [\"api://orders\"]";
        text.replace(check, "public = true").split("[api.operation.onward").next().unwrap().to_owned()
    };
    let product = |text: &str| {
        format!(
            "{text}\n[[product]]\nname = \"gold\"\napis = [\"orders\"]\n\
             [product.policies.ip_filter]\naction = \"forbid\"\naddress = [\"10.0.0.1\"]\n"
        )
    };
    for (text, told) in [
        (with(limit), "`rate_limit` counts calls with a subscription key, and `orders/read` asks for none"),
        (
            with("[api.policies.quota]\ncalls = 5\nrenewal_period = 3600"),
            "`quota` counts calls with a subscription key, and `orders/read` asks for none",
        ),
        (
            by_key("rate_limit_by_key", "\"subscription\""),
            "`rate_limit_by_key` looks at the subscription, and `orders/read` asks for no key, so that this part of its key",
        ),
        (
            by_key("quota_by_key", "\"address\", \"subscription\""),
            "`quota_by_key` looks at the subscription, and `orders/read` asks for no key, so that this part of its key",
        ),
        (
            unchecked(&by_key("rate_limit_by_key", "{ claim = \"oid\" }")),
            "`rate_limit_by_key` looks at a claim, and `orders/read` checks no token, so that this part of its key",
        ),
        (
            unchecked(&by_key("quota_by_key", "{ claim = \"oid\" }")),
            "`quota_by_key` looks at a claim, and `orders/read` checks no token, so that this part of its key",
        ),
        (
            unchecked(&with("[[api.policies.set_header]]\nname = \"X-Oid\"\nclaim = \"oid\"")),
            "`set_header` looks at a claim, and `orders/read` checks no token, so that it sets nothing",
        ),
        (product(SOUND), "the policies of the product `gold` apply to calls with a key of it; the API `orders`"),
        (format!("trusted_proxies = [\"10.0.0.0/8\", \"0.0.0.0/0\"]\n{SOUND}"), "`0.0.0.0/0` in `trusted_proxies`"),
        (String::new(), "the file has no operation"),
        (url("http://orders.example"), "the API `orders` sends credentials to `orders.example` over `http://`"),
    ] {
        let all = remarks(&text);
        assert!(all.len() == 1 && all[0].contains(told), "expected `{told}`, got {all:?}");
    }
    let keyed = with(&format!("[api.policies.subscription_key]\n{limit}"));
    let near = [
        "http://orders.internal",
        "http://orders:9000",
        "http://10.0.0.7",
        "http://[::1]:9000",
        "https://orders.example",
    ];
    let told = [
        by_key("quota_by_key", "{ claim = \"oid\" }"),
        with("[[api.policies.set_header]]\nname = \"X-Oid\"\nclaim = \"oid\""),
        by_key("quota_by_key", "\"subscription\"").replace("[[api.op", "[api.policies.subscription_key]\n[[api.op"),
    ];
    let open = product(SOUND).replace("[product.", "subscription_required = false\n[product.");
    for text in [SOUND.to_owned(), open, product(&keyed), keyed].into_iter().chain(near.map(url)).chain(told) {
        assert!(remarks(&text).is_empty(), "{:?} of {text}", remarks(&text));
    }
}

#[test]
fn the_example_is_sound() {
    let folder = std::env::temp_dir().join(format!("deputize-gateway-example-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["gateway-secret", "ledger-password", "fabrikam-1", "fabrikam-2"] {
        std::fs::write(folder.join(name), format!("{name}-0123456789abcdef")).unwrap();
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["api.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.join("api.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("api.key"), key.serialize_pem()).unwrap();
    let gateway = read_in(include_str!("../../../../examples/gateway/gateway.toml"), &folder).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let names: Vec<String> = gateway.effective().into_iter().map(|operation| operation.operation).collect();
    assert_eq!(names, ["orders/read", "orders/change", "ledger/everything"]);
}
