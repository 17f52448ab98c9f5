//! `subscription_key`: calls with a key of an active subscription. It comes before every other policy, since the key decides
//! which product's policies apply.
use super::Part;
use crate::Canonical;
use crate::canonical::query::{self, Several};
use crate::denial::Denial;
use crate::routes::Operation;
use crate::settings::{SettingsError, Spanned, World, credential_field, parameter_name};
use crate::store::Store;
use crate::subscriptions::{ProductId, Subscriptions};
use decision::{CheckId, Timestamp};
use http::HeaderName;
use oauth::challenge::Challenge;
use schemars::JsonSchema;
use serde::Deserialize;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Calls with a key of an active subscription, in a field or a parameter. Which key it is decides which product's policies apply.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "subscription_key")]
pub(crate) struct Table {
    /// The field that carries it.
    header: Spanned<String>,
    /// The parameter that is looked at where the field is absent.
    query: Spanned<String>,
    /// Whether a call without a key is refused, if no open product has the API.
    required: bool,
    /// Whether the service is sent the key too.
    forward: bool,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            header: Spanned::new(0..0, "Ocp-Apim-Subscription-Key".to_owned()),
            query: Spanned::new(0..0, "subscription-key".to_owned()),
            required: true,
            forward: false,
        }
    }
}

impl super::Table for Table {
    fn part(&self, _: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        let header = credential_field(&self.header)?;
        world.secret(header.as_str());
        Ok(Part::Subscription(Arc::new(SubscriptionKey {
            header,
            written: self.header.get_ref().clone(),
            query: parameter_name(&self.query)?,
            required: self.required,
            forward: self.forward,
        })))
    }

    fn identifies(&self) -> bool {
        self.required
    }

    fn told(&self) -> String {
        let optional = if self.required { "" } else { ", where there is one" };
        format!("a key in `{}`, or in the parameter `{}`{optional}", self.header.get_ref(), self.query.get_ref())
    }
}

/// The rule.
pub(crate) struct SubscriptionKey {
    header: HeaderName,
    /// The same as it is written, for people.
    written: String,
    query: String,
    required: bool,
    forward: bool,
}

/// A key, and where it was shown.
enum Shown<'a> {
    InField(&'a str),
    InQuery(&'a str),
}

impl<'a> Shown<'a> {
    /// What the key may be. In a query it is escaped, unless somebody wrote a `+` of it as it is.
    fn spellings(self) -> [Option<Cow<'a, str>>; 2] {
        match self {
            Self::InField(key) => [Some(Cow::Borrowed(key)), None],
            Self::InQuery(key) => {
                let decoded = query::decoded(key).filter(|decoded| decoded != key);
                [Some(Cow::Borrowed(key)), decoded.map(Cow::Owned)]
            }
        }
    }
}

/// In whose context a call is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Admission {
    /// Whose policies apply too.
    pub(crate) product: Option<ProductId>,
    /// A product of the database, which has no policies.
    pub(crate) stored_product: Option<Arc<str>>,
    /// The subscription whose key was shown.
    pub(crate) subscription: Option<Arc<str>>,
    /// When that began.
    pub(crate) started: Option<Timestamp>,
}

impl SubscriptionKey {
    /// Decides on a call of this API.
    pub(crate) fn admit(
        &self,
        request: &Canonical,
        known: &Subscriptions,
        stored: Option<&Store>,
        operation: &Operation,
        now: Timestamp,
    ) -> Result<Admission, Box<Denial>> {
        let api = operation.api;
        let find =
            |key: &[u8]| known.find(key, api, now).or_else(|| stored?.find(key, api, &operation.api_name, known, now));
        let decided = match self.shown(request) {
            Err(Several) => Err(CheckId::SubscriptionKeyValid),
            Ok(Some(key)) => match key.spellings().into_iter().flatten().find_map(|key| find(key.as_bytes())) {
                Some(admission) => Ok(admission),
                // It may be a key that has not been fetched.
                None if known.is_waiting() => return Err(Box::new(Denial::not_at_hand())),
                None => Err(CheckId::SubscriptionKeyValid),
            },
            Ok(None) => match known.open_product(api) {
                Some(product) => Ok(Admission { product: Some(product), ..Admission::default() }),
                None if self.required => Err(CheckId::SubscriptionKeyPresent),
                None => Ok(Admission::default()),
            },
        };
        decided.map_err(|check| {
            let message = if check == CheckId::SubscriptionKeyPresent { MISSING } else { INVALID };
            let challenge = Challenge::of("AzureApiManagementKey")
                .with("realm", request.host())
                .with("name", &self.written)
                .with("type", "header");
            Box::new(Denial::of(check).message(message).challenge(&challenge))
        })
    }

    /// The parameter counts only where the field is absent.
    fn shown<'a>(&self, request: &'a Canonical) -> Result<Option<Shown<'a>>, Several> {
        let mut lines = request.headers().get_all(&self.header).iter();
        match (lines.next(), lines.next()) {
            (None, _) => query::value(request.query(), &self.query).map(|found| found.map(Shown::InQuery)),
            (Some(line), None) => line.to_str().map(|key| Some(Shown::InField(key))).map_err(|_| Several),
            (Some(_), Some(_)) => Err(Several),
        }
    }

    /// Takes the key out of what the service is sent.
    pub(crate) fn take_out(&self, request: &mut Canonical) {
        if !self.forward {
            request.headers_mut().remove(&self.header);
            request.take_parameter(&self.query);
        }
    }

    /// The field that carries the key, where the service is to see it.
    pub(crate) fn forwarded(&self) -> Option<&HeaderName> {
        self.forward.then_some(&self.header)
    }
}

const MISSING: &str = "Access denied due to missing subscription key. Make sure to include subscription key when making \
    requests to this API.";
const INVALID: &str = "Access denied due to invalid subscription key. Make sure to provide a valid key for an active \
    subscription.";
