//! How claims are read from JSON: whatever is not of its type is malformed, and never absent.
use super::{Actors, Audiences, Claim, Confirmation, Mark, Roles, Scopes};
use crate::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// The greatest moment a claim may name: the end of the year 9999.
const LAST_MOMENT: i64 = 253_402_300_799;
/// The longest chain of actors that is read (RFC 8693 section 4.1 sets no limit; attackers do).
const MAX_ACTORS: usize = 8;

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(from).map(|_| Self(true))
    }
}

impl<'de> Deserialize<'de> for Confirmation {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Confirming)
    }
}

struct Confirming;

impl<'de> Visitor<'de> for Confirming {
    type Value = Confirmation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a confirmation")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Confirmation, A::Error> {
        let mut found = Confirmation::Nothing;
        while let Some(name) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            let of: fn(Box<str>) -> Confirmation = match &*name {
                "x5t#S256" => Confirmation::Certificate,
                "jkt" => Confirmation::Key,
                _ => |_| Confirmation::Unknown,
            };
            let value = members.next_value::<Claim<Box<str>>>()?;
            // Of two, both would have to be proved.
            found = match (found, value) {
                (Confirmation::Nothing, Claim::Is(thumbprint)) => of(thumbprint),
                _ => Confirmation::Unknown,
            };
        }
        Ok(if found == Confirmation::Nothing { Confirmation::Unknown } else { found })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Confirmation, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Confirmation::Unknown)
    }

    fn visit_str<E>(self, _: &str) -> Result<Confirmation, E> {
        Ok(Confirmation::Unknown)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Confirmation, E> {
        Ok(Confirmation::Unknown)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Confirmation, E> {
        Ok(Confirmation::Unknown)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Confirmation, E> {
        Ok(Confirmation::Unknown)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Confirmation, E> {
        Ok(Confirmation::Unknown)
    }

    fn visit_unit<E>(self) -> Result<Confirmation, E> {
        Ok(Confirmation::Unknown)
    }
}

/// The JSON forms that a type of claim can have; every other form is malformed.
trait Shape: Sized {
    fn text(_: &str) -> Option<Self> {
        None
    }
    fn seconds(_: i64) -> Option<Self> {
        None
    }
    fn list(_: Vec<Box<str>>) -> Option<Self> {
        None
    }
    fn actors(_: Vec<Box<str>>) -> Option<Self> {
        None
    }
}

fn sound(text: &str) -> Option<Box<str>> {
    (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.into())
}

impl Shape for Box<str> {
    fn text(text: &str) -> Option<Self> {
        sound(text)
    }
}

impl Shape for Timestamp {
    fn seconds(seconds: i64) -> Option<Self> {
        (0..=LAST_MOMENT).contains(&seconds).then_some(Self(seconds))
    }
}

impl Shape for Vec<Box<str>> {
    fn list(list: Self) -> Option<Self> {
        Some(list)
    }
}

impl Shape for Audiences {
    fn text(text: &str) -> Option<Self> {
        sound(text).map(|one| Self(vec![one]))
    }
    fn list(list: Vec<Box<str>>) -> Option<Self> {
        (!list.is_empty()).then_some(Self(list))
    }
}

impl Shape for Scopes {
    fn text(text: &str) -> Option<Self> {
        let allowed = |b: u8| matches!(b, b' ' | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        text.bytes().all(allowed).then(|| Self { text: text.into(), lax: text.is_empty() })
    }
    fn list(list: Vec<Box<str>>) -> Option<Self> {
        let whole = list.iter().all(|scope| !scope.contains(' '));
        let scopes = if whole { Self::text(&list.join(" ")) } else { None };
        scopes.map(|scopes| Self { lax: true, ..scopes })
    }
}

impl Shape for Roles {
    fn text(text: &str) -> Option<Self> {
        sound(text).map(|one| Self { all: vec![one], lax: true })
    }
    fn list(all: Vec<Box<str>>) -> Option<Self> {
        Some(Self { all, lax: false })
    }
}

impl Shape for Actors {
    fn actors(chain: Vec<Box<str>>) -> Option<Self> {
        (chain.len() <= MAX_ACTORS).then_some(Self(chain))
    }
}

impl<'de, T: Shape> Deserialize<'de> for Claim<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader(PhantomData))
    }
}

struct Reader<T>(PhantomData<T>);

impl<T: Shape> Reader<T> {
    #[expect(clippy::unnecessary_wraps, reason = "the visitor's methods return results")]
    fn found<E>(value: Option<T>) -> Result<Claim<T>, E> {
        Ok(value.map_or(Claim::Malformed, Claim::Is))
    }
}

impl<'de, T: Shape> Visitor<'de> for Reader<T> {
    type Value = Claim<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a claim")
    }

    fn visit_str<E>(self, text: &str) -> Result<Claim<T>, E> {
        Self::found(T::text(text))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Claim<T>, E> {
        Self::found(T::seconds(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Claim<T>, E> {
        Self::found(i64::try_from(number).ok().and_then(T::seconds))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the range is checked first")]
    fn visit_f64<E>(self, number: f64) -> Result<Claim<T>, E> {
        // Fractions and exponents are legal (RFC 7519 section 2); whole seconds are compared.
        let whole = number.floor();
        Self::found((0.0..=LAST_MOMENT as f64).contains(&whole).then_some(whole as i64).and_then(T::seconds))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Claim<T>, E> {
        Self::found(None)
    }

    fn visit_unit<E>(self) -> Result<Claim<T>, E> {
        Self::found(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Claim<T>, A::Error> {
        let (mut list, mut good) = (Vec::new(), true);
        while let Some(item) = items.next_element::<Claim<Box<str>>>()? {
            match item {
                Claim::Is(text) => list.push(text),
                _ => good = false,
            }
        }
        Self::found(good.then_some(list).and_then(T::list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Claim<T>, A::Error> {
        let (mut subject, mut before) = (Claim::<Box<str>>::Absent, Claim::<Actors>::Absent);
        // Depth is bounded by the strict reader's limit on nesting, which runs over every signed payload.
        while let Some(name) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            match name.as_ref() {
                "sub" => subject = members.next_value()?,
                "act" => before = members.next_value()?,
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        let chain = match (subject, before) {
            (Claim::Is(sub), Claim::Absent) => Some(vec![sub]),
            (Claim::Is(sub), Claim::Is(Actors(rest))) => Some(std::iter::once(sub).chain(rest).collect()),
            _ => None,
        };
        Self::found(chain.and_then(T::actors))
    }
}
