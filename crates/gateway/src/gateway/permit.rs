//! Everything that comes before a request is forwarded: its one form, its operation, and every policy.
use super::{Gateway, Peer};
use crate::address;
use crate::after::After;
use crate::body::{Body, Progress, Uploading};
use crate::call::{Call, Permitted};
use crate::canonical::Canonical;
use crate::denial::Denial;
use crate::onward::Credential;
use crate::policy::{Admission, Certificate, Decided, cors};
use crate::record::Record;
use crate::routes::Asked;
use crate::settings::Compiled;
use crate::sign_in;
use crate::websocket::{self, Opening};
use bytes::Bytes;
use decision::{CheckId, Clock};
use http::{HeaderMap, Response};
use hyper::body::Incoming;
use serve::Shown;
use std::sync::Arc;
use telemetry::Began;

impl Gateway {
    /// Everything that comes before a request is forwarded.
    pub(super) async fn permit(
        &self,
        state: &Arc<Compiled>,
        (mut parts, body): (http::request::Parts, &mut Option<Incoming>),
        peer: Peer,
        upgrade: Option<Box<websocket::Asked>>,
        record: &mut Record,
        after: &mut After,
    ) -> Result<(Permitted, Credential, Option<Box<Opening>>), Ended> {
        record.asked(&parts.method, parts.uri.path());
        let shown = parts.extensions.remove::<Arc<Shown>>();
        let believed = peer.told_in.filter(|_| address::is_trusted(peer.address.to_canonical(), &state.proxies));
        let certificate = match believed {
            // The proxy's own is not its caller's.
            Some(field) => {
                let told = field.told(&parts.headers).map_err(|_| Box::new(Denial::unreadable(&field.name())))?;
                told.map(|chain| self.told.of(&chain))
            }
            None => shown.and_then(|shown| Certificate::of(&shown)),
        };
        for name in state.told_in.iter().filter(|field| Some(**field) != believed).flat_map(|field| field.names()) {
            parts.headers.remove(name);
        }
        let request = Canonical::of(parts, &state.secrets).map_err(|refusal| Box::new(Denial::from(refusal)))?;
        let headers = request.headers();
        let caller = address::caller(peer.address, headers, &state.proxies);
        record.read(&request, caller);
        let preflight = cors::preflight(request.method(), headers);
        let (host, path) = (request.host(), request.path());
        if let Some((headers, body)) = state.documents.find(request.method(), preflight.is_some(), host, path) {
            return Err(Ended::Own(headers, body));
        }
        if let Some(method) = preflight {
            let asked = state.routes.find(host, &method, path);
            if let Some((asked, cors)) = asked.and_then(|asked| Some((asked, asked.cors.as_ref()?))) {
                record.operation = Some(Arc::clone(asked));
                return Err(Ended::Own(cors.answer_preflight(&method, headers), Bytes::new()));
            }
        }
        if let Some((sign_in, origin)) = state.sign_in.as_ref().and_then(|own| Some((own, own.serves(&request)?))) {
            let answered =
                Box::pin(sign_in.answer(origin, &request, (caller, body.take()), self.ports.clock.now())).await?;
            return Err(Ended::Answered(Box::new(answered)));
        }
        let found = state.routes.find(request.host(), request.method(), request.path());
        let operation = found.cloned().ok_or_else(|| Box::new(Denial::of(CheckId::GatewayOperation)))?;
        record.operation = Some(Arc::clone(&operation));
        if let Some(cors) = &operation.cors {
            after.cors = Some((Arc::clone(cors), cors::only(headers, &http::header::ORIGIN).cloned()));
            if cors.ends(request.method(), headers) {
                return Err(Ended::Own(HeaderMap::new(), Bytes::new()));
            }
        }
        let opening = match (upgrade, &operation.stream) {
            (Some(asked), Some(stream)) if stream.websocket && asked.is_for_websocket() => {
                // The page's own origin is that which its browser sees.
                let is_tls = address::is_tls(peer.address, peer.is_tls, headers, &state.proxies);
                Some(asked.opening(&request, is_tls, operation.cors.as_deref())?)
            }
            // What asks for another protocol where there is none is a request like any other.
            _ => None,
        };
        // Only proofs of possession are about it.
        let is_tls = match &operation.dpop {
            Some(_) => address::is_tls(peer.address, peer.is_tls, headers, &state.proxies),
            None => peer.is_tls,
        };
        // It goes from hand to hand.
        let seen = operation.looks_at_bodies.then(|| body.take()).flatten();
        let version = request.version();
        let call = Box::new(Call {
            caller,
            request,
            operation,
            peer: peer.address,
            now: self.ports.clock.now(),
            certificate,
            is_tls,
            proof: None,
            principal: None,
            signed: None,
            product: None,
            added: Vec::new(),
            admission: Admission::default(),
            after: std::mem::take(after),
            body: seen.map(|body| Box::new(Uploading::new(body, version, Progress::default()))),
        });
        let document = call.operation.document.clone();
        let bound = call.operation.dpop.clone().filter(|dpop| dpop.is_required());
        let described = |mut denial: Box<Denial>| {
            if let Some(dpop) = &bound {
                denial = Box::new(denial.for_bound_tokens(&dpop.algs()));
            }
            match &document {
                Some(address) => Box::new(denial.with_metadata(address)),
                None => denial,
            }
        };
        let permitted = authorise(call, state, &*self.ports.clock, record, after).await.map_err(described)?;
        let operation = Arc::clone(&permitted.call().operation);
        let began = record.is_watched().then(Began::now);
        let acquired = operation.onward.acquire(&permitted).await;
        record.step("onward", began, acquired.as_ref().err().map(|denial| &**denial), Vec::new);
        let acquired = acquired.map_err(|denial| sign_in::again(denial, permitted.call()));
        Ok((permitted, acquired.map_err(described)?, opening))
    }
}

/// Why a request goes no further.
pub(super) enum Ended {
    Denied(Box<Denial>),
    /// It has an answer of the gateway's own: a preflight's fields, or a document.
    Own(HeaderMap, Bytes),
    /// It is for one of the paths of sign-in, and answered.
    Answered(Box<Response<Body>>),
}

impl From<Box<Denial>> for Ended {
    fn from(denial: Box<Denial>) -> Self {
        Self::Denied(denial)
    }
}

/// Asks every policy, in the order of the phases. The only way to a [`Permitted`].
async fn authorise(
    mut call: Box<Call>,
    state: &Compiled,
    clock: &dyn Clock,
    record: &mut Record,
    after: &mut After,
) -> Result<Permitted, Box<Denial>> {
    let asked = ask(&mut call, state, clock, record).await;
    *after = std::mem::take(&mut call.after);
    // Who is known by then called, whatever a later policy says.
    record.signed.clone_from(&call.signed);
    record.principal = call.principal.as_ref().map(|(principal, _)| principal.clone());
    let asked = asked.map_err(|denial| sign_in::again(denial, &call));
    asked.map(|()| Permitted::by_all_policies(call))
}

async fn ask(call: &mut Call, state: &Compiled, clock: &dyn Clock, record: &mut Record) -> Result<(), Box<Denial>> {
    let operation = Arc::clone(&call.operation);
    let watched = record.is_watched();
    let now = || watched.then(Began::now);
    if let Some(key) = &operation.subscription {
        let began = now();
        let admitted = key.admit(&call.request, &state.subscriptions, record.store(), &operation, call.now);
        record.step("subscription_key", began, admitted.as_ref().err().map(|denial| &**denial), Vec::new);
        call.admission = admitted?;
        record.subscription.clone_from(&call.admission.subscription);
    } else {
        // Where no key is looked for, every call is one without.
        call.admission.product = state.subscriptions.open_product(operation.api);
    }
    let stored = &mut call.admission.stored_product;
    record.product = call.admission.product.and_then(|id| state.products.get(id.0).cloned()).or_else(|| stored.take());
    call.product.clone_from(&record.product);
    for Asked { name, policy } in &operation.rules(call.admission.product).before {
        let began = now();
        let decided = match policy.decide(call) {
            Decided::Pass => Ok(()),
            Decided::Deny(denial) => Err(denial),
            Decided::Wait => {
                let settled = policy.settle(call).await;
                // It may have waited for long, and what comes after it counts by the present moment.
                call.now = clock.now();
                settled
            }
        };
        record.step(name, began, decided.as_ref().err().map(|denial| &**denial), || policy.checks(call));
        decided?;
    }
    Ok(())
}
