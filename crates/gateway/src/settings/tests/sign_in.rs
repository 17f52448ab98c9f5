//! Sign-in.
use super::*;

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
