//! `on_behalf_of`: the user's token in exchange for one for the service.
use super::{Credential, bearer, refused};
use crate::call::Permitted;
use crate::denial::Denial;
use client::{Ask, Client, Error};
use decision::CheckId;

pub(super) async fn acquire(client: &Client, target: &str, permitted: &Permitted) -> Result<Credential, Box<Denial>> {
    let call = permitted.call();
    // Only a token that was verified is presented; the configuration demands that one is.
    let Some((principal, guard)) = &call.principal else {
        return Err(Box::new(Denial::of(CheckId::TokenPresent)));
    };
    if !principal.is_user() {
        let challenge = oauth::challenge::Challenge::bearer()
            .with("error", CheckId::UserRequired.entry().error)
            .with("error_description", CheckId::UserRequired.entry().fix);
        return Err(Box::new(Denial::of(CheckId::UserRequired).challenge(&challenge)));
    }
    let ask = Ask::on_behalf_of(principal.token(), target).in_trace(call.request.headers());
    match client.ask(&ask).await {
        Ok(answered) => bearer(&answered.token),
        // The caller has to meet it: the gateway is the middle tier, and hands it on.
        Err(Error::ClaimsChallenge { claims, .. }) => Err(Box::new(Denial::from(guard.challenge(&claims)))),
        Err(error) => Err(Box::new(refused(&error, Some(client.profile())))),
    }
}
