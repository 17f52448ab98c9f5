//! Sign-in at the edge, for browsers: the paths and fields of App Service's built-in authentication ("Easy Auth"), over any
//! OpenID provider.
//!
//! A session is kept by its browser, sealed, in cookies: a restart keeps it and so does every replica with the same keys, and
//! nothing has to be stored or shared. What that costs is told in the guide: which sessions were ended before their time is known
//! to the process that ended them, so a cookie that somebody copied is good at others until it ends.
mod client_directed;
mod cookies;
mod endpoints;
mod keys;
mod landing;
pub(crate) mod navigation;
mod origin;
mod page;
mod pending;
mod principal;
mod provider;
mod session;
mod spent;
mod table;

pub(crate) use cookies::take_out;
pub(crate) use navigation::{again, is_from_elsewhere, login};
pub(crate) use origin::Origin;
pub(crate) use page::{Retry, refusal};
pub(crate) use provider::{Provider, Stale};
pub(crate) use session::{By, Session, Signed, ZUMO};
pub(crate) use spent::Spent;
pub(crate) use table::Table;

use crate::Canonical;
use crate::limits::{Limits, Rate};
use client::Random;
use decision::Timestamp;
use keys::Keys;
use std::sync::Arc;

/// Below this path everything is the gateway's own.
const PREFIX: &str = "/.auth/";

/// Who signs users in, and how their sessions are kept.
pub(crate) struct SignIn {
    origins: Vec<Origin>,
    providers: Vec<Arc<Provider>>,
    keys: Keys,
    /// Addresses elsewhere that a sign-in or a sign-out may go on to.
    elsewhere: Vec<String>,
    /// How long a session lasts, and how long after its end it can still be refreshed, in seconds.
    lasts: i64,
    grace: i64,
    random: Arc<dyn Random>,
    /// What counts requests, and knows what was used or ended before its time: all configurations share it.
    limits: Arc<Limits>,
    /// How often one address may ask for what costs a provider something.
    rate: Rate,
}

impl SignIn {
    /// Where browsers find the gateway, if it is asked there.
    pub(crate) fn origin(&self, request: &Canonical) -> Option<&Origin> {
        self.origins.iter().find(|origin| origin.is_asked(request))
    }

    /// Whether the gateway itself answers a request, and as which of its addresses.
    pub(crate) fn serves(&self, request: &Canonical) -> Option<&Origin> {
        if request.path().starts_with(PREFIX) { self.origin(request) } else { None }
    }

    /// The provider of this name.
    pub(crate) fn provider(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.iter().find(|provider| provider.name == name)
    }

    /// The provider that is meant where none is named: the first.
    pub(crate) fn usual(&self) -> Option<&Arc<Provider>> {
        self.providers.first()
    }

    /// The session that a request comes with, also one that is over: whoever asks looks when it ends. Nothing where it was
    /// ended, or is not of this site.
    pub(crate) fn session(&self, request: &Canonical, origin: &Origin, now: Timestamp) -> Option<(Session, By)> {
        let headers = request.headers();
        let found = match headers.get_all(&ZUMO).iter().collect::<Vec<_>>().as_slice() {
            [] => {
                // A sibling host can plant the session, but over https not the one beside it.
                let beside = cookies::only(headers, &origin.cookie(cookies::BESIDE))?;
                let session = Session::open(&self.keys, &origin.session(), &cookies::sealed(headers, beside)?)?;
                (spent::same(beside, &session.id), session, By::Cookie)
            }
            [field] => (true, Session::open(&self.keys, &origin.token(), field.to_str().ok()?)?, By::Field),
            _ => return None,
        };
        let (is_of_browser, session, by) = found;
        (is_of_browser && !self.spent().has(&session.id, now)).then_some((session, by))
    }

    /// What was used or ended before its time.
    fn spent(&self) -> &Spent {
        &self.limits.signed_in
    }
}
