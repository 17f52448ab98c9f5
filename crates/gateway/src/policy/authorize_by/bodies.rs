//! What a service that decides is told of bodies: read once all is known of who calls, within room and time.
use crate::call::Call;
use crate::denial::Denial;
use crate::settings::{SettingsError, Spanned, fault};
use crate::upstream::{NoSlot, Slots};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use decision::CheckId;
use hyper::body::Body as _;
use std::sync::Arc;

/// The longest body that can be told, in bytes.
const LONGEST: usize = 16 << 20;
/// How many bytes of bodies wait to be told and forwarded at once.
const ROOM: usize = 64 << 20;

/// What is told of bodies.
pub(super) struct Bodies {
    most: usize,
    partial: bool,
    rooms: Arc<Slots>,
}

impl Bodies {
    /// # Errors
    /// If so much is not held, or a part is told of nothing.
    pub(super) fn read(
        max_body_bytes: &Spanned<usize>,
        allow_partial: &Spanned<bool>,
    ) -> Result<Option<Self>, SettingsError> {
        let (most, partial) = (*max_body_bytes.get_ref(), *allow_partial.get_ref());
        if most > LONGEST {
            let hint = "write 16777216 or less, and `allow_partial = true` to have the beginning looked at";
            return Err(fault(&max_body_bytes.span(), "longer bodies are not held", hint));
        }
        if most == 0 && partial {
            let hint = "write `max_body_bytes`, or drop it";
            return Err(fault(&allow_partial.span(), "no part of a body is told", hint));
        }
        Ok((most > 0).then(|| Self { most, partial, rooms: Slots::new(ROOM / most) }))
    }

    /// Holds what is to be told of a call's body, which then stands there.
    pub(super) async fn hold(&self, call: &mut Call) -> Result<(), Box<Denial>> {
        let caller = call.caller.known();
        let Some(body) = &mut call.body else {
            let told = "the body of this request is to be looked at, and the proxy that asks keeps it: send it through the gateway";
            return Err(Box::new(Denial::of(CheckId::GatewayRequest).message(told)));
        };
        let too_long = || Box::new(Denial::of(CheckId::GatewayBodySize));
        if !self.partial && body.is_longer_than(self.most) {
            return Err(too_long());
        }
        if body.is_end_stream() {
            return Ok(());
        }
        let room = self.rooms.take(caller).map_err(|none| {
            let check = match none {
                NoSlot::Taken => CheckId::AuthorizerAvailable,
                NoSlot::OverShare => CheckId::UpstreamShare,
            };
            Box::new(Denial::of(check).retry_after(1))
        })?;
        body.hold(self.most, room).await.map_err(|broken| Box::new(Denial::broken(broken)))?;
        if !self.partial && body.held().len() > self.most { Err(too_long()) } else { Ok(()) }
    }

    /// What is told of it: its first bytes, and whether there are more.
    pub(super) fn told(&self, call: &Call) -> (String, bool) {
        let held = call.body.as_ref().map(|body| body.held()).unwrap_or_default();
        match held.split_at_checked(self.most).filter(|(_, more)| !more.is_empty()) {
            Some((first, _)) => (STANDARD.encode(first), true),
            None => (STANDARD.encode(held), false),
        }
    }
}
