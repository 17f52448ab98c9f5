//! What is taken and given, in API Management's words where it has them.
use crate::store::{State, StoredProduct, StoredSubscription};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// A product as it is to be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Product")]
pub(super) struct ProductBody {
    /// Its name for people.
    pub(super) display_name: Option<String>,
    /// Its APIs, by their names in the file.
    pub(super) apis: Vec<String>,
    /// Whether its APIs are called with a key: `true`. Products without stand in the file, where what checks their callers is seen.
    #[serde(default = "yes")]
    pub(super) subscription_required: bool,
}

const fn yes() -> bool {
    true
}

/// A subscription as it is to be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Subscription")]
pub(super) struct SubscriptionBody {
    /// `/products/{name}`, `/apis/{name}`, or `/apis` for all of them.
    pub(super) scope: String,
    /// Its name for people.
    pub(super) display_name: Option<String>,
    /// Whose it is.
    pub(super) owner_id: Option<String>,
    /// Whether its keys open anything.
    #[serde(default)]
    pub(super) state: State,
    /// The moment that the windows of its quotas are counted from; by default the one in which it was made.
    #[schemars(with = "Option<Moment>")]
    pub(super) start_date: Option<String>,
    /// The moment from which on its keys open nothing.
    #[schemars(with = "Option<Moment>")]
    pub(super) expiration_date: Option<String>,
}

/// What is to be changed of a subscription: `null` takes a name, an owner or an end away, and nothing else.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "SubscriptionChange")]
#[expect(clippy::option_option, reason = "what is not sent is not what is null")]
pub(super) struct SubscriptionChange {
    /// `/products/{name}`, `/apis/{name}`, or `/apis` for all of them.
    #[serde(deserialize_with = "there")]
    #[schemars(with = "String")]
    pub(super) scope: Option<String>,
    /// Its name for people.
    #[serde(deserialize_with = "sent")]
    pub(super) display_name: Option<Option<String>>,
    /// Whose it is.
    #[serde(deserialize_with = "sent")]
    pub(super) owner_id: Option<Option<String>>,
    /// Whether its keys open anything.
    #[serde(deserialize_with = "there")]
    #[schemars(with = "State")]
    pub(super) state: Option<State>,
    /// The moment that the windows of its quotas are counted from.
    #[serde(deserialize_with = "there")]
    #[schemars(with = "Moment")]
    pub(super) start_date: Option<String>,
    /// The moment from which on its keys open nothing.
    #[serde(deserialize_with = "sent")]
    #[schemars(with = "Option<Moment>")]
    pub(super) expiration_date: Option<Option<String>>,
}

#[expect(clippy::option_option, reason = "what is not sent is not what is null")]
fn sent<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// What is always there, so that `null` is no word for it.
fn there<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// A moment such as `2027-01-31T00:00:00Z`.
#[derive(JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, reason = "its shape is what counts")]
pub(super) struct Moment(#[schemars(extend("format" = "date-time"))] String);

/// Where something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum Source {
    /// In the configuration, where alone it can be changed.
    File,
    Database,
}

/// A product.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProductGiven {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) display_name: Option<String>,
    pub(super) apis: Vec<String>,
    pub(super) subscription_required: bool,
    pub(super) source: Source,
    /// When it was made, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_date: Option<String>,
    /// What a change of it names in `If-Match`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<String>,
}

/// A subscription.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubscriptionGiven {
    pub(super) name: String,
    pub(super) scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner_id: Option<String>,
    pub(super) state: State,
    pub(super) source: Source,
    /// When it was made, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) start_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expiration_date: Option<String>,
    /// What a change of it names in `If-Match`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<String>,
}

/// A new subscription, and its keys. They are kept as digests, so that nobody can be shown them again.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubscriptionKeys {
    #[serde(flatten)]
    pub(super) subscription: SubscriptionGiven,
    pub(super) primary_key: String,
    pub(super) secondary_key: String,
}

/// A new key. It is kept as a digest, so that nobody can be shown it again.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Key {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) primary_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secondary_key: Option<String>,
}

/// What was used.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageGiven {
    /// The width of the windows.
    pub(super) interval: &'static str,
    /// Windows in which something was used, the oldest first.
    pub(super) value: Vec<Used>,
}

/// What was used in one window.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Used {
    /// Its first moment.
    pub(super) from: String,
    /// Calls that were let by.
    pub(super) calls: u64,
    /// Calls that were refused though their key was good.
    pub(super) refused: u64,
    /// Bytes of bodies, both ways.
    pub(super) bytes: u64,
}

/// What applies to an operation.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EffectivePolicy {
    /// `orders/read`.
    pub(super) operation: String,
    /// First the widest scope.
    pub(super) policies: Vec<PolicyGiven>,
    /// The same for calls with a key of a product.
    pub(super) products: Vec<OfProduct>,
    /// The credential that the service is sent.
    pub(super) onward: String,
    pub(super) upstream: String,
}

/// What applies in the context of a product.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfProduct {
    pub(super) name: String,
    pub(super) policies: Vec<PolicyGiven>,
}

/// A policy in effect.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Policy")]
pub(super) struct PolicyGiven {
    /// Where it is written.
    pub(super) scope: String,
    pub(super) policy: &'static str,
    /// What it says.
    pub(super) text: String,
}

/// How the gateway fares.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Status")]
pub(super) struct StatusGiven {
    pub(super) operations: usize,
    pub(super) products: usize,
    pub(super) subscriptions: usize,
    /// Issuers of callers' tokens, and whether their keys are at hand.
    pub(super) issuers: Vec<IssuerGiven>,
    pub(super) database: DatabaseGiven,
}

/// An issuer.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Issuer")]
pub(super) struct IssuerGiven {
    pub(super) issuer: String,
    pub(super) ready: bool,
}

/// The database.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Database")]
pub(super) struct DatabaseGiven {
    /// The number of the newest change that requests are judged by.
    pub(super) sequence: i64,
    /// Whether the latest write was taken.
    pub(super) writable: bool,
    /// Calls that are in no sum, since the database took nothing for too long.
    pub(super) usage_lost: u64,
}

fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

impl From<&StoredProduct> for ProductGiven {
    fn from(product: &StoredProduct) -> Self {
        Self {
            name: product.name.to_string(),
            display_name: product.display_name.clone(),
            apis: product.apis.iter().map(ToString::to_string).collect(),
            subscription_required: true,
            source: Source::Database,
            created_date: Some(product.created.to_string()),
            etag: Some(etag(product.version)),
        }
    }
}

impl From<&StoredSubscription> for SubscriptionGiven {
    fn from(subscription: &StoredSubscription) -> Self {
        Self {
            name: subscription.name.to_string(),
            scope: subscription.to.text(),
            display_name: subscription.display_name.clone(),
            owner_id: subscription.owner.clone(),
            state: subscription.state,
            source: Source::Database,
            created_date: Some(subscription.created.to_string()),
            start_date: Some(subscription.started.to_string()),
            expiration_date: subscription.expires.map(|end| end.to_string()),
            etag: Some(etag(subscription.version)),
        }
    }
}
