//! What is sent: one JSON object whose properties are all known, each once and of its type (M-09).
use crate::denial::Denial;
use decision::CheckId;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// What an error repeats of a text.
const SHOWN: usize = 240;

/// Reads what is sent.
///
/// # Errors
/// If it is no JSON of this shape. The parser's own limit refuses depth before it costs anything.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Denial> {
    serde_json::from_slice::<Members<T>>(body).map(|Members(it)| it).map_err(|error| {
        let text: String = error.to_string().chars().filter(|c| !c.is_control()).take(SHOWN).collect();
        Denial::new(CheckId::DirectoryBody, "a JSON object of the documented properties", text)
    })
}

/// An object with named members: a list of their values in order, which the parser would take too, is none.
pub(super) struct Members<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Named<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Named<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }
        from.deserialize_map(Named(PhantomData)).map(Self)
    }
}

/// A property that is sent: `null` is none of its values, and is refused instead of passing for a property left out.
pub(super) fn sent<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// A property of which `null` is a value.
#[derive(serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Nullable<T>(pub(super) Option<T>);

/// A value that breaks a rule, with what the rule says.
pub(super) fn unsound(property: &str, rule: impl AsRef<str>) -> Denial {
    let rule = rule.as_ref();
    Denial::new(CheckId::DirectorySound, "", format!("`{property}`")).fix(format!("correct `{property}`: {rule}"))
}
