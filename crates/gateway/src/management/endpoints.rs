//! What the management API has: requests are found here, rights are judged by it, and the reference is made of it.
use crate::canonical::query;
use crate::denial::Denial;
use decision::CheckId;
use http::{HeaderValue, Method, StatusCode, header};

/// Where the API begins.
pub(crate) const ROOT: &str = "/management/v1";

/// What a caller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Read,
    Manage,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Status,
    EffectivePolicy,
    Reload,
    Drain,
    Changes,
    ListProducts,
    ShowProduct,
    PutProduct,
    DeleteProduct,
    ProductUsage,
    ListSubscriptions,
    ShowSubscription,
    PutSubscription,
    PatchSubscription,
    DeleteSubscription,
    RegeneratePrimaryKey,
    RegenerateSecondaryKey,
    SubscriptionUsage,
}

/// The JSON that is taken, and given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Nothing,
    Product,
    ProductList,
    ProductGiven,
    Subscription,
    SubscriptionChange,
    SubscriptionList,
    SubscriptionGiven,
    SubscriptionKeys,
    Key,
    Usage,
    EffectivePolicies,
    ChangeList,
    Status,
}

/// A method and a path of the API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint {
    pub(crate) method: &'static str,
    /// Below [`ROOT`]; `{name}` is one segment.
    pub(crate) path: &'static str,
    pub(crate) right: Right,
    pub(super) action: Action,
    pub(super) summary: &'static str,
    /// What may stand in the query, and what it is.
    pub(super) parameters: &'static [(&'static str, &'static str)],
    pub(super) takes: Shape,
    pub(super) gives: Shape,
    /// The status of its success.
    pub(super) status: u16,
    /// Whether it changes a version of something, which `If-Match` names.
    pub(super) conditional: bool,
}

const LIST: &[(&str, &str)] =
    &[("$top", "How many, 1 to 1000; by default 100"), ("$skip", "How many are left out at the beginning")];
const WINDOWS: &[(&str, &str)] = &[
    ("interval", "`hour` (kept for 31 days) or `day` (kept for 400 days); by default `hour`"),
    ("from", "The first moment, in UTC; by default a day ago, or 30 days where the interval is a day"),
    ("to", "The moment after the last one, in UTC; by default now"),
];

const GET: Endpoint = Endpoint {
    method: "GET",
    path: "",
    right: Right::Read,
    action: Action::Status,
    summary: "",
    parameters: &[],
    takes: Shape::Nothing,
    gives: Shape::Nothing,
    status: 200,
    conditional: false,
};
const POST: Endpoint = Endpoint { method: "POST", right: Right::Manage, ..GET };
const DELETE: Endpoint = Endpoint { method: "DELETE", right: Right::Manage, status: 204, conditional: true, ..GET };
const PUT: Endpoint = Endpoint { method: "PUT", right: Right::Manage, conditional: true, ..GET };

/// All of them. What is not here is not answered.
pub(crate) const ENDPOINTS: [Endpoint; 18] = [
    Endpoint {
        path: "/status",
        action: Action::Status,
        summary: "How the gateway fares: operations, issuers' keys, the database",
        gives: Shape::Status,
        ..GET
    },
    Endpoint {
        path: "/effectivePolicy",
        action: Action::EffectivePolicy,
        summary: "Which policies apply to a request, and where they are written; without parameters, to every operation",
        parameters: &[("method", "The method of the request"), ("url", "Its path, or its whole address")],
        gives: Shape::EffectivePolicies,
        ..GET
    },
    Endpoint {
        path: "/changes",
        action: Action::Changes,
        summary: "Who changed what, the oldest first. Nothing is ever taken out of it",
        parameters: &[
            ("after", "The number of the last one that is known"),
            ("$top", "How many, 1 to 1000; by default 100"),
        ],
        gives: Shape::ChangeList,
        ..GET
    },
    Endpoint {
        path: "/reload",
        action: Action::Reload,
        summary: "Has the configuration read again, as SIGHUP does; where something is wrong with it, nothing changes",
        status: 204,
        ..POST
    },
    Endpoint {
        path: "/drain",
        action: Action::Drain,
        summary: "Ends the gateway, as SIGTERM does: no new connections, and time for the requests that are under way",
        status: 202,
        ..POST
    },
    Endpoint {
        path: "/products",
        action: Action::ListProducts,
        summary: "Products of the file and of the database, by name",
        parameters: LIST,
        gives: Shape::ProductList,
        ..GET
    },
    Endpoint {
        path: "/products/{name}",
        action: Action::ShowProduct,
        summary: "A product",
        gives: Shape::ProductGiven,
        ..GET
    },
    Endpoint {
        path: "/products/{name}",
        action: Action::PutProduct,
        summary: "Makes a product, or replaces the version that `If-Match` names",
        takes: Shape::Product,
        gives: Shape::ProductGiven,
        ..PUT
    },
    Endpoint {
        path: "/products/{name}",
        action: Action::DeleteProduct,
        summary: "Deletes a product that no subscription is to",
        ..DELETE
    },
    Endpoint {
        path: "/products/{name}/usage",
        action: Action::ProductUsage,
        summary: "What all subscriptions to a product used",
        parameters: WINDOWS,
        gives: Shape::Usage,
        ..GET
    },
    Endpoint {
        path: "/subscriptions",
        action: Action::ListSubscriptions,
        summary: "Subscriptions of the file and of the database, by name",
        parameters: LIST,
        gives: Shape::SubscriptionList,
        ..GET
    },
    Endpoint {
        path: "/subscriptions/{name}",
        action: Action::ShowSubscription,
        summary: "A subscription, without its keys",
        gives: Shape::SubscriptionGiven,
        ..GET
    },
    Endpoint {
        path: "/subscriptions/{name}",
        action: Action::PutSubscription,
        summary: "Makes a subscription, or replaces the version that `If-Match` names, whose keys stay. The answer has the two keys of a \
                  new one, which are shown this once",
        takes: Shape::Subscription,
        gives: Shape::SubscriptionGiven,
        ..PUT
    },
    Endpoint {
        method: "PATCH",
        path: "/subscriptions/{name}",
        action: Action::PatchSubscription,
        summary: "Changes what is sent of a subscription, as RFC 7396 has it, and leaves the rest",
        takes: Shape::SubscriptionChange,
        gives: Shape::SubscriptionGiven,
        ..PUT
    },
    Endpoint {
        path: "/subscriptions/{name}",
        action: Action::DeleteSubscription,
        summary: "Deletes a subscription, and its keys with it",
        ..DELETE
    },
    Endpoint {
        path: "/subscriptions/{name}/regeneratePrimaryKey",
        action: Action::RegeneratePrimaryKey,
        summary: "Replaces the primary key. The answer has the new one, which is shown this once; the old one opens nothing any more",
        gives: Shape::Key,
        ..POST
    },
    Endpoint {
        path: "/subscriptions/{name}/regenerateSecondaryKey",
        action: Action::RegenerateSecondaryKey,
        summary: "Replaces the secondary key. The answer has the new one, which is shown this once; the old one opens nothing any more",
        gives: Shape::Key,
        ..POST
    },
    Endpoint {
        path: "/subscriptions/{name}/usage",
        action: Action::SubscriptionUsage,
        summary: "What a subscription used",
        parameters: WINDOWS,
        gives: Shape::Usage,
        ..GET
    },
];

/// What is asked for, and the name in its path. `HEAD` is asked for as `GET` is.
pub(super) fn find(method: &Method, path: &str) -> Result<(&'static Endpoint, Option<String>), Box<Denial>> {
    let below = path.strip_prefix(ROOT).unwrap_or_default();
    let here = || ENDPOINTS.iter().filter_map(|endpoint| Some((endpoint, matched(endpoint.path, below)?)));
    let wanted = if method == Method::HEAD { "GET" } else { method.as_str() };
    if let Some(found) = here().find(|(endpoint, _)| endpoint.method == wanted) {
        return Ok(found);
    }
    let with_head = |method: &'static str| if method == "GET" { "GET, HEAD" } else { method };
    let allowed: Vec<&str> = here().map(|(endpoint, _)| with_head(endpoint.method)).collect();
    if allowed.is_empty() {
        let message = "the management API has no such path; its reference lists those that it has";
        return Err(Box::new(Denial::of(CheckId::ManagementFound).message(message)));
    }
    let allow = allowed.join(", ");
    let denial = Denial::of(CheckId::ManagementRequest)
        .status(StatusCode::METHOD_NOT_ALLOWED)
        .message(format!("this path takes {allow}"));
    Err(Box::new(match HeaderValue::try_from(allow) {
        Ok(value) => denial.field(header::ALLOW, value),
        Err(_) => denial,
    }))
}

/// Whether a path is meant, and the name in it.
#[expect(clippy::option_option, reason = "whether it matches, and whether there is a name in it")]
fn matched(pattern: &str, path: &str) -> Option<Option<String>> {
    let (mut given, mut name) = (path.split('/'), None);
    for segment in pattern.split('/') {
        let text = given.next()?;
        if segment == "{name}" {
            // A `+` in a path is itself.
            name = Some(query::decoded(&text.replace('+', "%2B")).filter(|text| !text.is_empty())?);
        } else if segment != text {
            return None;
        }
    }
    given.next().is_none().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_found_by_its_method_and_its_one_spelling() {
        let found = |method: &str, path: &str| {
            find(&method.parse().unwrap(), path).ok().map(|(endpoint, name)| (endpoint.action, name))
        };
        let base = ROOT;
        assert_eq!(found("GET", &format!("{base}/status")), Some((Action::Status, None)));
        let gold = Some((Action::ShowProduct, Some("a gold+one".to_owned())));
        assert_eq!(found("GET", &format!("{base}/products/a%20gold+one")), gold);
        for path in
            ["", "/", "/status/", "//status", "/products/", "/products/a/b", "/products/%zz", "/Status", "/../status"]
        {
            assert_eq!(found("GET", &format!("{base}{path}")), None, "{path}");
        }
        assert_eq!(found("GET", "/status"), None);
        assert_eq!(found("DELETE", &format!("{base}/status")), None);
        assert_eq!(found("HEAD", &format!("{base}/status")), Some((Action::Status, None)));
        assert_eq!(found("HEAD", &format!("{base}/reload")), None);
    }

    #[test]
    fn whatever_changes_something_needs_the_right_to() {
        for endpoint in ENDPOINTS {
            assert_eq!(endpoint.right == Right::Manage, endpoint.method != "GET", "{endpoint:?}");
        }
    }
}
