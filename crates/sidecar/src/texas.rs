//! The Texas-compatible API: three posts, and nothing else.
use crate::Sidecar;
use crate::access::{Access, Refused};
use crate::acquire::Subject;
use crate::answer::{self, Answer};
use crate::decode::{self, Encoding, ExchangeRequest, IntrospectRequest, Malformed, TokenRequest};
use crate::introspect::{Inactive, inactive, introspect};
use crate::provider::Provider;
use crate::settings::{Bind, Callers};
use crate::telemetry::trace::{Record, Trace};
use crate::telemetry::{Began, Path};
use bytes::{Bytes, BytesMut};
use client::Ask;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serve::{Caller, Serve, caught};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The largest body.
const LONGEST: usize = 2 << 20;
/// How much more of a body that is too long is read over, so that its sender hears why it is refused.
const READ_OVER: usize = 16 << 20;
/// For a body to come.
const BODY: Duration = Duration::from_secs(10);
/// For a whole request.
const REQUEST: Duration = Duration::from_secs(30);

/// The API of `/api/v1`, for one listener.
pub struct Texas {
    sidecar: Arc<Sidecar>,
    access: Access,
}

impl Texas {
    /// The API of this sidecar, for the listener at `bind`.
    pub fn new(sidecar: Arc<Sidecar>, callers: &Callers, bind: &Bind) -> Self {
        Self { sidecar, access: Access::new(callers, bind) }
    }

    async fn handled(
        &self,
        path: Path,
        request: Request<Incoming>,
        caller: Caller,
        mut trace: Option<&mut Trace>,
    ) -> Answer {
        let (parts, body) = request.into_parts();
        if let Err(refused) = self.access.admit(caller, parts.uri.authority(), &parts.headers) {
            return self.refused(path, refused);
        }
        if path == Path::Other {
            return answer::empty(StatusCode::NOT_FOUND);
        }
        if parts.method != Method::POST {
            return answer::posts_only();
        }
        let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let encoding = match Encoding::of(kind) {
            Ok(encoding) => encoding,
            Err(malformed) => return self.malformed(path, &malformed),
        };
        if let Some(trace) = &mut trace {
            trace.reads();
        }
        let body = match buffered(body).await {
            Ok(body) => body,
            Err(malformed) => return self.malformed(path, &malformed),
        };
        let names = self.sidecar.providers().names();
        match path {
            Path::Token => match decode::token(&body, encoding, names) {
                Ok(request) => self.token(request, &parts.headers, trace).await,
                Err(malformed) => self.malformed(path, &malformed),
            },
            Path::Exchange => match decode::exchange(&body, encoding, names) {
                Ok(request) => self.exchange(request, &parts.headers, trace).await,
                Err(malformed) => self.malformed(path, &malformed),
            },
            Path::Introspect => match decode::introspect(&body, encoding, names) {
                Ok(request) => self.introspect(request, trace).await,
                Err(malformed) => self.malformed(path, &malformed),
            },
            _ => answer::empty(StatusCode::NOT_FOUND),
        }
    }

    async fn token(&self, request: TokenRequest, headers: &HeaderMap, mut trace: Option<&mut Trace>) -> Answer {
        let TokenRequest { provider: id, target, resource, authorization_details, claims, skip_cache } = request;
        let asked = self.sidecar.ask_for(Path::Token, id, Subject::Application, &target);
        let (client, target) = match asked {
            Ok(asked) => asked,
            Err(refused) => return answer::error(refused.status, refused.code, &refused.text),
        };
        if let Some(trace) = &mut trace {
            let asked = trace.handles(id).asks(&target, matches!(target, Cow::Owned(_)), skip_cache);
            asked.with(resource.as_deref(), authorization_details.as_deref());
        }
        let mut ask = Ask::application(&target).fresh(skip_cache);
        if let Some(resource) = &resource {
            ask = ask.resource(resource);
        }
        if let Some(details) = &authorization_details {
            ask = ask.authorization_details(details);
        }
        if let Some(claims) = &claims {
            ask = ask.claims(claims);
        }
        self.sidecar.acquired(Path::Token, id, client, &ask, headers, trace).await
    }

    async fn exchange(&self, request: ExchangeRequest, headers: &HeaderMap, mut trace: Option<&mut Trace>) -> Answer {
        let ExchangeRequest { provider: id, target, user_token, claims, skip_cache } = request;
        let (client, target) = match self.sidecar.ask_for(Path::Exchange, id, Subject::User, &target) {
            Ok(asked) => asked,
            Err(refused) => return answer::error(refused.status, refused.code, &refused.text),
        };
        if let Some(trace) = &mut trace {
            trace.handles(id).asks(&target, matches!(target, Cow::Owned(_)), skip_cache);
        }
        if let Err(refused) = self.sidecar.judge_user_token(Path::Exchange, id, &user_token).await {
            return refused;
        }
        let mut ask = Ask::on_behalf_of(&user_token, &target).fresh(skip_cache);
        if let Some(claims) = &claims {
            ask = ask.claims(claims);
        }
        self.sidecar.acquired(Path::Exchange, id, client, &ask, headers, trace).await
    }

    async fn introspect(
        &self,
        IntrospectRequest { provider: id, token }: IntrospectRequest,
        trace: Option<&mut Trace>,
    ) -> Answer {
        if let Some(trace) = trace {
            trace.handles(id);
        }
        let telemetry = self.sidecar.telemetry();
        telemetry.request(Path::Introspect, id.0);
        let now = self.sidecar.clock().now();
        let judged = match self.sidecar.providers().at(id) {
            Some(provider) if provider.is_enabled() => {
                introspect(provider, token.expose(), self.sidecar.seen(), now).await
            }
            provider => Err(Inactive::Disabled(provider.map_or("", Provider::name).to_owned())),
        };
        let body = judged.unwrap_or_else(|reason| {
            telemetry.error(Path::Introspect, id.0, reason.kind());
            if matches!(reason, Inactive::Disabled(_)) {
                tracing::warn!(reason = %reason, "the application introspects tokens of a provider that is not enabled");
            }
            inactive(&reason, self.sidecar.explaining())
        });
        answer::json(StatusCode::OK, body)
    }

    fn malformed(&self, path: Path, Malformed(text): &Malformed) -> Answer {
        self.sidecar.telemetry().error(path, usize::MAX, "InvalidRequest");
        answer::error(StatusCode::BAD_REQUEST, "invalid_request", text)
    }

    fn refused(&self, path: Path, refused: Refused) -> Answer {
        self.sidecar.telemetry().error(path, usize::MAX, refused.kind());
        refused.answer()
    }
}

impl Serve for Texas {
    type Body = Full<Bytes>;

    async fn answer(&self, mut request: Request<Incoming>, caller: Caller) -> Answer {
        let began = Began::now();
        let path = match request.uri().path() {
            "/api/v1/token" => Path::Token,
            "/api/v1/token/exchange" => Path::Exchange,
            "/api/v1/introspect" => Path::Introspect,
            _ => Path::Other,
        };
        let mut trace = Trace::begin(self.sidecar.tracer(), request.headers());
        if let Some(trace) = &trace {
            trace.lead(request.headers_mut());
        }
        let method = trace.is_some().then(|| request.method().clone());
        let failed = |text| answer::error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", text);
        let answer = match timeout(REQUEST, caught(self.handled(path, request, caller, trace.as_mut()))).await {
            Ok(Some(answer)) => answer,
            Ok(None) => failed("an internal error; it was logged"),
            Err(_) => answer::retry_after(failed("the request took too long; try again"), 1),
        };
        let status = answer.status().as_u16();
        self.sidecar.telemetry().answered(path, status, began);
        if let Some((trace, method)) = trace.zip(method) {
            self.sidecar.tracer().end(Record::ended(trace, &method, path, status, began));
        }
        answer
    }
}

/// Reads a body, within bounds of size and time.
pub(crate) async fn buffered(mut body: Incoming) -> Result<Bytes, Malformed> {
    const PREFIX: &str = "Failed to buffer the request body: ";
    let read = async {
        let (mut first, mut rest, mut length) = (None, BytesMut::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Malformed(format!("{PREFIX}it broke off")))?;
            let Ok(piece) = frame.into_data() else { continue };
            length += piece.len();
            match first {
                // Nearly every body comes in one piece, which is then not copied.
                None => first = Some(piece),
                Some(_) if length <= LONGEST => rest.extend_from_slice(&piece),
                Some(_) if length > READ_OVER => break,
                Some(_) => {}
            }
        }
        let first = first.unwrap_or_default();
        match length {
            _ if length > LONGEST => Err(Malformed(format!("{PREFIX}length limit exceeded"))),
            _ if rest.is_empty() => Ok(first),
            _ => Ok([first.as_ref(), &rest].concat().into()),
        }
    };
    match timeout(BODY, read).await {
        Ok(read) => read,
        Err(_) => Err(Malformed(format!("{PREFIX}it did not arrive in time"))),
    }
}
