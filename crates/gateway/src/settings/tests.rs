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
        tokens: fetch,
        token_cache: TokenCache::new(1 << 20),
        clock: Arc::new(testkit::SetClock::default()),
        ids: Arc::new(Ids::new(random.as_ref())),
        random,
        access_log: Arc::new(AccessLog::off()),
    };
    Gateway::new(&file, &|name| (name == "SECRET").then(|| "a secret of sixteen".to_owned()), beside, ports)
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
fn an_api_without_a_caller_check_says_that_it_is_public() {
    let open =
        SOUND.replace("[api.policies.validate_jwt]\nissuers = [\"contoso\"]\naudiences = [\"api://orders\"]", "");
    let open = open.replace(
        "[api.operation.onward.on_behalf_of]\nauthority = \"contoso\"\ntarget = \"api://billing/.default\"",
        "",
    );
    let (place, problem, hint) = wrong(&open);
    assert_eq!(
        (place.as_str(), problem.as_str()),
        ("\"read\"", "the operation `read` of the API `orders` has no policy that checks who calls")
    );
    assert!(hint.contains("`public = true`"), "{hint}");
    assert!(read(&open.replace("upstream = \"orders\"", "upstream = \"orders\"\npublic = true")).is_ok());
    // A policy that only keeps some out identifies nobody.
    let forbidding = "[api.policies.ip_filter]\naction = \"forbid\"\naddress = [\"10.0.0.1\"]\n[[api.operation]]";
    assert!(wrong(&open.replace("[[api.operation]]", forbidding)).1.contains("no policy that checks who calls"));
    assert!(read(&open.replace("[[api.operation]]", &forbidding.replace("forbid", "allow"))).is_ok());
    let optional = "[api.policies.subscription_key]\nrequired = false\n[[api.operation]]";
    assert!(wrong(&open.replace("[[api.operation]]", optional)).1.contains("no policy that checks who calls"));
    // Neither does a product that needs no key.
    let keyed = open.replace("[[api.operation]]", "[api.policies.subscription_key]\n[[api.operation]]");
    assert!(read(&keyed).is_ok());
    let product =
        format!("{keyed}\n[[product]]\nname = \"free\"\napis = [\"orders\"]\nsubscription_required = false\n");
    assert!(wrong(&product).1.contains("no policy that checks who calls"));
}

#[test]
fn the_example_is_sound() {
    let folder = std::env::temp_dir().join(format!("deputize-gateway-example-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["gateway-secret", "ledger-password", "fabrikam-1", "fabrikam-2"] {
        std::fs::write(folder.join(name), format!("{name}-0123456789abcdef")).unwrap();
    }
    let gateway = read_in(include_str!("../../../../examples/gateway/gateway.toml"), &folder).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let names: Vec<String> = gateway.effective().into_iter().map(|operation| operation.operation).collect();
    assert_eq!(names, ["orders/read", "orders/change", "ledger/everything"]);
}
