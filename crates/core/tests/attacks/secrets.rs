//! R17: no refusal and no record tells a secret.
use crate::world::estate::{password, secret, upn};
use crate::world::{VERIFIER, WEB_REDIRECT, World, altered, app, obo, request};
use deputize_core::token_endpoint::Refusal;
use oauth::TokenResponse;

fn tells(answer: Result<TokenResponse, Refusal>) -> String {
    let refusal = answer.unwrap_err();
    format!("{refusal:?} {}", serde_json::to_string(&refusal.body).unwrap())
}

#[test]
fn r_17_no_refusal_and_no_record_holds_a_secret() {
    let world = World::new();
    let browser = world.sign_in("ada");
    let scope = "api://orders/access_as_user offline_access openid";
    let code = world.code(&browser, "web", scope);
    let tokens = world.redeem("web", &code).unwrap();
    let (access, refresh) = (tokens.access_token.expose(), tokens.refresh_token.as_ref().unwrap().expose());
    let used = world.code(&browser, "web", scope);
    world.redeem("web", &used).unwrap();
    let daemon = app("daemon").to_string();
    let tampered = format!("{}x", &access[..access.len() - 1]);
    let mut told = vec![
        tells(world.token(&[
            ("client_id", &daemon),
            ("client_secret", "canary-wrong"),
            ("grant_type", "client_credentials"),
        ])),
        tells(world.token(&[
            ("client_id", &daemon),
            ("client_secret", &secret("web")),
            ("grant_type", "client_credentials"),
        ])),
        tells(world.token(&[
            ("client_id", &daemon),
            ("client_assertion", "canary-assertion"),
            ("grant_type", "client_credentials"),
        ])),
        tells(world.redeem("web", &used)),
        tells(world.redeem("rival", &code)),
        tells(world.token_as(
            "web",
            &[
                ("grant_type", "authorization_code"),
                ("code", "canary-code"),
                ("redirect_uri", WEB_REDIRECT),
                ("code_verifier", VERIFIER),
            ],
        )),
        tells(world.token_as("rival", &[("grant_type", "refresh_token"), ("refresh_token", refresh)])),
        tells(world.token_as("web", &[("grant_type", "refresh_token"), ("refresh_token", "canary-refresh")])),
        tells(world.token_as("billing", &obo(access, "api://orders/access_as_user"))),
        tells(world.token_as("orders", &obo(&tampered, "api://billing/Invoices.Read"))),
        tells(world.token_as("orders", &obo(access, "api://billing/Invoices.Approve"))),
        tells(world.token_as("orders", &obo(access, "api://nowhere/x"))),
    ];
    told.push(format!("{:?}", world.try_sign_in(&upn("ada"), "canary-typed").err()));
    told.push(format!("{:?}", world.userinfo(&tokens.access_token)));
    told.push(format!(
        "{:?}",
        world.authorize(
            &altered(&request("web", scope), &[("response_type", "token"), ("id_token_hint", access)]),
            &browser
        )
    ));
    world.ledger.read(|ledger| told.push(format!("{:?}", ledger.audit)));
    let secrets =
        [code.as_str(), &used, access, &tampered, refresh, VERIFIER, &browser.cookie, &password("ada"), "canary"];
    for text in &told {
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert!(!text.contains(access.rsplit('.').next().unwrap()), "a signature in {text}");
    }
}

#[test]
fn r_17_no_debug_form_holds_a_secret() {
    let world = World::new();
    let tokens = world.tokens("ada", "web", "api://orders/access_as_user offline_access openid");
    let told = format!("{tokens:?}");
    for secret in
        [Some(&tokens.access_token), tokens.refresh_token.as_ref(), tokens.id_token.as_ref()].into_iter().flatten()
    {
        assert!(!told.contains(secret.expose()), "{told}");
    }
}
