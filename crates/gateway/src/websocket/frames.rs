//! Where frames begin and end (RFC 6455 section 5.2), so that a connection is ended between two of them. What is in them is nobody's
//! business here.

/// The frames of one direction.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; 14],
    have: usize,
    /// How much of the payload is to come.
    left: u64,
    /// Whether a Close went by, after which nothing may follow.
    closed: bool,
}

const CLOSE: u8 = 8;

impl Frames {
    /// These bytes went by.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let passed = self.left.min(bytes.len() as u64);
                self.left -= passed;
                bytes = usize::try_from(passed).ok().and_then(|passed| bytes.get(passed..)).unwrap_or_default();
                continue;
            }
            if let Some(place) = self.head.get_mut(self.have) {
                *place = first;
            }
            self.have += 1;
            bytes = rest;
            if self.have == self.needed() {
                self.left = self.payload();
                self.closed |= self.head.first().is_some_and(|first| first & 0x0f == CLOSE);
                self.have = 0;
            }
        }
    }

    /// Whether a frame of ours may follow.
    pub(super) fn may_close(&self) -> bool {
        self.have == 0 && self.left == 0 && !self.closed
    }

    /// The length of the head, as far as it is known.
    fn needed(&self) -> usize {
        let [_, second, ..] = self.head;
        if self.have < 2 {
            return 2;
        }
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + if second & 0x80 == 0 { 0 } else { 4 }
    }

    fn payload(&self) -> u64 {
        let [_, second, extended @ ..] = self.head;
        let length = match second & 0x7f {
            126 => 2,
            127 => 8,
            short => return u64::from(short),
        };
        extended.iter().take(length).fold(0, |payload, byte| payload << 8 | u64::from(*byte))
    }
}

/// A Close (RFC 6455 section 5.5.1); masked, as those to a server are. Nothing in it is the caller's, so that the mask need not be
/// secret.
pub(super) fn close(code: u16, reason: &str, masked: bool) -> Vec<u8> {
    let reason = reason.as_bytes();
    let reason = reason.get(..reason.len().min(123)).unwrap_or_default();
    let length = u8::try_from(reason.len() + 2).unwrap_or(2);
    let mut frame = vec![0x80 | CLOSE, if masked { 0x80 | length } else { length }];
    if masked {
        frame.extend([0; 4]);
    }
    frame.extend(code.to_be_bytes());
    frame.extend(reason);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(opcode: u8, payload: &[u8], masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x80 | opcode];
        match u16::try_from(payload.len()) {
            Ok(length) if length < 126 => bytes.push(mask | u8::try_from(length).unwrap()),
            Ok(length) => {
                bytes.push(mask | 0x7e);
                bytes.extend(length.to_be_bytes());
            }
            Err(_) => {
                bytes.push(mask | 0x7f);
                bytes.extend((payload.len() as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend([1, 2, 3, 4]);
        }
        bytes.extend(payload);
        bytes
    }

    proptest! {
        #[test]
        fn a_close_may_follow_whole_frames_and_nothing_else(
            lengths in proptest::collection::vec(prop_oneof![0..130_usize, 65_530..65_540_usize], 1..4),
            masked in any::<bool>(),
            step in 1..70_000_usize,
        ) {
            let whole: Vec<Vec<u8>> = lengths.iter().map(|length| frame(2, &vec![7; *length], masked)).collect();
            let mut ends = vec![0];
            for frame in &whole {
                ends.push(ends.last().unwrap() + frame.len());
            }
            let all = whole.concat();
            let mut frames = Frames::default();
            let mut at = 0;
            for part in all.chunks(step) {
                frames.pass(part);
                at += part.len();
                prop_assert_eq!(frames.may_close(), ends.contains(&at), "at {}", at);
            }
        }
    }

    #[test]
    fn nothing_follows_a_close() {
        let mut frames = Frames::default();
        frames.pass(&frame(1, b"hello", false));
        assert!(frames.may_close());
        frames.pass(&close(1000, "bye", false));
        assert!(!frames.may_close());
        assert_eq!(close(4401, "no", true), [0x88, 0x84, 0, 0, 0, 0, 0x11, 0x31, b'n', b'o']);
    }
}
