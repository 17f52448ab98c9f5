//! Our own API: calls that go through as they come, the challenge for one's caller ready-made, and explanations.
mod challenge;
mod end;
mod explain;

use crate::access::Access;
use crate::answer::{Answer, empty, json};
use crate::apis::{Api, Apis, below, end_to_end, from_the_caller, hides_something};
use crate::entra::unadmitted;
use crate::inbound::{Inbound, guard};
use crate::onward::{Cargo, Errand, Outgoing, PATIENCE};
use crate::problem::Problem;
use crate::settings::Bind;
use crate::telemetry::{Began, Path};
use crate::texas::buffered;
use crate::{Settings, Sidecar};
use fetch::{Fetch, Passing};
use guard::{Guard, SetupError};
use http::header::{ALLOW, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde_json::Value;
use serve::{Caller, Serve, caught};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::timeout;

/// Bodies up to this many octets are kept until the API has answered, so that they can be sent with a stronger token.
const KEPT: u64 = 64 << 10;

/// The API, for one listener.
pub struct Native {
    sidecar: Arc<Sidecar>,
    access: Access,
    inbound: Inbound,
    apis: Apis,
    /// What explains tokens for the APIs whose contracts are configured.
    contracts: BTreeMap<String, Guard>,
    network: Fetch,
}

impl Native {
    /// The API of this sidecar, for the listener at `bind`. APIs are called over `network`.
    ///
    /// # Errors
    /// If a contract cannot be enforced.
    pub fn new(sidecar: &Arc<Sidecar>, settings: &Settings, bind: &Bind, network: Fetch) -> Result<Self, SetupError> {
        let stated =
            settings.apis.iter().filter_map(|api| Some((api.name.to_ascii_lowercase(), api.contract.clone()?)));
        let guarded = stated.map(|(name, contract)| guard(sidecar, contract).map(|guard| (name, guard)));
        let contracts = guarded.collect::<Result<_, SetupError>>()?;
        Ok(Self {
            sidecar: Arc::clone(sidecar),
            access: Access::beside_users(&settings.callers, bind),
            inbound: Inbound::new(sidecar, settings)?,
            apis: settings.apis.clone(),
            contracts,
            network,
        })
    }

    async fn handled(&self, path: Path, request: Request<Incoming>, caller: Caller) -> Result<Streamed, Problem> {
        let (parts, body) = request.into_parts();
        self.access.admit(caller, parts.uri.authority(), &parts.headers).map_err(unadmitted)?;
        match path {
            Path::Call => self.call(parts, body).await,
            Path::Challenge | Path::Explain | Path::End if parts.method != Method::POST => {
                let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
                Ok(streamed(answer))
            }
            Path::Challenge | Path::Explain | Path::End => {
                let body = buffered(body).await.map_err(|malformed| Problem::bad_request(malformed.0))?;
                let asked: Value = serde_json::from_slice(&body)
                    .map_err(|error| Problem::bad_request(format!("the body is no JSON: {error}")))?;
                let told = match path {
                    Path::Challenge => challenge::ready(&asked, self.inbound.guard())?,
                    Path::End => {
                        end::ended(&asked, &self.sidecar, &self.apis).await?;
                        return Ok(streamed(empty(StatusCode::NO_CONTENT)));
                    }
                    _ => explain::explained(&asked, &self.inbound, &self.contracts).await?,
                };
                Ok(streamed(json(StatusCode::OK, told.to_string())))
            }
            _ => Ok(streamed(empty(StatusCode::NOT_FOUND))),
        }
    }

    /// `/call/{api}/…`: the user's token becomes one for the API, and the rest goes through.
    async fn call(&self, parts: Parts, body: Incoming) -> Result<Streamed, Problem> {
        let (api, rest) = named(parts.uri.path());
        let api = self.apis.named(api).ok_or_else(|| {
            let detail = format!(
                "there is no API `{}`; list it under `DownstreamApis`",
                api.chars().take(80).collect::<String>()
            );
            Problem::new(StatusCode::NOT_FOUND, detail)
        })?;
        if api.options.scopes.is_empty() {
            return Err(Problem::bad_request(format!("the API `{}` has no `Scopes`; configure them", api.name)));
        }
        let (admitted, outgoing) = if api.options.as_application {
            (None, self.outgoing(api, rest, &parts, body).await?)
        } else {
            let admitted = self.inbound.admit(&parts.headers, parts.uri.query()).await?;
            (Some(admitted), self.outgoing(api, rest, &parts, body).await?)
        };
        let errand = Errand {
            sidecar: &self.sidecar,
            inbound: &self.inbound,
            path: Path::Call,
            api,
            options: &api.options,
            whose: api.options.whose(admitted.as_ref().map(|admitted| &admitted.token)),
            headers: &parts.headers,
        };
        let (answer, body) = errand.call(&self.network, outgoing).await?.into_parts();
        if answer.status.is_informational() {
            let detail = "the API goes over to another protocol, which nobody asked for";
            return Err(Problem::new(StatusCode::BAD_GATEWAY, detail));
        }
        let mut through = Response::new(Passing::new(body.map_err(Into::into)));
        *through.status_mut() = answer.status;
        *through.headers_mut() = end_to_end(&answer.headers);
        // What the API says of its length holds: its body goes through as it is.
        if let Some(length) = answer.headers.get(CONTENT_LENGTH) {
            through.headers_mut().insert(CONTENT_LENGTH, length.clone());
        }
        Ok(through)
    }

    async fn outgoing(&self, api: &Api, rest: &str, parts: &Parts, body: Incoming) -> Result<Outgoing, Problem> {
        if matches!(parts.method, Method::CONNECT | Method::TRACE) {
            return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this method is not sent for applications"));
        }
        let missing = || Problem::bad_request(format!("the API `{}` has no `BaseUrl`; configure it", api.name));
        let base = api.url.as_ref().ok_or_else(missing)?;
        let prefix = api.options.relative_path.trim_matches('/');
        let url = below(base, &format!("{prefix}{rest}"), parts.uri.query()).map_err(Problem::bad_request)?;
        if hides_something(&parts.headers) {
            return Err(Problem::bad_request("`Connection` names a header that is not the connection's; take it out"));
        }
        let mut headers = from_the_caller(&parts.headers);
        for (name, value) in &api.options.headers {
            headers.insert(name.clone(), value.clone());
        }
        let cargo = if body.size_hint().upper().is_some_and(|length| length <= KEPT) {
            Cargo::Whole(buffered(body).await.map_err(|malformed| Problem::bad_request(malformed.0))?)
        } else {
            Cargo::Streaming(Passing::new(body.map_err(Into::into)))
        };
        Ok(Outgoing { method: parts.method.clone(), url, headers, cargo })
    }
}

type Streamed = Response<Passing>;

impl Serve for Native {
    type Body = Passing;
    // An API's answer that is cut off must not look whole.
    const WAITING_ANSWERS_END: bool = false;

    async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Streamed {
        let began = Began::now();
        let path = match request.uri().path() {
            "/challenge" => Path::Challenge,
            "/explain" => Path::Explain,
            "/end" => Path::End,
            other if other.starts_with("/call/") => Path::Call,
            _ => Path::Other,
        };
        let handled = caught(self.handled(path, request, caller));
        let handled = match path {
            // Keys may have to be fetched for it.
            Path::Explain => timeout(PATIENCE, handled).await,
            // A call lasts as long as something moves, which is seen to where it is passed on; a body has its own time.
            _ => Ok(handled.await),
        };
        let answer = match handled {
            Ok(Some(Ok(answer))) => answer,
            Ok(Some(Err(problem))) => {
                self.sidecar.telemetry().error(path, usize::MAX, "Problem");
                streamed(problem.answer())
            }
            Ok(None) => streamed(Problem::internal().answer()),
            Err(_) => streamed(Problem::unavailable("the request took too long", None).answer()),
        };
        self.sidecar.telemetry().answered(path, answer.status().as_u16(), began);
        answer
    }
}

/// The API's name, and the path behind it, which begins with its slash where it has one.
fn named(path: &str) -> (&str, &str) {
    let rest = path.strip_prefix("/call/").unwrap_or_default();
    rest.split_at(rest.find('/').unwrap_or(rest.len()))
}

fn streamed(answer: Answer) -> Streamed {
    answer.map(|body| Passing::new(body.map_err(|never| match never {})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_the_name_is_the_path() {
        assert_eq!(named("/call/billing"), ("billing", ""));
        assert_eq!(named("/call/billing/"), ("billing", "/"));
        assert_eq!(named("/call/billing/invoices/7"), ("billing", "/invoices/7"));
        // An empty segment stays, so that it is refused.
        assert_eq!(named("/call/billing//evil.example"), ("billing", "//evil.example"));
    }
}
