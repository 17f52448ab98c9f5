//! Form bodies: strict percent-encoding and UTF-8, in the words of this API.
use super::{Fields, Kind, Malformed};
use std::borrow::Cow;

pub(super) fn read<'a>(body: &'a [u8], kind: Kind, names: &super::Names) -> Result<Fields<'a>, Malformed> {
    let mut fields = Fields::default();
    for pair in body.split(|octet| *octet == b'&').filter(|pair| !pair.is_empty()) {
        let mut halves = pair.splitn(2, |octet| *octet == b'=');
        let name = decoded(halves.next().unwrap_or_default());
        let Some(field) = name.as_deref().and_then(|name| kind.field(name)) else { continue };
        let within = |text: &dyn std::fmt::Display| Malformed(format!("{PREFIX}{}: {text}", field.name()));
        if fields.mark(field) {
            return Err(Malformed(format!("{PREFIX}duplicate field `{}`", field.name())));
        }
        let value = decoded(halves.next().unwrap_or_default())
            .ok_or_else(|| within(&"the value is not percent-encoded UTF-8"))?;
        fields.text(field, value, names, true).map_err(|text| within(&text))?;
    }
    match kind.required().iter().find(|field| !fields.has(**field)) {
        Some(missing) => Err(Malformed(format!("{PREFIX}missing field `{}`", missing.name()))),
        None => Ok(fields),
    }
}

const PREFIX: &str = "Failed to deserialize form body: ";

fn decoded(text: &[u8]) -> Option<Cow<'_, str>> {
    if !text.iter().any(|octet| matches!(octet, b'%' | b'+')) {
        return std::str::from_utf8(text).ok().map(Cow::Borrowed);
    }
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(*rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            plain => *plain,
        });
    }
    String::from_utf8(octets).ok().map(Cow::Owned)
}
