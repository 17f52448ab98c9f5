//! The beginning of a caller's body, which a policy looks at before it is forwarded as it came.
use super::{Broken, Uploading};
use crate::upstream::Slot;
use bytes::Bytes;
use hyper::body::{Body as _, SizeHint};
use std::future::poll_fn;

/// What is held of a body.
#[derive(Default)]
pub(super) struct Held {
    /// Copied out of what it came in: pieces of a few bytes each would keep whole buffers.
    bytes: Vec<u8>,
    /// What it takes of the room that there is for bodies, until the body is through.
    rooms: Vec<Slot>,
}

impl Held {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What goes on first, once.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        (!self.bytes.is_empty()).then(|| std::mem::take(&mut self.bytes).into())
    }

    /// How much is to come, with so much after it.
    pub(super) fn before(&self, rest: &SizeHint) -> SizeHint {
        let own = self.bytes.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(own));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(own));
        }
        hint
    }
}

impl Uploading {
    /// Reads on until it has ended, or more than so many bytes are held, which take this room.
    ///
    /// # Errors
    /// If it breaks off, or comes too slowly.
    pub(crate) async fn hold(&mut self, most: usize, room: Slot) -> Result<(), Broken> {
        self.held.get_or_insert_default().rooms.push(room);
        while self.held().len() <= most && self.body.is_some() {
            match poll_fn(|context| self.poll_caller(context)).await {
                Some(frame) => {
                    if let (Some(held), Ok(data)) = (&mut self.held, frame?.into_data()) {
                        held.bytes.extend_from_slice(&data);
                    }
                }
                None => self.body = None,
            }
        }
        Ok(())
    }

    /// What is held.
    pub(crate) fn held(&self) -> &[u8] {
        self.held.as_ref().map(|held| held.bytes()).unwrap_or_default()
    }

    /// Whether it is known to be longer than that.
    pub(crate) fn is_longer_than(&self, bytes: usize) -> bool {
        self.size_hint().lower() > bytes as u64
    }

    /// What becomes of it.
    pub(crate) fn progress(&self) -> super::Progress {
        self.progress.clone()
    }
}
