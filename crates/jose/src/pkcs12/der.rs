//! Just enough of DER: lengths that are stated, values one after the other, nothing left over.
use super::Pkcs12Error;

pub(crate) const NUMBER: u8 = 0x02;
pub(crate) const OCTETS: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
/// `[0]` around another value.
pub(crate) const EXPLICIT: u8 = 0xa0;
/// `[0]` in place of the tag of octets.
pub(crate) const IMPLICIT: u8 = 0x80;

/// Values that are still to be read.
#[derive(Clone, Copy)]
pub(crate) struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), Pkcs12Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Pkcs12Error::Malformed) }
    }

    /// The tag of what comes next.
    pub(crate) fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next value, which has this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Result<&'a [u8], Pkcs12Error> {
        self.next(tag).map(|(_, content)| content)
    }

    /// The next value as it stands there, tag and all.
    pub(crate) fn whole(&mut self, tag: u8) -> Result<&'a [u8], Pkcs12Error> {
        self.next(tag).map(|(whole, _)| whole)
    }

    /// Whatever comes next.
    pub(crate) fn any(&mut self) -> Result<&'a [u8], Pkcs12Error> {
        self.tag().ok_or(Pkcs12Error::Malformed).and_then(|tag| self.take(tag))
    }

    /// What the next value holds.
    pub(crate) fn inside(&mut self, tag: u8) -> Result<Self, Pkcs12Error> {
        self.take(tag).map(Self)
    }

    /// A number that is not negative and has 32 bits at most.
    pub(crate) fn number(&mut self) -> Result<u32, Pkcs12Error> {
        let octets = self.take(NUMBER)?;
        let digits = match octets {
            [0, rest @ ..] if rest.len() <= 4 => rest,
            [first, ..] if *first < 0x80 && octets.len() <= 4 => octets,
            // Larger than anything that is counted here.
            [first, ..] if *first < 0x80 => return Ok(u32::MAX),
            _ => return Err(Pkcs12Error::Malformed),
        };
        Ok(digits.iter().fold(0, |number, octet| number << 8 | u32::from(*octet)))
    }

    fn next(&mut self, tag: u8) -> Result<(&'a [u8], &'a [u8]), Pkcs12Error> {
        let all = self.0;
        let read = || {
            let (_, rest) = all.split_first().filter(|(first, _)| **first == tag)?;
            let (length, rest) = rest.split_first()?;
            let (length, rest) = match length {
                0..=0x7f => (usize::from(*length), rest),
                0x81..=0x83 => {
                    let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
                    (digits.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
                }
                // Without a stated length it is not DER; with a longer one it is longer than anything here.
                _ => return None,
            };
            let (content, rest) = rest.split_at_checked(length)?;
            Some((all.get(..all.len() - rest.len())?, content, rest))
        };
        let (whole, content, rest) = read().ok_or(Pkcs12Error::Malformed)?;
        self.0 = rest;
        Ok((whole, content))
    }
}
