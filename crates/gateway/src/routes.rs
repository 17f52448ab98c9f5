//! Which operation a request is for. What applies to it was put together when the configuration was read.
use crate::onward::Onward;
use crate::policy::cors::Cors;
use crate::policy::{Policy, SubscriptionKey, TokenCheck};
use crate::stream::Stream;
use crate::subscriptions::{ApiId, ProductId};
use crate::telemetry::Counted;
use crate::upstream::Upstream;
use guard::Dpop;
use http::{HeaderName, Method};
use std::collections::HashMap;
use std::sync::Arc;

/// One operation of an API, and all that applies to it.
pub(crate) struct Operation {
    pub(crate) api: ApiId,
    /// The name of the API.
    pub(crate) api_name: Arc<str>,
    /// `orders/read`, for people and logs.
    pub(crate) name: Arc<str>,
    pub(crate) pattern: Pattern,
    pub(crate) subscription: Option<Arc<SubscriptionKey>>,
    /// What pages of other origins may do.
    pub(crate) cors: Option<Arc<Cors>>,
    /// What applies to calls that no product brings.
    pub(crate) rules: Rules,
    /// What applies to calls in the context of a product.
    pub(crate) by_product: HashMap<ProductId, Rules>,
    /// Whose token fields and parameters are taken out, whoever calls.
    pub(crate) tokens: Vec<Arc<TokenCheck>>,
    /// Where proofs of possession are taken.
    pub(crate) dpop: Option<Arc<Dpop>>,
    pub(crate) onward: Onward,
    /// The same, for people.
    pub(crate) onward_told: String,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) counted: Arc<Counted>,
    /// The part of the path that is the API's, without a slash at its end.
    pub(crate) prefix: Arc<str>,
    /// Fields that look like an identity, and are forwarded all the same.
    pub(crate) forwarded: Vec<HeaderName>,
    /// Where the metadata of its API is.
    pub(crate) document: Option<Arc<str>>,
    /// Where its requests and answers are streams.
    pub(crate) stream: Option<Arc<Stream>>,
    /// Whether a policy looks at what callers send beside the head.
    pub(crate) looks_at_bodies: bool,
}

impl Operation {
    /// What applies to a call in this context.
    pub(crate) fn rules(&self, product: Option<ProductId>) -> &Rules {
        product.and_then(|id| self.by_product.get(&id)).unwrap_or(&self.rules)
    }
}

/// Policies in the order of their phases.
#[derive(Clone, Default)]
pub(crate) struct Rules {
    pub(crate) before: Vec<Asked>,
    /// Those that change what the service is sent.
    pub(crate) rewrites: Vec<Arc<dyn Policy>>,
    /// What applies and from where, for people.
    pub(crate) told: Vec<Told>,
}

/// A policy that is asked, and its name.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) name: &'static str,
    pub(crate) policy: Arc<dyn Policy>,
}

/// One policy in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Where it is written: `global`, `product gold`, `api orders` or `operation orders/read`.
    pub scope: String,
    /// Its name.
    pub policy: &'static str,
    /// What it says.
    pub text: String,
}

/// A method and a path: `/exact`, `/with/{parameter}` or `/prefix/*`, which is the prefix too. A slash at the end makes no
/// difference, to a pattern or to a request: services mostly do not make one either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// `None` for every method.
    method: Option<Method>,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Exact(String),
    Parameter,
    Rest,
}

impl Pattern {
    /// Reads one; `None` for what is none.
    pub(crate) fn read(method: &str, path: &str) -> Option<Self> {
        let method = match method {
            "*" => None,
            _ if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') => return None,
            _ => Some(method.parse().ok()?),
        };
        let mut segments = Vec::new();
        let mut texts = split(path)?.peekable();
        while let Some(text) = texts.next() {
            let is_last = texts.peek().is_none();
            segments.push(match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                _ if text == "*" && is_last => Segment::Rest,
                Some(name)
                    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) =>
                {
                    Segment::Parameter
                }
                None if !text.is_empty() && !text.contains('*') && is_canonical(text) => {
                    Segment::Exact(text.to_owned())
                }
                _ => return None,
            });
        }
        Some(Self { method, segments })
    }

    /// Whether a path below the API's own is meant.
    fn matches(&self, method: &Method, path: &str) -> bool {
        let same = match &self.method {
            None => true,
            Some(own) => own == method || (*own == Method::GET && *method == Method::HEAD),
        };
        let Some(mut given) = split(path).filter(|_| same) else { return false };
        for segment in &self.segments {
            match (segment, given.next()) {
                (Segment::Rest, _) => return true,
                (Segment::Parameter, Some(text)) if !text.is_empty() => {}
                (Segment::Exact(own), Some(text)) if own == text => {}
                _ => return false,
            }
        }
        given.next().is_none()
    }

    /// The most exact comes first: a text before a parameter before the rest, and a method before all of them. `HEAD` is before `GET`,
    /// which is for it too where nothing else is.
    pub(crate) fn order(&self, other: &Self) -> std::cmp::Ordering {
        let rank = |segment: &Segment| match segment {
            Segment::Exact(_) => 0,
            Segment::Parameter => 1,
            Segment::Rest => 2,
        };
        // A pattern that ends is more exact than one that goes on with the rest.
        let ranks = |pattern: &Self| pattern.segments.iter().map(rank).chain([1]).collect::<Vec<_>>();
        let of_method = |pattern: &Self| match &pattern.method {
            Some(method) if *method == Method::HEAD => 0,
            Some(_) => 1,
            None => 2,
        };
        ranks(self).cmp(&ranks(other)).then_with(|| of_method(self).cmp(&of_method(other)))
    }

    /// Whether both are about the very same requests.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self == other
    }
}

/// The segments of a path, without an empty one at the end.
fn split(path: &str) -> Option<std::str::Split<'_, char>> {
    let rest = path.strip_prefix('/').or(path.is_empty().then_some(""))?;
    let mut segments = rest.strip_suffix('/').unwrap_or(rest).split('/');
    if rest.is_empty() {
        segments.next();
    }
    Some(segments)
}

/// Whether a text is what a canonical path has: a pattern of another spelling would match nothing.
pub(crate) fn is_canonical(segment: &str) -> bool {
    let path = format!("/{segment}");
    crate::canonical_path(&path).is_ok_and(|canonical| canonical == path)
}

/// All operations, by host and by the path of their API.
#[derive(Default)]
pub(crate) struct Routes {
    by_host: HashMap<String, Vec<Api>>,
    /// The APIs of any host.
    anywhere: Vec<Api>,
    all: Vec<Arc<Operation>>,
}

struct Api {
    prefix: Arc<str>,
    operations: Vec<Arc<Operation>>,
}

impl Routes {
    /// Adds the operations of an API.
    pub(crate) fn add(&mut self, host: Option<String>, prefix: &Arc<str>, mut operations: Vec<Arc<Operation>>) {
        operations.sort_by(|a, b| a.pattern.order(&b.pattern));
        self.all.extend(operations.iter().cloned());
        let apis = match host {
            Some(host) => self.by_host.entry(host).or_default(),
            None => &mut self.anywhere,
        };
        apis.push(Api { prefix: Arc::clone(prefix), operations });
        apis.sort_by_key(|api| std::cmp::Reverse(api.prefix.len()));
    }

    /// The operation that a request is for. An API of the host comes before one of any host, and the longer path before the
    /// shorter; the operations of the others do not count then.
    pub(crate) fn find(&self, host: &str, method: &Method, path: &str) -> Option<&Arc<Operation>> {
        let of_host = self.by_host.get(host).map(Vec::as_slice).unwrap_or_default();
        let (api, rest) =
            of_host.iter().chain(&self.anywhere).find_map(|api| Some((api, below(path, &api.prefix)?)))?;
        api.operations.iter().find(|operation| operation.pattern.matches(method, rest))
    }

    /// Every operation.
    pub(crate) fn all(&self) -> &[Arc<Operation>] {
        &self.all
    }
}

/// The part of a path below another one.
pub(crate) fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(method: &str, path: &str) -> Pattern {
        Pattern::read(method, path).unwrap()
    }

    #[test]
    fn a_pattern_means_what_it_says() {
        for (method, path, asked, matches) in [
            ("GET", "/orders", "GET /orders", true),
            ("GET", "/orders", "HEAD /orders", true),
            ("GET", "/orders", "GET /orders/", true),
            ("GET", "/orders/", "GET /orders", true),
            ("GET", "/orders", "POST /orders", false),
            ("GET", "/orders", "GET /Orders", false),
            ("GET", "/orders", "GET /orders/7", false),
            ("GET", "/orders/{id}", "GET /orders/7", true),
            ("GET", "/orders/{id}", "GET /orders", false),
            ("GET", "/orders/{id}", "GET /orders/", false),
            ("GET", "/orders/{id}", "GET /orders/7/lines", false),
            ("*", "/orders/*", "DELETE /orders/7/lines", true),
            ("*", "/orders/*", "GET /orders", true),
            ("*", "/orders/*", "GET /orders/", true),
            ("*", "/orders/*", "GET /ordersx", false),
            ("*", "/*", "GET /", true),
            ("*", "/*", "GET ", true),
            ("GET", "/", "GET /", true),
            ("GET", "/", "GET ", true),
            ("GET", "/", "GET /a", false),
        ] {
            let (verb, target) = asked.split_once(' ').unwrap();
            assert_eq!(
                pattern(method, path).matches(&verb.parse().unwrap(), target),
                matches,
                "{method} {path} {asked}"
            );
        }
    }

    #[test]
    fn a_pattern_that_could_match_nothing_is_none() {
        for (method, path) in [
            ("get", "/a"),
            ("", "/a"),
            ("GET", "a"),
            ("GET", "/a/../b"),
            ("GET", "/a//b"),
            ("GET", "/a/*/b"),
            ("GET", "/a*"),
            ("GET", "/{}"),
            ("GET", "/{a"),
            ("GET", "/a{b}"),
            ("GET", "/a%2fb"),
            ("GET", "/%61"),
            ("GET", "/a;b"),
            ("GET", "/a?b"),
        ] {
            assert_eq!(Pattern::read(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn the_most_exact_pattern_comes_first() {
        let mut all = [
            ("*", "/*"),
            ("GET", "/{a}"),
            ("GET", "/a/*"),
            ("*", "/a"),
            ("GET", "/a"),
            ("HEAD", "/a"),
            ("GET", "/a/{b}"),
            ("GET", "/a/b"),
        ]
        .map(|(method, path)| (pattern(method, path), format!("{method} {path}")));
        all.sort_by(|a, b| a.0.order(&b.0));
        let names: Vec<&str> = all.iter().map(|(_, name)| name.as_str()).collect();
        let place = |name: &str| names.iter().position(|n| *n == name).unwrap();
        for (first, second) in [
            ("HEAD /a", "GET /a"),
            ("GET /a", "* /a"),
            ("* /a", "GET /a/*"),
            ("GET /a/b", "GET /a/{b}"),
            ("GET /a/{b}", "GET /a/*"),
            ("GET /a", "GET /{a}"),
            ("GET /{a}", "* /*"),
            ("GET /a/*", "* /*"),
        ] {
            assert!(place(first) < place(second), "{first} before {second}: {names:?}");
        }
    }

    #[test]
    fn a_path_is_below_another_at_a_slash_only() {
        assert_eq!(below("/orders/7", "/orders"), Some("/7"));
        assert_eq!(below("/orders", "/orders"), Some(""));
        assert_eq!(below("/orders7", "/orders"), None);
        assert_eq!(below("/7", ""), Some("/7"));
    }
}
