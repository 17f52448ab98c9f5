//! What proxies can do with what they are told, which is a matter of how they ask. What a proxy cannot do is refused.
use super::asked::{Changes, Unreadable};
use crate::Body;
use crate::denial::Denial;
use crate::settings::Compiled;
use http::{Response, StatusCode};
use hyper::body::Body as _;

/// How a proxy asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Means {
    /// By a subrequest: it sets fields that it was told of beforehand, and takes any 2xx for a permission.
    Subrequest,
    /// By gRPC: Envoy, which does all that it is told.
    Grpc,
    /// Over HTTP: Envoy, which takes fields out, but no parameters, and 200 for a permission.
    Http,
}

impl Means {
    /// Whether it can make these changes in a request that is permitted.
    pub(super) fn can_make(self, changes: &Changes, state: &Compiled) -> Result<(), Box<Denial>> {
        let in_query = |told: &str| (!changes.remove_parameters.is_empty()).then(|| told.to_owned());
        let told = match self {
            Self::Grpc => None,
            Self::Subrequest => changes.forged(&state.injected, &state.secrets).map_or_else(
                || in_query("send keys and tokens in fields: a proxy cannot take them out of the query"),
                |name| {
                    Some(format!(
                        "leave out `{name}`: it says who somebody is or where they come from, or is taken for a field that does, \
                         and a proxy cannot take it out"
                    ))
                },
            ),
            Self::Http => changes.overwritten(&state.injected).map_or_else(
                || in_query("send keys and tokens in fields: over HTTP, Envoy cannot take them out of the query"),
                |name| Some(format!("leave out `{name}`: it says who somebody is")),
            ),
        };
        told.map_or(Ok(()), |told| Err(Box::new(Denial::from(Unreadable(told)))))
    }

    /// Whether it can pass on this answer to its caller: what it takes for a permission, it cannot.
    pub(super) fn can_pass_on(self, answer: &Response<Body>) -> Result<(), Box<Denial>> {
        let told = match self {
            Self::Subrequest if answer.status().is_success() => {
                "answer preflights before you ask: their answer cannot be passed on"
            }
            Self::Http if answer.status() == StatusCode::OK && answer.body().size_hint().exact() != Some(0) => {
                "this is answered by the gateway itself, or to Envoys that ask by gRPC: over HTTP, 200 would let it through"
            }
            Self::Subrequest | Self::Grpc | Self::Http => return Ok(()),
        };
        Err(Box::new(Denial::from(Unreadable(told.to_owned())).status(StatusCode::FORBIDDEN)))
    }
}
