//! `deputize demo --step-up`: an API in the middle of a chain wants more of the user, and the client brings it. From real
//! answers only, as in [`super::story`].
use super::browser::{Answer, Browser, Device};
use super::consent;
use super::story::{Teller, Told, expect, payload};
use super::world::{CALLBACK, World};
use crate::data::{self, Data};
use crate::failure::Failure;
use crate::output::{printable, say};
use client::AuthorizationRequest;
use decision::Clock;
use http::{Method, StatusCode, header};
use oauth::challenge::Challenge;
use oauth::{Form, Secret};
use serde_json::Value;
use std::sync::Arc;

/// Where Ada's device keeps its secret, so that a kept data folder can be used again.
const DEVICE: &str = "ada.second-factor";

/// Plays the client, and tells of it.
pub(super) async fn tell(world: &World, clock: &Arc<dyn Clock>, folder: &Data) -> Result<Told, Failure> {
    let teller = Teller::new(world, clock)?;
    let mut browser = Browser::new(&world.ca_pem)?;
    let mut device = Device::holding(folder.read(DEVICE)?.map(|secret| secret.trim().to_owned()));
    let paint = &teller.paint;
    say(paint.bold("deputize demo --step-up: paying takes more than a password"));
    say("");
    say("  Ada ──▶ Web ──▶ Orders ──▶ Billing, where POST /invoices/{id}/pay demands the authentication context c1");
    say("  and a policy of the tenant says what c1 takes: multi-factor authentication");
    say("");
    let (weak, pages) = sign_in(&teller, &mut browser, &mut device, None).await?;
    teller.step(1, format_args!("Ada signs in to Web ({pages}), and Web lists her invoices through Orders"));
    let invoice = first_invoice(&teller, &browser, &weak).await?;
    let url = format!("{}/orders/{invoice}/pay", world.orders_url());
    teller.step(2, format_args!("Web asks to pay one: POST {url}"));
    teller
        .note("Orders exchanges her token; Billing wants c1; Orders asks the authority with Billing's challenge; the");
    teller
        .note("authority says interaction_required: only Ada can do it. Orders tells Web so, in both forms there are");
    let answer = browser.call(Method::POST, &url, weak.expose()).await?;
    expect(&answer, StatusCode::UNAUTHORIZED, "Orders, asked to pay,")?;
    let claims = challenged(&teller, &answer)?;
    teller.step(3, format_args!("Web sends Ada's browser back with {}", paint.bold(printable(&claims))));
    let (strong, pages) = sign_in(&teller, &mut browser, &mut device, Some(&claims)).await?;
    if let Some(secret) = &device.secret {
        data::replace(&folder.path(DEVICE), secret.as_bytes())?;
    }
    teller.note(&format!("she is still signed in, and only shows the rest: {pages}"));
    teller.claims("her new token for Orders", &payload(&strong)?, &["aud", "oid", "scp", "acrs"]);
    teller.step(4, "Web asks again, with the new token");
    let body = expect(&browser.call(Method::POST, &url, strong.expose()).await?, StatusCode::OK, "Orders")?;
    let seen = body.get("claims").cloned().unwrap_or_default();
    teller.claims("Billing sees Ada, through Orders", &seen, &["oid", "scp", "azp", "acrs"]);
    let satisfied = seen.pointer("/acrs/0").and_then(Value::as_str) == Some("c1");
    if !satisfied || body.pointer("/paid/id").and_then(Value::as_str) != Some(&invoice) {
        return Err(Failure::plain("Billing took the payment without the context that it demands"));
    }
    say(format_args!("      {} {} is paid", paint.green("200"), printable(&invoice)));
    teller.step(5, "Her token from before is worth what it was: a thief of it gains nothing");
    let answer = browser.call(Method::POST, &url, weak.expose()).await?;
    expect(&answer, StatusCode::UNAUTHORIZED, "Orders, given the older token,")?;
    say(format_args!("      {} {}", paint.red(answer.status.as_str()), paint.bold("context.sufficient")));
    consent::tell(world, &teller).await?;
    say("");
    say(paint.green("Everything went as it should."));
    Ok(Told::Whole)
}

/// The code flow as Web does it, in the browser that Ada has.
async fn sign_in(
    teller: &Teller<'_>,
    browser: &mut Browser,
    device: &mut Device,
    claims: Option<&str>,
) -> Result<(Secret, String), Failure> {
    let unexpected = |error: client::Error| Failure::plain(error.to_string());
    let scopes = ["openid", "profile", "api://orders/access_as_user"];
    let request =
        AuthorizationRequest { redirect_uri: CALLBACK, scopes: &scopes, claims, ..AuthorizationRequest::default() };
    let (url, pending) = teller.web.authorization_code_url(request).map_err(unexpected)?;
    let arrived = browser.sign_in_with(&url, CALLBACK, &teller.world.ada, device).await?;
    let answer = Form::decode(arrived.query.as_bytes())
        .map_err(|_| Failure::plain("the authority's answer to the browser is unreadable"))?;
    let sign_in = teller.web.redeem_code(pending, &answer).await.map_err(unexpected)?;
    Ok((sign_in.token.access_token, arrived.pages.join(", ")))
}

async fn first_invoice(teller: &Teller<'_>, browser: &Browser, token: &Secret) -> Result<String, Failure> {
    let url = format!("{}/orders", teller.world.orders_url());
    let body = expect(&browser.call(Method::GET, &url, token.expose()).await?, StatusCode::OK, "Orders")?;
    let id = body.pointer("/invoices/invoices/0/id").and_then(Value::as_str);
    id.map(str::to_owned).ok_or_else(|| Failure::plain("Billing answered without invoices"))
}

/// Shows the challenges, and answers with the claims of Entra's.
fn challenged(teller: &Teller<'_>, answer: &Answer) -> Result<String, Failure> {
    let headers = answer.headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<Challenge> = headers.filter_map(|text| Challenge::parse(text).ok()).flatten().collect();
    say(format_args!("      {}", teller.paint.red(answer.status.as_str())));
    for challenge in &all {
        let shown = ["error", "claims", "acr_values"].iter().filter_map(|name| Some((name, challenge.param(name)?)));
        let shown: Vec<String> = shown.map(|(name, value)| format!("{name}=\"{}\"", printable(value))).collect();
        say(format_args!("      WWW-Authenticate: Bearer {}", shown.join(", ")));
    }
    let with = |error: &str| all.iter().find(|challenge| challenge.param("error") == Some(error));
    let rfc = with("insufficient_user_authentication").and_then(|challenge| challenge.param("acr_values"));
    if rfc != Some("c1") {
        return Err(Failure::plain("the challenge of RFC 9470 is missing"));
    }
    let entra = with("insufficient_claims").and_then(Challenge::claims);
    entra.ok_or_else(|| Failure::plain("the challenge with claims is missing"))
}
