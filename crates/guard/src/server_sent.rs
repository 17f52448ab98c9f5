//! Server-sent events as they come in pieces (WHATWG HTML section 9.2.6), bounded.

/// The largest event that is read.
const MOST: usize = 64 << 10;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerSent {
    pub(crate) kind: String,
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

/// Takes pieces, gives events.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
    event: ServerSent,
}

impl Lines {
    /// The events that are whole with this piece; `None` if one is too large.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Option<Vec<ServerSent>> {
        self.rest.extend_from_slice(piece);
        let mut events = Vec::new();
        let mut from = 0;
        while let Some(length) = self.rest.get(from..).and_then(|rest| rest.iter().position(|b| *b == b'\n')) {
            let line = self.rest.get(from..from + length).unwrap_or_default();
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
            from += length + 1;
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                // An octet of a blank line must not cost a whole event.
                events.extend(Some(event).filter(|event| *event != ServerSent::default()));
            } else {
                self.field(&line);
            }
        }
        self.rest.drain(..from);
        (self.rest.len() + self.event.data.len() <= MOST).then_some(events)
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.event.kind),
            "id" => self.event.id = Some(value.to_owned()),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, MOST, ServerSent};

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let text = ": hello\r\nevent: cut-off\nid: 7\ndata: a\ndata:b\n\nevent:current\nid: 8\ndata:\n\nretry";
        let event =
            |kind: &str, id: &str, data: &str| ServerSent { kind: kind.into(), id: Some(id.into()), data: data.into() };
        let expected = [event("cut-off", "7", "a\nb"), event("current", "8", "")];
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let found: Vec<_> = text.as_bytes().chunks(size).flat_map(|piece| lines.take(piece).unwrap()).collect();
            assert_eq!(found, expected, "{size}");
        }
    }

    #[test]
    fn what_says_nothing_is_no_event() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(&vec![b'\n'; MOST]), Some(vec![]));
        assert_eq!(lines.take(b": hello\n\r\n\n: hello\r\n"), Some(vec![]));
        assert_eq!(lines.take(b"data: a\n\n\n").map(|events| events.len()), Some(1));
    }

    #[test]
    fn what_does_not_end_is_not_kept() {
        let mut lines = Lines::default();
        assert!(lines.take(&vec![b'x'; MOST]).is_some());
        assert!(lines.take(b"x").is_none());
        let mut lines = Lines::default();
        let line = format!("data: {}\n", "x".repeat(1_000));
        assert!((0..100).any(|_| lines.take(line.as_bytes()).is_none()));
    }
}
