//! What is gathered of one request while it is answered, and told once it is over.
use crate::Canonical;
use crate::access_log::{AccessLog, Line};
use crate::address::{self, Address};
use crate::body::Body;
use crate::denial::Denial;
use crate::gateway::{Peer, Ports};
use crate::routes::Operation;
use crate::sign_in::Signed;
use crate::store::{Amount, Counting, Store};
use crate::telemetry::{CALLER_GONE, Outcome, Step, Telemetry, Traced};
use decision::contract::Claims;
use decision::{Check, CheckId, Timestamp};
use http::{HeaderMap, Method, Response, StatusCode};
use std::net::IpAddr;
use std::sync::Arc;
use telemetry::{Began, Context, SpanId, recorded};

/// How much of a method and a path that nobody has read yet is told, in bytes.
const SHOWN: usize = 256;

fn shown(text: &str) -> &str {
    text.get(..text.floor_char_boundary(SHOWN)).unwrap_or_default()
}

/// One request.
pub(crate) struct Record {
    log: Arc<AccessLog>,
    telemetry: Arc<Telemetry>,
    store: Option<Arc<Store>>,
    at: i64,
    began: Began,
    pub(crate) decision_id: String,
    peer: IpAddr,
    /// Who stands behind the peer, where trusted proxies say so.
    caller: Option<IpAddr>,
    method: Method,
    host: String,
    path: String,
    pub(crate) operation: Option<Arc<Operation>>,
    pub(crate) principal: Option<guard::Principal>,
    /// Whose token does not suffice.
    whose: Option<Box<Claims>>,
    /// Who signed in at the edge.
    pub(crate) signed: Option<Arc<Signed>>,
    pub(crate) subscription: Option<Arc<str>>,
    pub(crate) product: Option<Arc<str>>,
    /// Bytes of the request's body that the service was sent.
    pub(crate) uploaded: u64,
    pub(crate) status: StatusCode,
    pub(crate) check: Option<CheckId>,
    trace: Option<(Context, SpanId)>,
    forwarded: Option<Began>,
    answered: Option<Began>,
    /// What policies said, where somebody watches.
    steps: Option<Vec<Step>>,
    /// How it ended; `None` where the caller went away first.
    ended: Option<(u64, bool)>,
}

impl Record {
    pub(crate) fn new(ports: &Ports, peer: Peer, headers: &HeaderMap) -> Self {
        let tracer = ports.telemetry.tracer();
        Self {
            log: Arc::clone(&ports.access_log),
            at: ports.clock.now().0,
            began: Began::now(),
            decision_id: ports.ids.next(),
            peer: peer.address,
            caller: None,
            method: Method::default(),
            host: String::new(),
            path: String::new(),
            operation: None,
            principal: None,
            whose: None,
            signed: None,
            subscription: None,
            product: None,
            uploaded: 0,
            store: ports.store.clone(),
            status: StatusCode::INTERNAL_SERVER_ERROR,
            check: None,
            trace: tracer.begin(headers).map(|context| (context, tracer.id())),
            forwarded: None,
            answered: None,
            steps: ports.telemetry.live().is_watched().then(Vec::new),
            telemetry: Arc::clone(&ports.telemetry),
            ended: None,
        }
    }

    /// What was asked, as it came.
    pub(crate) fn asked(&mut self, method: &Method, path: &str) {
        self.method = method.clone();
        shown(path).clone_into(&mut self.path);
    }

    /// What was asked, in its one form, and by whom.
    pub(crate) fn read(&mut self, request: &Canonical, caller: Address) {
        self.caller = caller.known().filter(|caller| *caller != self.peer.to_canonical());
        request.host().clone_into(&mut self.host);
        request.path().clone_into(&mut self.path);
    }

    /// Subscriptions beside those of the file, and what they used.
    pub(crate) fn store(&self) -> Option<&Store> {
        self.store.as_deref()
    }

    /// Whether somebody watches it.
    pub(crate) fn is_watched(&self) -> bool {
        self.steps.is_some()
    }

    /// Keeps what a policy said, since `began`, for those who watch, and what it looked at.
    pub(crate) fn step(
        &mut self,
        policy: &'static str,
        began: Option<Began>,
        denied: Option<&Denial>,
        checks: impl FnOnce() -> Vec<Check>,
    ) {
        if let Some((steps, began)) = self.steps.as_mut().zip(began) {
            let mut step = Step { checks: checks(), ..Step::new(policy, denied.is_none(), began.elapsed()) };
            let demands = step.demands();
            steps.push(step);
            steps.extend(demands);
        }
    }

    /// It is refused.
    pub(crate) fn refused(&mut self, mut denial: Denial) -> Response<Body> {
        self.check = Some(denial.check);
        self.status = denial.status;
        if let Some(id) = denial.decision_id.take() {
            self.decision_id = id;
        }
        if let Some(whose) = denial.whose.take() {
            self.whose = Some(whose);
        }
        denial.response(&self.decision_id)
    }

    /// It is forwarded now, as a part of its trace.
    pub(crate) fn forwards(&mut self, headers: &mut HeaderMap) {
        self.forwarded = Some(Began::now());
        if let Some((context, span)) = &self.trace {
            context.lead(*span, headers);
        }
    }

    /// The head of the service's answer is there.
    pub(crate) fn answered(&mut self) {
        self.answered = Some(Began::now());
    }

    pub(crate) fn end(mut self, bytes: u64, whole: bool) {
        self.ended = Some((bytes, whole));
    }

    fn micros(&self, until: Began) -> u64 {
        u64::try_from(until.since(self.began).as_micros()).unwrap_or(u64::MAX)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let ended = Began::now();
        let (bytes, whole) = self.ended.unwrap_or_default();
        let status = if self.ended.is_some() { self.status.as_u16() } else { CALLER_GONE };
        let took = ended.since(self.began);
        let service = self.forwarded.zip(self.answered).map(|(forwarded, answered)| answered.since(forwarded));
        let outcome = Outcome { status, check: self.check, took, service, bytes };
        match &self.operation {
            Some(operation) => operation.counted.count(&outcome),
            None => self.telemetry.elsewhere().count(&outcome),
        }
        if let (Some(store), Some(subscription)) = (&self.store, &self.subscription) {
            let whose = Counting { subscription: Arc::clone(subscription), product: self.product.clone() };
            let refused = u64::from(self.check.is_some());
            let bytes = bytes.saturating_add(self.uploaded);
            store.usage().add(whose, Amount { calls: 1 - refused, refused, bytes }, Timestamp(self.at));
        }
        let claims = self.principal.as_ref().map(guard::Principal::claims).or(self.whose.as_deref());
        let steps = self.steps.take();
        let caller = self.caller.map(address::text);
        let (user, tenant) = self.signed.as_ref().map_or((None, None), |signed| signed.who());
        let line = Line {
            at: self.at,
            decision_id: &self.decision_id,
            method: shown(self.method.as_str()),
            host: &self.host,
            path: &self.path,
            peer: &address::text(self.peer),
            caller: caller.as_deref(),
            operation: self.operation.as_ref().map(|operation| &*operation.name),
            tenant: claims.and_then(Claims::tenant).or(tenant),
            subject: claims.map(|claims| claims.object_id().or(claims.subject()).unwrap_or_default()).or(user),
            client: claims.map(|claims| claims.client().unwrap_or_default()),
            token: claims.and_then(Claims::token_id),
            subscription: self.subscription.as_deref(),
            product: self.product.as_deref(),
            status,
            check: self.check.map(|check| check.entry().id),
            total_us: self.micros(ended),
            upstream_us: self.answered.map(|answered| self.micros(answered)),
            bytes,
            whole,
            steps: None,
        };
        self.log.add(&line);
        if let Some(steps) = &steps {
            let mut text = Vec::new();
            Line { steps: Some(steps), ..line }.write(&mut text);
            self.telemetry.live().tell(text);
        }
        if let Some((context, span)) = self.trace {
            self.telemetry.tracer().end(Traced {
                context,
                service: span,
                method: recorded(&self.method),
                operation: self.operation.as_ref().map(|operation| Arc::clone(&operation.name)),
                decision_id: self.decision_id.clone(),
                status,
                check: self.check,
                began: self.began,
                forwarded: self.forwarded.map(|forwarded| [forwarded, self.answered.unwrap_or(ended)]),
                ended,
            });
        }
    }
}
