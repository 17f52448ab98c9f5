//! Values of a request in what another service is sent: each stays in its place, or nothing is sent.
use crate::call::Call;
use crate::canonical::identity::{is_alias, is_reserved, looks_like_identity};
use crate::settings::{SettingsError, Spanned, fault};
use http::{HeaderName, header};
use serde_json::{Map, Value as Json};
use std::fmt::Write as _;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// `{claim:NAME}`, of the verified token.
    Claim(String),
    /// `{header:NAME}`, of the request.
    Header(HeaderName),
    /// `{path}`, in its one form.
    Path,
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Fixed(String),
    Value(Value),
    /// A whole segment of a path.
    Segment(Value),
    /// A whole value in a query.
    Parameter(Value),
}

/// Why nothing is sent: what is not there, or has more than one reading.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclear(pub(super) String);

type Wrong = (&'static str, &'static str);

/// The parts of a text.
pub(super) fn text(from: &Spanned<String>) -> Result<Vec<Piece>, SettingsError> {
    pieces(from.get_ref()).map_err(|(problem, hint)| fault(&from.span(), problem, hint))
}

pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, Wrong> {
    let (mut all, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        let (before, behind) = rest.split_at_checked(at).unwrap_or((rest, ""));
        let odd = ("a bracket stands there alone", "write `{claim:NAME}`, `{header:NAME}` or `{path}`");
        let (name, after) = behind.strip_prefix('{').and_then(|inside| inside.split_once('}')).ok_or(odd)?;
        if !before.is_empty() {
            all.push(Piece::Fixed(before.to_owned()));
        }
        all.push(Piece::Value(value(name)?));
        rest = after;
    }
    if !rest.is_empty() {
        all.push(Piece::Fixed(rest.to_owned()));
    }
    Ok(all)
}

fn value(name: &str) -> Result<Value, Wrong> {
    match name.split_once(':') {
        None if name == "path" => Ok(Value::Path),
        Some(("claim", claim)) if !claim.is_empty() => Ok(Value::Claim(claim.to_owned())),
        Some(("header", field)) => {
            let name: HeaderName =
                field.parse().map_err(|_| ("this is no name of a field", "use letters, digits and `-`"))?;
            if matches!(name, header::AUTHORIZATION | header::COOKIE) || name == guard::DPOP {
                return Err(("callers' credentials are told to nobody", "tell a claim of the token: `{claim:NAME}`"));
            }
            if is_reserved(&name) || looks_like_identity(&name) {
                return Err((
                    "callers could say in this field who they are",
                    "tell a claim of the token: `{claim:NAME}`",
                ));
            }
            Ok(Value::Header(name))
        }
        _ => Err(("there is no such value", "write `{claim:NAME}`, `{header:NAME}` or `{path}`")),
    }
}

/// The parts of a path and a query. A value is a whole segment, or all that stands behind a `=`.
pub(super) fn target(text: &str) -> Result<Vec<Piece>, Wrong> {
    if !text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'|')) {
        return Err(("the address has a character that has to be percent-encoded", "write `%20` for a space"));
    }
    if text.contains('#') {
        return Err(("a fragment is sent to nobody", "take out what follows `#`"));
    }
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let path = if path.is_empty() { "/" } else { path };
    let mut all = Vec::new();
    let mut add = |piece: Piece| match (all.last_mut(), piece) {
        (Some(Piece::Fixed(before)), Piece::Fixed(text)) => before.push_str(&text),
        (_, piece) => all.push(piece),
    };
    for segment in path.split('/').skip(1) {
        add(Piece::Fixed("/".to_owned()));
        match pieces(segment)?.as_slice() {
            [] => {}
            [Piece::Value(Value::Path)] => {
                return Err(("a path in a path could lead elsewhere", "tell it in the query: `?path={path}`"));
            }
            [Piece::Value(value)] => add(Piece::Segment(value.clone())),
            [Piece::Fixed(text)] => add(Piece::Fixed(text.clone())),
            _ => {
                return Err((
                    "a value is a whole segment of the path",
                    "write `/{claim:NAME}/`, with nothing beside it",
                ));
            }
        }
    }
    for (at, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        add(Piece::Fixed(if at == 0 { "?" } else { "&" }.to_owned()));
        let (name, value) = pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value)));
        let beside = ("a value is all of a parameter", "write `name={claim:NAME}`, with nothing beside it");
        if name.contains(['{', '}']) {
            return Err(beside);
        }
        add(Piece::Fixed(name.to_owned()));
        let Some(value) = value else { continue };
        add(Piece::Fixed("=".to_owned()));
        match pieces(value)?.as_slice() {
            [] => {}
            [Piece::Value(value)] => add(Piece::Parameter(value.clone())),
            [Piece::Fixed(text)] => add(Piece::Fixed(text.clone())),
            _ => return Err(beside),
        }
    }
    Ok(all)
}

/// A request that is told of.
pub(super) struct Told<'a> {
    call: &'a Call,
    claims: Map<String, Json>,
}

impl<'a> Told<'a> {
    pub(super) fn of(call: &'a Call) -> Self {
        let claims = call.principal.as_ref().map(|(principal, _)| principal.all_claims()).unwrap_or_default();
        Self { call, claims }
    }

    fn json(&self, value: &Value) -> Result<Json, Unclear> {
        match value {
            Value::Path => Ok(self.call.request.path().into()),
            Value::Claim(name) => self.claims.get(name).filter(|claim| !claim.is_null()).cloned().ok_or_else(|| {
                Unclear(format!("the token has no claim `{name}`, which another service is to be told"))
            }),
            Value::Header(name) => {
                let headers = self.call.request.headers();
                // Services that know fields as variables take `_` for `-`.
                let mut lines = headers.iter().filter(|(sent, _)| is_alias(sent.as_str(), name.as_str()));
                let unclear = || {
                    Unclear(format!(
                        "the field `{name}`, which another service is to be told, does not stand there once, as ASCII text"
                    ))
                };
                match (lines.next(), lines.next()) {
                    (Some((sent, line)), None) if sent == name => line.to_str().map(Json::from).map_err(|_| unclear()),
                    _ => Err(unclear()),
                }
            }
        }
    }

    fn text(&self, value: &Value) -> Result<String, Unclear> {
        match self.json(value)? {
            Json::String(text) => Ok(text),
            scalar @ (Json::Number(_) | Json::Bool(_)) => Ok(scalar.to_string()),
            Json::Null | Json::Array(_) | Json::Object(_) => {
                Err(Unclear("a claim that another service is to be told is no text".to_owned()))
            }
        }
    }

    /// A text, its values as they are, or percent-encoded in an address.
    pub(super) fn written(&self, pieces: &[Piece]) -> Result<String, Unclear> {
        let mut made = String::new();
        for piece in pieces {
            match piece {
                Piece::Fixed(text) => made.push_str(text),
                Piece::Value(value) => made.push_str(&self.text(value)?),
                Piece::Parameter(value) => encode(&self.text(value)?, &mut made),
                Piece::Segment(value) => {
                    let text = self.text(value)?;
                    // Servers that decode before they look for segments would find others.
                    let leaves = matches!(text.as_str(), "" | "." | "..") || text.contains(['/', '\\', '%']);
                    if leaves || text.chars().any(char::is_control) {
                        return Err(Unclear(
                            "a value that another service is to be told is no segment of a path".to_owned(),
                        ));
                    }
                    encode(&text, &mut made);
                }
            }
        }
        Ok(made)
    }

    /// A form: what stands in a field stays in that.
    pub(super) fn form(&self, fields: &[(String, Vec<Piece>)]) -> Result<String, Unclear> {
        let mut made = String::new();
        for (name, pieces) in fields {
            if !made.is_empty() {
                made.push('&');
            }
            encode(name, &mut made);
            made.push('=');
            encode(&self.written(pieces)?, &mut made);
        }
        Ok(made)
    }

    /// JSON with the values in its texts; a text that is one value alone has that value's type.
    pub(super) fn filled(&self, json: &Body) -> Result<Json, Unclear> {
        Ok(match json {
            Body::Fixed(json) => json.clone(),
            Body::Text(pieces) => match pieces.as_slice() {
                [Piece::Value(value)] => self.json(value)?,
                pieces => self.written(pieces)?.into(),
            },
            Body::List(items) => items.iter().map(|item| self.filled(item)).collect::<Result<_, _>>()?,
            Body::Object(members) => {
                let members = members.iter().map(|(name, member)| Ok((name.clone(), self.filled(member)?)));
                Json::Object(members.collect::<Result<_, Unclear>>()?)
            }
        })
    }
}

/// The fields of a form.
pub(super) fn form(table: &Map<String, Json>) -> Result<Vec<(String, Vec<Piece>)>, Wrong> {
    let field = |(name, value): (&String, &Json)| match value {
        Json::String(text) => Ok((name.clone(), pieces(text)?)),
        scalar @ (Json::Number(_) | Json::Bool(_)) => Ok((name.clone(), vec![Piece::Fixed(scalar.to_string())])),
        Json::Null | Json::Array(_) | Json::Object(_) => {
            Err(("a form has texts alone", "write `name = \"{claim:NAME}\"`"))
        }
    };
    table.iter().map(field).collect()
}

/// JSON with values in its texts.
pub(super) enum Body {
    Fixed(Json),
    Text(Vec<Piece>),
    List(Vec<Body>),
    Object(Vec<(String, Body)>),
}

impl Body {
    pub(super) fn read(json: &Json) -> Result<Self, Wrong> {
        Ok(match json {
            Json::String(text) => Self::Text(pieces(text)?),
            Json::Array(items) => Self::List(items.iter().map(Self::read).collect::<Result<_, _>>()?),
            Json::Object(members) => {
                let members = members.iter().map(|(name, member)| Ok((name.clone(), Self::read(member)?)));
                Self::Object(members.collect::<Result<_, Wrong>>()?)
            }
            other => Self::Fixed(other.clone()),
        })
    }
}

/// All but what has no meaning in any part of an address (RFC 3986 section 2.3).
fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g_13_a_value_stands_in_a_place_of_its_own() {
        let claim = |name: &str| Value::Claim(name.to_owned());
        let fixed = |text: &str| Piece::Fixed(text.to_owned());
        assert_eq!(target("").unwrap(), [fixed("/")]);
        assert_eq!(
            target("/a/{claim:oid}/b?x=1&y={path}&z").unwrap(),
            [
                fixed("/a/"),
                Piece::Segment(claim("oid")),
                fixed("/b?x=1&y="),
                Piece::Parameter(Value::Path),
                fixed("&z")
            ]
        );
        for odd in [
            "/{claim:a}{claim:b}",
            "/x{claim:a}",
            "/{claim:a}.json",
            "/{path}",
            "/a?{claim:a}",
            "/a?{claim:a}=1",
            "/a?x=1{claim:a}",
            "/a?x={claim:a}{claim:b}",
            "/a#{claim:a}",
            "/a b",
            "/a\\b",
            "/å",
            "/a\r\nb",
            "/{claim:}",
            "/{claim:a",
            "/a}",
            "/{query:a}",
            "/{Claim:a}",
            "/{header:a b}",
            "/{header:authorization}",
            "/{header:Cookie}",
            "/{header:DPoP}",
            "/{header:X-User}",
            "/{header:x_forwarded_for}",
        ] {
            assert!(target(odd).is_err(), "{odd}");
        }
        assert!(Body::read(&serde_json::json!({"a": ["{claim:x"]})).is_err());
    }

    #[test]
    fn g_13_what_has_a_meaning_in_addresses_is_encoded() {
        let mut made = String::new();
        encode("aZ0-._~/?#@:&=+;%\r\n\0 å\\", &mut made);
        assert_eq!(made, "aZ0-._~%2F%3F%23%40%3A%26%3D%2B%3B%25%0D%0A%00%20%C3%A5%5C");
    }
}
