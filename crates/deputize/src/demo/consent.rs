//! `deputize demo --step-up`, the second part: an application, its API and the API behind that come into another
//! organization, by one dialog. From real answers only, as in [`super::story`].
use super::browser::Browser;
use super::story::{Teller, payload};
use super::world::{TRAVEL, World};
use crate::failure::Failure;
use crate::output::{printable, say};
use client::{AuthorizationRequest, Client};
use oauth::{Form, Secret};
use serde_json::Value;

/// Plays the clients, and tells of them.
pub(super) async fn tell(world: &World, teller: &Teller<'_>) -> Result<(), Failure> {
    let paint = &teller.paint;
    let authority = format!("{}/{}", world.host, world.fabrikam_id);
    let (travel, trips) = (teller.client(&world.travel, &authority), teller.client(&world.trips, &authority));
    say("");
    say(paint.bold("One dialog for three parties"));
    say("");
    say(
        "  Erin of Fabrikam ──▶ Travel ──▶ Trips ──▶ Fares: all three registered by Contoso, and none known at Fabrikam",
    );
    say("");
    let before = trips.client_credentials("api://fares/.default").await;
    let code = before.err().and_then(|error| error.body().and_then(|body| body.error_codes.first().copied()));
    if code == Some(700_016) {
        teller.step(1, "Before: whoever is not known at Fabrikam gets nothing there");
        say(format_args!("      {} AADSTS700016", paint.red("400 from the authority, to Trips:")));
    } else {
        teller.step(1, "An earlier run brought them in, and this data folder remembers it");
    }
    teller.step(2, "Erin signs in to Travel, which asks for api://trips/.default; Trips knows Travel");
    let (token, dialog) = sign_in(&travel, world).await?;
    for line in dialog.iter().skip(1) {
        say(format_args!("      {} {}", paint.cyan("│"), printable(line)));
    }
    let claims = payload(&token)?;
    teller.claims("her token for Trips", &claims, &["aud", "tid", "oid", "azp", "scp"]);
    teller.step(3, "Trips exchanges it for one for Fares, which she allowed in the same dialog");
    let wanted = ["api://fares/Fares.Read"];
    let exchanged = trips.on_behalf_of(&token, &wanted, None).await;
    let exchanged = exchanged.map_err(|error| Failure::plain(error.to_string()))?;
    let claims = payload(&exchanged.access_token)?;
    teller.claims("what Fares sees", &claims, &["aud", "tid", "oid", "azp", "scp"]);
    let is = |member: &str, wanted: &str| claims.get(member).and_then(Value::as_str) == Some(wanted);
    if is("tid", &world.fabrikam_id) && is("oid", &world.erin.oid) && is("azp", &world.trips.app_id) {
        return Ok(());
    }
    Err(Failure::plain("Fares would see other claims than it should"))
}

/// The code flow as Travel does it, in the browser that Erin has. Answers with what the dialog said.
async fn sign_in(travel: &Client, world: &World) -> Result<(Secret, Vec<String>), Failure> {
    let unexpected = |error: client::Error| Failure::plain(error.to_string());
    let scopes = ["openid", "profile", "api://trips/.default"];
    let request = AuthorizationRequest { redirect_uri: TRAVEL, scopes: &scopes, ..AuthorizationRequest::default() };
    let (url, pending) = travel.authorization_code_url(request).map_err(unexpected)?;
    let arrived = Browser::new(&world.ca_pem)?.sign_in(&url, TRAVEL, &world.erin).await?;
    let answer = Form::decode(arrived.query.as_bytes())
        .map_err(|_| Failure::plain("the authority's answer to the browser is unreadable"))?;
    let sign_in = travel.redeem_code(pending, &answer).await.map_err(unexpected)?;
    Ok((sign_in.token.access_token, arrived.dialog))
}
