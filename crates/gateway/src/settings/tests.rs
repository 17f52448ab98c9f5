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
fn a_number_of_a_token_check_that_is_out_of_range_is_named_as_the_file_names_it() {
    let with = |more: &str| SOUND.replace("audiences = [", &format!("{more}\naudiences = ["));
    for (more, problem, range) in [
        ("clock_skew = 3600", "`clock_skew` is out of range", "0 to 600"),
        ("clock_skew = -1", "`clock_skew` is out of range", "0 to 600"),
        ("max_lifetime = 0", "`max_lifetime` is out of range", "1 or more"),
    ] {
        let (place, told, hint) = wrong(&with(more));
        assert_eq!((place.as_str(), told.as_str()), ("[api.policies.validate_jwt]", problem));
        assert!(hint.contains(range), "{hint}");
    }
    assert!(read(&with("clock_skew = 600\nmax_lifetime = 1")).is_ok());
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
    for named in ["`introspect`", "`validate_client_certificate`", "`public = true`"] {
        assert!(hint.contains(named), "{hint}");
    }
    assert!(read(&open.replace("upstream = \"orders\"", "upstream = \"orders\"\npublic = true")).is_ok());
    // A policy that only keeps some out identifies nobody.
    let forbidding = "[api.policies.ip_filter]\naction = \"forbid\"\naddress = [\"10.0.0.1\"]\n[[api.operation]]";
    assert!(wrong(&open.replace("[[api.operation]]", forbidding)).1.contains("no policy that checks who calls"));
    assert!(read(&open.replace("[[api.operation]]", &forbidding.replace("forbid", "allow"))).is_ok());
    // Nor does one that lets everybody in.
    for all in [
        "address = [\"10.0.0.1\", \"0.0.0.0/0\"]",
        "address_range = [{ from = \"::\", to = \"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\" }]",
        "address_range = [{ from = \"::ffff:0.0.0.0\", to = \"::ffff:255.255.255.255\" }]",
        "address = [\"128.0.0.0/1\", \"10.0.0.1\", \"0.0.0.0/1\"]",
        "address = [\"::/1\"]\naddress_range = [{ from = \"8000::\", to = \"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\" }]",
    ] {
        let everybody = forbidding.replace("forbid", "allow").replace("address = [\"10.0.0.1\"]", all);
        assert!(
            wrong(&open.replace("[[api.operation]]", &everybody)).1.contains("no policy that checks who calls"),
            "{all}"
        );
    }
    for some in
        ["[\"0.0.0.0/1\", \"128.0.0.0/2\"]", "[\"0.0.0.0/1\", \"8000::/1\"]", "[\"0.0.0.1/32\", \"128.0.0.0/1\"]"]
    {
        let allowing = forbidding.replace("forbid", "allow").replace("[\"10.0.0.1\"]", some);
        assert!(read(&open.replace("[[api.operation]]", &allowing)).is_ok(), "{some}");
    }
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
fn credentials_are_in_fields_and_parameters_of_their_own() {
    let token = |more: &str| SOUND.replace("audiences = [", &format!("{more}\naudiences = ["));
    let key = |more: &str| {
        SOUND.replace("[[api.operation]]", &format!("[api.policies.subscription_key]\n{more}\n[[api.operation]]"))
    };
    for name in ["Host", "Connection", "Cookie", "DPoP", "Transfer-Encoding"] {
        for text in [token(&format!("header_name = \"{name}\"")), key(&format!("header = \"{name}\""))] {
            let (place, problem, _) = wrong(&text);
            assert_eq!((place, problem.as_str()), (format!("\"{name}\""), "this field says something else already"));
        }
    }
    for name in ["", "a b&c"] {
        for text in [token(&format!("query_parameter_name = \"{name}\"")), key(&format!("query = \"{name}\""))] {
            let (place, problem, _) = wrong(&text);
            assert_eq!((place, problem.as_str()), (format!("\"{name}\""), "this is no name of a parameter"));
        }
    }
    for sound in ["header_name = \"X-Token\"", "header_name = \"Authorization\"", "query_parameter_name = \"a.b_c\""] {
        assert!(read(&token(sound)).is_ok(), "{sound}");
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

#[test]
fn rules_that_would_let_everybody_in_or_nobody_are_refused() {
    let with = |rule: &str| SOUND.replace("[[api.operation]]", &format!("{rule}\n[[api.operation]]"));
    let cors = |rule: &str| with(&format!("[api.policies.cors]\n{rule}"));
    let of_api = |policy: &str, rule: &str| {
        with(&format!("[api.policies.{policy}]\ncalls = 5\nrenewal_period = 60\n[[api.policies.{policy}.api]]\n{rule}"))
    };
    let narrower = "name = \"orders\"\ncalls = 1\nrenewal_period = 1\n";
    let of_operation = |policy: &str, name: &str| {
        let operation = format!("[[api.policies.{policy}.api.operation]]\n");
        of_api(policy, &format!("{narrower}{operation}{}", narrower.replace("orders", name)))
    };
    let twice_of_api = |policy: &str| of_api(policy, &format!("{narrower}[[api.policies.{policy}.api]]\n{narrower}"));
    let of_key = |rule: &str| with(&format!("[[api.policies.quota_by_key]]\ncounter_key = [\"address\"]\n{rule}"));
    let by_key = |rule: &str| {
        with(&format!(
            "[[api.policies.rate_limit_by_key]]\ncalls = 5\nrenewal_period = 60\ncounter_key = [\"address\"]\n{rule}"
        ))
    };
    let one = "allowed_origins = [\"https://app.example\"]";
    for (text, place, problem) in [
        (cors("allowed_origins = []"), "[api.policies.cors]", "has nothing"),
        (cors("allowed_origins = [\"*\", \"https://app.example\"]"), "[api.policies.cors]", "`*` beside others"),
        (cors("allowed_origins = [\"null\"]"), "\"null\"", "every page in a sandbox"),
        (cors("allowed_origins = [\"https://*.example\"]"), "\"https://*.example\"", "stands for nothing within it"),
        (cors("allowed_origins = [\"*\"]\nallow_credentials = true"), "[api.policies.cors]", "act as the user"),
        (
            cors(&format!("{one}\nallow_credentials = true\nexpose_headers = [\"*\"]")),
            "[api.policies.cors]",
            "act as the user",
        ),
        (cors(&format!("{one}\nallowed_methods = [\"put\"]")), "\"put\"", "no method"),
        (cors(&format!("{one}\nallowed_headers = [\"x y\"]")), "\"x y\"", "no name of a field"),
        (
            format!("[policies.cors]\n{one}\n{}", cors(one)),
            "[api.policies.cors]",
            "a wider scope says already which origins",
        ),
        (
            format!("{SOUND}\n[[product]]\nname = \"gold\"\napis = [\"orders\"]\n[product.policies.cors]\n{one}\n"),
            "[product.policies.cors]",
            "a preflight has no key",
        ),
        (with("[api.policies.rate_limit]\ncalls = 0\nrenewal_period = 60"), "0", "nobody could call"),
        (with("[api.policies.rate_limit]\ncalls = 1\nrenewal_period = 301"), "301", "out of range"),
        (with("[api.policies.rate_limit]\ncalls = 1\nrenewal_period = 0"), "0", "out of range"),
        (by_key("increment_count = 6"), "6", "more than there is"),
        (by_key("increment_count = 0"), "0", "counts nothing"),
        (by_key("increment_statuses = []"), "[]", "no statuses"),
        (by_key("increment_statuses = [99]"), "[99]", "no statuses"),
        (by_key("increment_statuses = [200, 600]"), "[200, 600]", "no statuses"),
        (
            by_key("remaining_calls_header_name = \"Content-Length\""),
            "\"Content-Length\"",
            "says something else already",
        ),
        (
            by_key("total_calls_header_name = \"Access-Control-Allow-Origin\""),
            "\"Access-Control-Allow-Origin\"",
            "says something else already",
        ),
        (by_key("").replace("[\"address\"]", "[]"), "[]", "no part"),
        (by_key("").replace("\"address\"", "{ header = \"x y\" }"), "{ header = \"x y\" }", "no name of a field"),
        (with("[api.policies.quota]\nrenewal_period = 60"), "[api.policies.quota]", "says no number"),
        (with("[api.policies.quota]\ncalls = 0\nrenewal_period = 60"), "[api.policies.quota]", "nobody can call"),
        (with("[api.policies.quota]\ncalls = 1\nrenewal_period = -1"), "-1", "out of range"),
        (of_api("rate_limit", "name = \"order\"\ncalls = 1\nrenewal_period = 1"), "\"order\"", "no API `order`"),
        (of_api("rate_limit", "name = \"orders\"\ncalls = 0\nrenewal_period = 1"), "0", "nobody could call"),
        (of_api("rate_limit", "name = \"orders\"\ncalls = 1\nrenewal_period = 301"), "301", "out of range"),
        (of_api("quota", "name = \"order\"\ncalls = 1\nrenewal_period = 1"), "\"order\"", "no API `order`"),
        (of_api("quota", "name = \"orders\"\nrenewal_period = 1"), "[[api.policies.quota.api]]", "says no number"),
        (of_operation("rate_limit", "raed"), "\"raed\"", "`orders` has no operation `raed`"),
        (of_operation("quota", "raed"), "\"raed\"", "`orders` has no operation `raed`"),
        (twice_of_api("rate_limit"), "\"orders\"", "has a limit here already"),
        (twice_of_api("quota"), "\"orders\"", "has a limit here already"),
        (of_key("renewal_period = 0"), "[[api.policies.quota_by_key]]", "says no number"),
        (of_key("calls = 0\nrenewal_period = 0"), "[[api.policies.quota_by_key]]", "nobody can call"),
        (of_key("bandwidth = 0\nrenewal_period = 0"), "[[api.policies.quota_by_key]]", "nobody can call"),
        (of_key("calls = 1\nrenewal_period = 299"), "299", "out of range"),
        (of_key("calls = 1\nrenewal_period = -300"), "-300", "out of range"),
        (of_key("calls = 5\nrenewal_period = 0\nincrement_count = 6"), "6", "more than there is"),
        (of_key("bandwidth = 5\nrenewal_period = 0\nincrement_count = 0"), "0", "counts nothing"),
        (of_key("calls = 5\nrenewal_period = 0\nincrement_statuses = []"), "[]", "no statuses"),
        (of_key("calls = 5\nrenewal_period = 0").replace("[\"address\"]", "[]"), "[]", "no part"),
        (of_key("calls = 5\nrenewal_period = 300\nfirst_period_start = 2027-01-31"), "2027-01-31", "no moment"),
    ] {
        let (found, told, hint) = wrong(&text);
        assert!(told.contains(problem), "expected `{problem}`, got `{told}`");
        assert_eq!(found, place, "{told}");
        assert!(!hint.is_empty());
    }
    assert!(read(&format!("[policies.cors]\n{one}\n{}", with("[api.policies]\nremove = [\"cors\"]"))).is_ok());
}

#[test]
fn limits_and_origins_are_told() {
    let text = SOUND.replace(
        "[[api.operation]]",
        r#"[api.policies.cors]
allowed_origins = ["https://app.example"]
allow_credentials = true
[api.policies.rate_limit]
calls = 5
renewal_period = 60
[[api.policies.rate_limit.api]]
name = "orders"
calls = 2
renewal_period = 60
[[api.policies.rate_limit.api.operation]]
name = "read"
calls = 1
renewal_period = 30
[api.policies.quota]
calls = 1000
bandwidth = 40000
renewal_period = 3600
[[api.policies.quota.api]]
name = "orders"
calls = 500
renewal_period = 0
[[api.policies.quota_by_key]]
bandwidth = 10
renewal_period = 0
counter_key = ["subscription", { text = "a" }]
[[api.policies.rate_limit_by_key]]
calls = 10
renewal_period = 60
counter_key = ["address", { claim = "oid" }, { header = "X-Tenant" }]
[[api.operation]]"#,
    );
    let [operation] = read(&text).unwrap().effective().try_into().unwrap();
    let told: Vec<String> = operation.policies.iter().map(|told| format!("{}: {}", told.policy, told.text)).collect();
    assert_eq!(
        told,
        [
            "cors: pages of https://app.example, with cookies",
            "validate_jwt: a token of contoso for api://orders, give or take 60 s",
            "rate_limit: 5 calls in 60 s for each subscription; 2 calls in 60 s to orders; 1 calls in 30 s to orders/read",
            "quota: 1000 calls and 40000 KB in 3600 s for each subscription; 500 calls to orders, once",
            "rate_limit_by_key: 10 calls in 60 s for each address and claim `oid` and `X-Tenant`",
            "quota_by_key: 10 KB for each subscription and `a`, once",
        ]
    );
}

#[test]
fn a_tenants_check_names_one_tenant_and_an_audience() {
    let check = "[api.policies.validate_azure_ad_token]\nauthority = \"https://id.example\"\ntenant_id = \"t1\"\naudiences = [\"api://orders\"]";
    let with = |from: &str, to: &str| {
        assert!(check.contains(from), "{from}");
        let old = "[api.policies.validate_jwt]\nissuers = [\"contoso\"]\naudiences = [\"api://orders\"]";
        SOUND.replace(old, &check.replace(from, to))
    };
    assert!(read(&with("t1", "5b1d2a2e-3c0a-4d62-9d39-4f6b7b1f2c11")).is_ok());
    for (from, to, place, problem) in [
        ("t1", "common", "\"common\"", "tenants of strangers"),
        ("t1", "Organizations", "\"Organizations\"", "tenants of strangers"),
        ("t1", "contoso.example", "\"contoso.example\"", "no tenant's id"),
        ("t1", "{tenantid}", "\"{tenantid}\"", "no tenant's id"),
        ("t1", "t1/../t2", "\"t1/../t2\"", "no tenant's id"),
        ("t1", "", "\"\"", "no tenant's id"),
        ("https://id.example", "https://id.example/t1", "\"https://id.example/t1\"", "more than a host"),
        ("https://id.example", "https://id.example?x", "\"https://id.example?x\"", "more than a host"),
        ("https://id.example", "https://a@id.example", "\"https://a@id.example\"", "more than a host"),
        ("https://id.example", "id.example", "\"id.example\"", "no scheme"),
        ("audiences = [\"api://orders\"]", "", "[api.policies.validate_azure_ad_token]", "any API of the tenant"),
        (
            "tenant_id",
            "issuer_v1 = \"https://sts.example/t2/\"\ntenant_id",
            "\"https://sts.example/t2/\"",
            "has it in its path",
        ),
        (
            "tenant_id",
            "client_application_ids = []\ntenant_id",
            "[api.policies.validate_azure_ad_token]",
            "`client_application_ids` is empty",
        ),
    ] {
        let (found, told, _) = wrong(&with(from, to));
        assert!(told.contains(problem), "expected `{problem}`, got `{told}`");
        assert_eq!(found, place, "{told}");
    }
}

const SIGN_IN: &str = r#"
[[authority]]
name = "contoso"
metadata = "https://id.example/t1/v2.0/.well-known/openid-configuration"
client_id = "web"
secret = { env = "SECRET" }

[[authority]]
name = "bare"
token_endpoint = "https://id.example/token"
client_id = "web"
secret = { env = "SECRET" }

[sign_in]
origins = ["https://app.example"]
keys = [{ env = "SIGN_IN_KEY" }]
redirect_uris = ["https://shop.example/welcome"]
session_hours = 8
[[sign_in.provider]]
name = "aad"
authority = "contoso"
scopes = ["offline_access"]

[[upstream]]
name = "app"
url = "https://app.internal"

[[api]]
name = "app"
path = "/"
upstream = "app"
[api.policies.sign_in]
provider = "aad"
[[api.operation]]
name = "all"
method = "*"
path = "/*"
"#;

#[test]
fn sign_in_says_what_applies_and_each_of_its_mistakes_has_its_place() {
    let gateway = read(SIGN_IN).unwrap();
    let told = gateway.effective()[0].policies[0].clone();
    assert_eq!(
        (told.policy, told.text.as_str()),
        ("sign_in", "people who signed in by `aad`; others are sent to sign in")
    );
    for (from, to, place, problem) in [
        ("[\"https://app.example\"]", "[]", "[sign_in]", "nothing says where browsers find"),
        ("https://app.example", "http://app.example", "\"http://app.example\"", "anybody on the way could read"),
        ("https://app.example", "https://app.example/x", "\"https://app.example/x\"", "an origin is a scheme"),
        ("https://app.example", "app.example", "\"app.example\"", "this is no origin"),
        ("[{ env = \"SIGN_IN_KEY\" }]", "[]", "[sign_in]", "sessions have no key"),
        ("SIGN_IN_KEY", "SECRET", "{ env = \"SECRET\" }", "this is no key for sessions"),
        ("SIGN_IN_KEY", "NOTHING", "{ env = \"NOTHING\" }", "the variable NOTHING is not set"),
        ("https://shop.example/welcome", "https://shop.example", "\"https://shop.example\"", "no address to go on to"),
        ("https://shop.example/welcome", "//shop.example/", "\"//shop.example/\"", "no address to go on to"),
        ("session_hours = 8", "session_hours = 0", "0", "over at once"),
        ("session_hours = 8", "session_hours = 800", "800", "too long"),
        ("name = \"aad\"", "name = \"AAD\"", "\"AAD\"", "a path cannot have this name"),
        ("name = \"aad\"", "name = \"a/b\"", "\"a/b\"", "a path cannot have this name"),
        ("authority = \"contoso\"", "authority = \"other\"", "\"other\"", "there is no authority `other`"),
        ("authority = \"contoso\"", "authority = \"bare\"", "\"bare\"", "nothing says where users of `bare` sign in"),
        ("\"offline_access\"", "\"a b\"", "\"a b\"", "not one scope"),
        (
            "scopes = [",
            "access_tokens = { issuers = [], audiences = [\"a\"] }\nscopes = [",
            "{ issuers = [], audiences = [\"a\"] }",
            "no application signs in",
        ),
        ("provider = \"aad\"", "provider = \"google\"", "\"google\"", "there is no provider `google`"),
    ] {
        assert!(SIGN_IN.contains(from), "{from}");
        let (at, found, hint) = wrong(&SIGN_IN.replacen(from, to, 1));
        assert!(found.contains(problem) && !hint.is_empty(), "{to}: {found}");
        assert_eq!(at, place, "{found}");
    }
    let twice =
        SIGN_IN.replace("[[upstream]]", "[[sign_in.provider]]\nname = \"aad\"\nauthority = \"contoso\"\n[[upstream]]");
    assert!(wrong(&twice).1.contains("two providers `aad`"));
    let nobody =
        SIGN_IN.split("[sign_in]").next().unwrap().to_owned() + SIGN_IN.split("[\"offline_access\"]").nth(1).unwrap();
    assert_eq!(wrong(&nobody).1, "nobody signs users in");
    let again = SIGN_IN.replace("path = \"/*\"", "path = \"/*\"\n[api.operation.policies.sign_in]");
    assert!(wrong(&again).1.contains("a wider scope says already"), "{:?}", wrong(&again));
    let removed = again.replace(
        "[api.operation.policies.sign_in]",
        "[api.operation.policies]\nremove = [\"sign_in\"]\n[api.operation.policies.sign_in]\nunauthenticated = \"401\"",
    );
    assert_eq!(read(&removed).unwrap().effective()[0].policies[0].text, "people who signed in; others are refused");
}

const SHARED: &str = r#"
[shared_limits]
url = "rediss://limits.internal"
username = "gateway"
password = { env = "SECRET" }
prefix = "blue"
timeout_milliseconds = 20

[[upstream]]
name = "orders"
url = "https://orders.internal"

[[api]]
name = "orders"
path = "/"
upstream = "orders"
public = true
[api.policies.rate_limit]
calls = 5
renewal_period = 60
shared = true
[api.policies.quota]
calls = 50
renewal_period = 3600
shared = true
api = [{ name = "orders", bandwidth = 50, renewal_period = 1800 }]
[[api.policies.quota_by_key]]
calls = 50
renewal_period = 900
counter_key = ["address"]
shared = true
[[api.operation]]
name = "all"
method = "*"
path = "/*"
"#;

#[test]
fn limits_are_shared_where_that_is_said_and_each_mistake_about_it_has_its_place() {
    let told: Vec<_> = read(SHARED).unwrap().effective()[0].policies.iter().map(|told| told.text.clone()).collect();
    assert_eq!(
        told,
        [
            "5 calls in 60 s for each subscription, of all gateways",
            "50 calls in 3600 s for each subscription, of all gateways; 50 KB in 1800 s to orders",
            "50 calls in 900 s for each address, of all gateways",
        ]
    );
    let url = "rediss://limits.internal";
    for (to, problem) in [
        ("https://limits.internal", "another scheme than `rediss`"),
        ("limits.internal:6379", "another scheme than `rediss`"),
        ("rediss:///", "address"),
        ("rediss://:6379", "address"),
        ("rediss://gateway:open@limits.internal", "do not belong in the address"),
        ("rediss://limits.internal/0", "has a path or a query"),
        ("rediss://limits.internal?db=1", "has a path or a query"),
        ("redis://limits.internal", "asked over TLS, or on this machine"),
        ("valkey://10.0.0.7:6379", "asked over TLS, or on this machine"),
    ] {
        let (at, found, hint) = wrong(&SHARED.replacen(url, to, 1));
        assert!(found.contains(problem) && !hint.is_empty(), "{to}: {found}");
        assert_eq!(at, format!("\"{to}\""), "{found}");
    }
    for sound in ["valkeys://limits.internal:7000", "redis://localhost", "redis://[::1]:6380/", "valkey://127.0.0.1"] {
        assert!(read(&SHARED.replacen(url, sound, 1)).is_ok(), "{sound}");
    }
    for (from, to, place, problem) in [
        ("prefix = \"blue\"", "prefix = \"\"", "\"\"", "no prefix of names"),
        ("prefix = \"blue\"", "prefix = \"a b\"", "\"a b\"", "no prefix of names"),
        (
            "prefix = \"blue\"",
            "prefix = \"a234567890123456789012345678901234567890123456789012345678901234x\"",
            "\"a234567890123456789012345678901234567890123456789012345678901234x\"",
            "no prefix of names",
        ),
        ("milliseconds = 20", "milliseconds = 0", "0", "the time is out of range"),
        ("milliseconds = 20", "milliseconds = 10001", "10001", "the time is out of range"),
        ("SECRET", "NOTHING", "{ env = \"NOTHING\" }", "the variable NOTHING is not set"),
        ("password = { env = \"SECRET\" }", "", "\"gateway\"", "a name without a password logs nobody in"),
        ("renewal_period = 3600", "renewal_period = 0", "true", "never renewed is not shared"),
        ("renewal_period = 1800", "renewal_period = 0", "true", "never renewed is not shared"),
        ("renewal_period = 900", "renewal_period = 0", "true", "never renewed is not shared"),
    ] {
        assert!(SHARED.contains(from), "{from}");
        let (at, found, hint) = wrong(&SHARED.replacen(from, to, 1));
        assert!(found.contains(problem) && !hint.is_empty(), "{to}: {found}");
        assert_eq!(at, place, "{found}");
    }
    let nowhere = SHARED.split_once("[[upstream]]").map(|(_, rest)| format!("[[upstream]]{rest}")).unwrap();
    assert_eq!(wrong(&nowhere).1, "it is not said where limits are shared");
    assert!(read(&nowhere.replace("shared = true", "shared = false")).is_ok());
}
