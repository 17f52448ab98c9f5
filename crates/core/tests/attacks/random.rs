//! Requests that nobody would write: good ones with parameters of every kind put in and out at random. Whatever comes of them, some things hold.
use crate::world::estate::{CONTOSO, FABRIKAM, secret};
use crate::world::{
    PHONE_REDIRECT, VERIFIER, WEB_REDIRECT, World, altered, app, challenge, claims, form, obo, request,
};
use decision::CheckId;
use deputize_core::authorize::{Answer, Browser};
use deputize_core::client_auth::Basic;
use oauth::{CLIENT_ASSERTION_JWT_BEARER, Form, Secret};
use proptest::prelude::*;
use proptest::sample::Index;

const CLIENTS: [&str; 7] = ["web", "phone", "gadget", "strict", "orders", "daemon", "rival"];
const SCOPES: [&str; 18] = [
    "openid",
    "openid offline_access",
    "api://orders/access_as_user offline_access openid",
    "api://orders/.default",
    "api://billing/Invoices.Read",
    "api://billing/.default",
    "api://billing/.default openid profile offline_access",
    "api://billing/Invoices.Approve",
    "api://vault/Vault.Read",
    "api://legacy/.default",
    "api://billing/Invoices.Read api://orders/access_as_user",
    "/",
    "//",
    ".default",
    "api://",
    "\u{feff}openid",
    "a\"b",
    "   ",
];

/// Odd texts that are tried everywhere.
const ODD: [&str; 8] = ["", " ", "null", "../..", "a.b.c", "\u{202e}x", "{}", "🦀"];

struct Pools {
    world: World,
    browser: Browser,
    /// Requests that are granted as they are.
    good: Vec<Form>,
    texts: Vec<(&'static str, Vec<String>)>,
}

fn pools() -> Pools {
    let world = World::new();
    let browser = world.sign_in("ada");
    let scope = "api://orders/access_as_user offline_access openid";
    let (mut codes, mut refresh, mut assertions) = (Vec::new(), Vec::new(), Vec::new());
    for name in ["web", "phone", "gadget", "strict"] {
        let answer = world.redeem(name, &world.code(&browser, name, scope)).unwrap();
        assertions.extend([answer.access_token, answer.id_token.unwrap()].map(|token| token.expose().to_owned()));
        refresh.push(answer.refresh_token.unwrap().expose().to_owned());
        codes.extend([world.code(&browser, name, scope), world.code(&browser, name, "openid profile")]);
    }
    let app_only =
        world.token_as("daemon", &[("grant_type", "client_credentials"), ("scope", "api://orders/.default")]).unwrap();
    assertions.push(app_only.access_token.expose().to_owned());
    let down =
        world.obo("orders", &Secret::new(&*assertions[0]), "api://billing/Invoices.Read offline_access").unwrap();
    assertions.push(down.access_token.expose().to_owned());
    refresh.push(down.refresh_token.unwrap().expose().to_owned());
    let as_client = |name: &str, pairs: &[(&str, &str)]| {
        let form = form(pairs).with("client_id", &app(name).to_string());
        if matches!(name, "phone" | "gadget") { form } else { form.with("client_secret", &secret(name)) }
    };
    let mut good = vec![
        as_client("daemon", &[("grant_type", "client_credentials"), ("scope", "api://billing/.default")]),
        as_client("orders", &obo(&assertions[0], "api://billing/Invoices.Read offline_access")),
        as_client("orders", &obo(&assertions[2], "api://vault/Vault.Read openid")),
        as_client("orders", &[("grant_type", "refresh_token"), ("refresh_token", &refresh[4])]),
    ];
    let redirects = [WEB_REDIRECT, PHONE_REDIRECT, "http://127.0.0.1:7000/cb", WEB_REDIRECT];
    for (n, name) in ["web", "phone", "gadget", "strict"].into_iter().enumerate() {
        good.push(as_client(name, &[("grant_type", "refresh_token"), ("refresh_token", &refresh[n])]));
        for code in &codes[2 * n..2 * n + 2] {
            let redeem = [
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", redirects[n]),
                ("code_verifier", VERIFIER),
            ];
            good.push(as_client(name, &redeem));
        }
    }
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let texts = vec![
        (
            "grant_type",
            own(&[
                "authorization_code",
                "refresh_token",
                "client_credentials",
                "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "urn:ietf:params:oauth:grant-type:jwt-bearer",
            ]),
        ),
        ("client_id", CLIENTS.map(|name| app(name).to_string()).into()),
        ("client_secret", CLIENTS.map(secret).into()),
        ("client_assertion", assertions.clone()),
        ("client_assertion_type", own(&[CLIENT_ASSERTION_JWT_BEARER])),
        ("code", codes),
        ("redirect_uri", own(&[WEB_REDIRECT, PHONE_REDIRECT, "http://127.0.0.1:7000/cb"])),
        ("code_verifier", own(&[VERIFIER])),
        ("refresh_token", refresh),
        ("assertion", assertions),
        ("requested_token_use", own(&["on_behalf_of"])),
        ("requested_token_type", own(&["urn:ietf:params:oauth:token-type:access_token"])),
        ("scope", own(&SCOPES)),
        ("resource", own(&["api://billing", "api://orders", "https://nowhere.example"])),
        (
            "claims",
            own(&[r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#, r#"{"access_token":{"nbf":{}}}"#]),
        ),
        ("client_info", own(&["1"])),
    ];
    Pools { world, browser, good, texts }
}

/// What is changed in a good request: which parameter, how, and to what.
type Changes = Vec<(Index, u8, Index)>;

fn changes() -> impl Strategy<Value = Changes> {
    proptest::collection::vec((any::<Index>(), 0_u8..10, any::<Index>()), 0..5)
}

fn mutate(good: &Form, texts: &[(&'static str, Vec<String>)], changes: &Changes) -> Form {
    changes.iter().fold(good.clone(), |form, (which, kind, index)| {
        let (name, others) = &texts[which.index(texts.len())];
        match kind {
            0 => altered(&form, &[(name, "")]),
            1 => altered(&form, &[(name, ODD[index.index(ODD.len())])]),
            _ => altered(&form, &[(name, &others[index.index(others.len())])]),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_token_request_of_any_mixture_is_answered_and_gives_nobody_more_than_theirs(
        tries in proptest::collection::vec((any::<Index>(), changes(), any::<bool>(), any::<Index>()), 40),
    ) {
        let Pools { world, browser, good, texts } = pools();
        let session_ends = world.session(&browser).expires;
        for (which, changes, basic, index) in tries {
            let form = mutate(&good[which.index(good.len())], &texts, &changes);
            let named = form.value("client_id").unwrap_or_default();
            let known = CLIENTS.iter().find(|name| app(name).to_string() == named);
            let basic = (basic && index.index(8) == 0)
                .then(|| Basic { client_id: named.to_owned(), secret: Secret::new(ODD[index.index(ODD.len())]) });
            let (contoso, fabrikam) = (CONTOSO.to_string(), FABRIKAM.to_string());
            let tenant = ["contoso.example", &contoso, "contoso.example", &contoso, "organizations", "common", &fabrikam, "x"][index.index(8)];
            match world.token_at(tenant, &form, basic.as_ref()) {
                Err(refusal) => prop_assert!(refusal.status < 500, "{:?}: {:?}", form.encode(), refusal),
                Ok(answer) => {
                    let told = form.encode();
                    let all = claims(&answer.access_token);
                    let client = all.get("azp").or(all.get("appid")).and_then(|id| id.as_str());
                    prop_assert_eq!(client, form.value("client_id"), "{}", told);
                    prop_assert!(tenant != "x", "{}", &told);
                    // What stands in Fabrikam too may act there as itself, and for nobody of Contoso.
                    let there = tenant == fabrikam;
                    prop_assert_eq!(&all["tid"], if there { &fabrikam } else { &contoso }, "{}", &told);
                    let as_itself = all["idtyp"] == "app" && matches!(known, Some(&"web" | &"orders"));
                    prop_assert!(!there || (as_itself && !all.contains_key("roles")), "{}", &told);
                    let expires = all["exp"].as_i64().unwrap();
                    prop_assert!(expires > world.now().0 && expires <= session_ends.0, "{}", &told);
                    let public = matches!(known, Some(&"phone" | &"gadget"));
                    let acr = all.get("azpacr").or(all.get("appidacr")).and_then(|acr| acr.as_str());
                    prop_assert_eq!(acr, Some(if public { "0" } else { "1" }), "{}", &told);
                    if all["idtyp"] == "app" {
                        prop_assert_eq!(form.value("grant_type"), Some("client_credentials"), "{}", &told);
                        prop_assert!(!all.contains_key("scp") && !all.contains_key("aio") && !public, "{}", &told);
                        prop_assert!(answer.refresh_token.is_none() && answer.id_token.is_none(), "{}", &told);
                    } else {
                        prop_assert_eq!(&all["oid"], &crate::world::user("ada").to_string(), "{}", &told);
                        let chain = world.chain(&answer.access_token);
                        prop_assert_eq!(form.value("client_id"), Some(&*chain.actors[0].to_string()), "{}", &told);
                        prop_assert_eq!(Some(chain.session), browser.session.as_ref().map(|session| session.id), "{}", &told);
                        let on_behalf = form.value("grant_type").is_some_and(|grant| grant.ends_with("jwt-bearer"));
                        prop_assert!(!on_behalf || (known == Some(&"orders") && chain.hops() == 1), "{}", &told);
                        let essential = form.value("claims").is_some_and(|claims| claims.contains("acrs"));
                        prop_assert!(!essential, "an essential context that she never satisfied: {}", &told);
                    }
                }
            }
        }
    }

    #[test]
    fn an_authorization_request_of_any_mixture_goes_to_registered_addresses_only(
        tries in proptest::collection::vec((any::<Index>(), changes(), any::<[bool; 3]>()), 40),
    ) {
        let Pools { world, browser, .. } = pools();
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let texts = vec![
            ("client_id", CLIENTS.map(|name| app(name).to_string()).into()),
            ("redirect_uri", own(&[WEB_REDIRECT, PHONE_REDIRECT, "http://127.0.0.1:7000/cb", "http://localhost:1", "https://evil.test/"])),
            ("response_type", own(&["code", "code", "code", "token"])),
            ("scope", own(&SCOPES)),
            ("code_challenge", vec![challenge(VERIFIER)]),
            ("code_challenge_method", own(&["S256", "S256", "plain"])),
            ("state", own(&["s", "\u{1f980}&iss=evil"])),
            ("nonce", own(&["n"])),
            ("prompt", own(&["none", "login", "consent", "none consent"])),
            ("max_age", own(&["0", "100", "4294967296"])),
            ("response_mode", own(&["query", "fragment", "form_post"])),
            ("claims", own(&[r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#, "["])),
            ("resource", own(&["api://billing"])),
            ("request", own(&["x"])),
            ("client_info", own(&["1"])),
            ("login_hint", own(&["<script>"])),
        ];
        for (which, changes, [signed_in, fresh, agreed]) in tries {
            let name = ["web", "phone", "gadget", "strict"][which.index(4)];
            let asking = mutate(&request(name, SCOPES[which.index(SCOPES.len())]), &texts, &changes);
            let browser = Browser { fresh, agreed, ..if signed_in { browser.clone() } else { Browser::default() } };
            let answer = world.authorize(&asking, &browser);
            let to = match &answer {
                Answer::Redirect(to) | Answer::Page(_, Some(to)) => to,
                Answer::Page(denial, None) => {
                    prop_assert!(denial.status() < 500 && denial.id() != CheckId::InteractionForged);
                    continue;
                }
                Answer::SignIn(_) => {
                    prop_assert!(!signed_in || asking.mentions("prompt") || asking.mentions("max_age"));
                    continue;
                }
                Answer::SecondFactor(_) => {
                    prop_assert!(false, "no policy demands it");
                    continue;
                }
                Answer::Accounts(_) => {
                    prop_assert!(false, "the browser holds one account, and which one is settled");
                    continue;
                }
                Answer::AskAdmin(_) | Answer::Asked(_) => {
                    prop_assert!(false, "no tenant here takes requests");
                    continue;
                }
                Answer::Consent(page) => {
                    prop_assert!(signed_in && !page.sections.is_empty());
                    continue;
                }
            };
            let registered = [WEB_REDIRECT, PHONE_REDIRECT, "http://127.0.0.1:7000/cb", "http://localhost:1"];
            prop_assert!(registered.contains(&to.uri.as_str()), "{}", asking.encode());
            prop_assert_eq!(to.parameters.values("iss").count(), 1);
            prop_assert_eq!(to.parameters.value("state"), asking.value("state"));
            prop_assert!(to.parameters.mentions("code") != to.parameters.mentions("error"));
            if to.parameters.mentions("code") {
                prop_assert!(signed_in && !asking.mentions("request"));
                prop_assert!(!asking.value("claims").is_some_and(|claims| claims.contains("acrs")));
                let public = to.uri != WEB_REDIRECT;
                prop_assert!(!public || asking.value("code_challenge_method") == Some("S256"), "{}", asking.encode());
            }
        }
    }
}

#[test]
fn what_the_mixtures_start_from_is_granted() {
    // Else the properties above would hold of refusals alone.
    let Pools { world, good, .. } = pools();
    for form in good {
        let answer = world.token_at("contoso.example", &form, None);
        assert!(answer.is_ok(), "{}: {answer:?}", form.encode());
    }
}
