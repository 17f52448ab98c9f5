//! Policies: each is one file with its configuration, its rule and its tests, and one line in the table here.
mod asking;
mod authorize_by;
mod bearer;
mod check_header;
pub(crate) mod cors;
pub(crate) mod dpop;
mod introspect;
mod ip_filter;
mod narrower;
mod quota;
mod quota_by_key;
mod rate_limit;
mod rate_limit_by_key;
mod require;
mod required_claims;
mod send_request;
mod set_header;
mod sign_in;
mod subscription_key;
mod validate_azure_ad_token;
mod validate_client_certificate;
mod validate_jwt;

pub(crate) use bearer::{Bearer, TokenCheck, any_valid_token};
pub(crate) use ip_filter::network;
pub(crate) use sign_in::{Check as SignInCheck, SignedIn};
pub(crate) use subscription_key::{Admission, SubscriptionKey};
pub(crate) use validate_client_certificate::{Certificate, ToldCertificates};

use crate::call::Call;
use crate::denial::Denial;
use crate::settings::{SettingsError, Spanned, World};
use decision::contract::Route;
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

/// When a policy is asked. All of a phase pass before the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Where the request comes from, and what it looks like.
    Admit,
    /// Who calls.
    Identify,
    /// What they may do.
    Authorize,
    /// How often.
    Limit,
    /// How much: what another limit refuses does not use it up.
    Spend,
    /// What the service is sent, after the request was permitted.
    Rewrite,
}

/// What a policy says at once.
pub(crate) enum Decided {
    Pass,
    Deny(Box<Denial>),
    /// It has to fetch something first: ask [`Policy::settle`].
    Wait,
}

impl Decided {
    /// What it comes to: a decision that is not made is a refusal.
    fn outcome(self) -> Result<(), Box<Denial>> {
        match self {
            Self::Pass => Ok(()),
            Self::Deny(denial) => Err(denial),
            Self::Wait => Err(Box::new(Denial::of(decision::CheckId::KeysAvailable))),
        }
    }
}

/// What takes its time.
pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One rule over requests.
pub(crate) trait Policy: Send + Sync {
    fn phase(&self) -> Phase;

    /// Decides without waiting, where it can.
    fn decide(&self, call: &mut Call) -> Decided;

    /// What it looks at in a call that it has decided, for people who watch.
    fn checks(&self, _: &Call) -> Vec<decision::Check> {
        Vec::new()
    }

    /// Whether it looks at [`Call::body`].
    fn looks_at_bodies(&self) -> bool {
        false
    }

    /// Decides, with whatever has to be fetched. Asked only after [`Decided::Wait`].
    fn settle<'a>(&'a self, call: &'a mut Call) -> Pending<'a, Result<(), Box<Denial>>> {
        Box::pin(async move { self.decide(call).outcome() })
    }
}

/// What a policy's table adds to the operations of its scope.
#[derive(Clone)]
pub(crate) enum Part {
    Rule(Arc<dyn Policy>),
    Token(Arc<TokenCheck>),
    /// What a verified token has to allow, and a condition.
    Demand(Arc<Route>, Option<Arc<dyn Policy>>),
    Subscription(Arc<SubscriptionKey>),
    Cors(Arc<cors::Cors>),
    /// How proofs of possession are judged.
    Dpop(Arc<guard::Dpop>),
    SignIn(Arc<SignInCheck>),
}

/// A policy's configuration.
pub(crate) trait Table: fmt::Debug {
    /// What it adds; `at` is where it stands in the file.
    fn part(&self, at: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError>;

    /// Whether it keeps callers out who cannot show that they may call.
    fn identifies(&self) -> bool {
        false
    }

    /// What applies, in a line: `deputize gateway effective` prints it.
    fn told(&self) -> String;
}

/// A table of the file, its policy's name and its place.
pub(crate) struct Entry<'a> {
    pub(crate) name: &'static str,
    pub(crate) at: Range<usize>,
    pub(crate) table: &'a dyn Table,
}

macro_rules! policies {
    (once: $($once:ident),*; many: $($many:ident),*;) => {
        /// The policies of one scope.
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        #[schemars(rename = "policies")]
        pub(crate) struct Tables {
            /// Policies of wider scopes that do not apply here.
            pub(crate) remove: Vec<Spanned<String>>,
            /// Policies of this scope that narrower ones cannot remove.
            pub(crate) mandatory: Vec<Spanned<String>>,
            $($once: Option<Spanned<$once::Table>>,)*
            $($many: Vec<Spanned<$many::Table>>,)*
        }

        impl Tables {
            /// Every policy that stands there.
            pub(crate) fn entries(&self) -> Vec<Entry<'_>> {
                let mut all = Vec::new();
                $(all.extend(self.$once.iter().map(|table| entry(stringify!($once), table)));)*
                $(all.extend(self.$many.iter().map(|table| entry(stringify!($many), table)));)*
                all
            }
        }

        /// The name of every policy.
        pub(crate) const NAMES: &[&str] = &[$(stringify!($once),)* $(stringify!($many),)*];
    };
}

policies! {
    once: cors, ip_filter, subscription_key, validate_client_certificate, sign_in, validate_azure_ad_token, validate_jwt, introspect, dpop, require, authorize_by, rate_limit, quota;
    many: check_header, send_request, rate_limit_by_key, quota_by_key, set_header;
}

impl Tables {
    /// What an operation is described to require: any of these scopes, and all of those.
    pub(crate) fn requiring(at: &Range<usize>, scopes: Vec<String>, scopes_all: Vec<String>) -> Self {
        let table = require::Table::of_scopes(scopes, scopes_all);
        Self { require: Some(Spanned::new(at.clone(), table)), ..Self::default() }
    }
}

fn entry<'a, T: Table>(name: &'static str, table: &'a Spanned<T>) -> Entry<'a> {
    Entry { name, at: table.span(), table: table.get_ref() }
}
