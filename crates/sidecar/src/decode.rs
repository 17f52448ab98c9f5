//! Bodies of the Texas-compatible API, in JSON and as forms. Clients compare what is said about them, so every text is ours.
mod form;
pub(crate) mod json;
#[cfg(test)]
mod tests;

use json::{Fault, Reader, Value, place};
use oauth::Secret;
use std::borrow::Cow;

/// A provider's place in the table of providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProviderId(pub(crate) usize);

/// What providers are called, and how they are listed where somebody asks for another.
#[derive(Debug)]
pub(crate) struct Names {
    known: Vec<(String, ProviderId)>,
    listing: String,
}

impl Names {
    /// `listed` names, in this order, are told to who asks for none of the `known` ones.
    pub(crate) fn new<'a>(known: Vec<(String, ProviderId)>, listed: impl Iterator<Item = &'a str>) -> Self {
        let listing: Vec<String> = listed.map(|name| format!("`{name}`")).collect();
        Self { known, listing: listing.join(", ") }
    }

    fn find(&self, name: &str) -> Option<ProviderId> {
        self.known.iter().find(|(known, _)| known == name).map(|(_, id)| *id)
    }
}

/// The body of `/api/v1/token`.
#[derive(Debug)]
pub(crate) struct TokenRequest {
    pub(crate) provider: ProviderId,
    pub(crate) target: String,
    pub(crate) resource: Option<String>,
    /// As compact JSON.
    pub(crate) authorization_details: Option<String>,
    pub(crate) claims: Option<String>,
    pub(crate) skip_cache: bool,
}

/// The body of `/api/v1/token/exchange`.
#[derive(Debug)]
pub(crate) struct ExchangeRequest {
    pub(crate) provider: ProviderId,
    pub(crate) target: String,
    pub(crate) user_token: Secret,
    pub(crate) claims: Option<String>,
    pub(crate) skip_cache: bool,
}

/// The body of `/api/v1/introspect`.
#[derive(Debug)]
pub(crate) struct IntrospectRequest {
    pub(crate) provider: ProviderId,
    pub(crate) token: Secret,
}

/// Why a body was not read: the `error_description` of a 400.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Form,
}

impl Encoding {
    /// By the value of `Content-Type`: its beginning decides, with regard to case, and parameters may follow.
    pub(crate) fn of(content_type: &str) -> Result<Self, Malformed> {
        const JSON: &str = "application/json";
        const FORM: &str = "application/x-www-form-urlencoded";
        let ends = |rest: &str| rest.trim_start().is_empty() || rest.trim_start().starts_with(';');
        if let Some(rest) = content_type.strip_prefix(JSON) {
            let suffixed = content_type.split(';').next().is_some_and(|essence| essence.trim_end().ends_with("+json"));
            return if ends(rest) || suffixed {
                Ok(Self::Json)
            } else {
                Err(Malformed(format!("Expected request with `Content-Type: {JSON}`")))
            };
        }
        match content_type.strip_prefix(FORM) {
            Some(rest) if ends(rest) => Ok(Self::Form),
            Some(_) => Err(Malformed(format!("Form requests must have `Content-Type: {FORM}`"))),
            None => Err(Malformed(format!(
                "unsupported media type: {}: expected one of `{JSON}`, `{FORM}`",
                shortened(content_type)
            ))),
        }
    }
}

/// Reads the body of `/api/v1/token`.
pub(crate) fn token(body: &[u8], encoding: Encoding, names: &Names) -> Result<TokenRequest, Malformed> {
    let fields = Fields::read(body, encoding, Kind::Token, names)?;
    Ok(TokenRequest {
        provider: fields.provider,
        target: fields.target.into_owned(),
        resource: fields.resource.map(Cow::into_owned),
        authorization_details: fields.authorization_details,
        claims: fields.claims.map(Cow::into_owned),
        skip_cache: fields.skip_cache,
    })
}

/// Reads the body of `/api/v1/token/exchange`.
pub(crate) fn exchange(body: &[u8], encoding: Encoding, names: &Names) -> Result<ExchangeRequest, Malformed> {
    let fields = Fields::read(body, encoding, Kind::Exchange, names)?;
    Ok(ExchangeRequest {
        provider: fields.provider,
        target: fields.target.into_owned(),
        user_token: Secret::new(fields.token),
        claims: fields.claims.map(Cow::into_owned),
        skip_cache: fields.skip_cache,
    })
}

/// Reads the body of `/api/v1/introspect`.
pub(crate) fn introspect(body: &[u8], encoding: Encoding, names: &Names) -> Result<IntrospectRequest, Malformed> {
    let fields = Fields::read(body, encoding, Kind::Introspect, names)?;
    Ok(IntrospectRequest { provider: fields.provider, token: Secret::new(fields.token) })
}

/// One of the three bodies.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Token,
    Exchange,
    Introspect,
}

/// A member of a body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    IdentityProvider,
    Target,
    Resource,
    AuthorizationDetails,
    Claims,
    SkipCache,
    UserToken,
    Token,
}

impl Field {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::IdentityProvider => "identity_provider",
            Self::Target => "target",
            Self::Resource => "resource",
            Self::AuthorizationDetails => "authorization_details",
            Self::Claims => "claims",
            Self::SkipCache => "skip_cache",
            Self::UserToken => "user_token",
            Self::Token => "token",
        }
    }
}

impl Kind {
    /// What this body has; all else is passed over.
    pub(crate) const fn fields(self) -> &'static [Field] {
        use Field::{AuthorizationDetails, Claims, IdentityProvider, Resource, SkipCache, Target, Token, UserToken};
        match self {
            Self::Token => &[IdentityProvider, Target, Resource, AuthorizationDetails, Claims, SkipCache],
            Self::Exchange => &[IdentityProvider, Target, UserToken, Claims, SkipCache],
            Self::Introspect => &[IdentityProvider, Token],
        }
    }

    /// What it must have; the first that is missing is told.
    pub(crate) const fn required(self) -> &'static [Field] {
        match self {
            Self::Token => &[Field::IdentityProvider, Field::Target],
            Self::Exchange => &[Field::IdentityProvider, Field::Target, Field::UserToken],
            Self::Introspect => &[Field::IdentityProvider, Field::Token],
        }
    }

    fn field(self, name: &str) -> Option<Field> {
        self.fields().iter().copied().find(|field| field.name() == name)
    }
}

/// What was read so far. Without `Debug`: it holds tokens.
struct Fields<'a> {
    seen: u8,
    provider: ProviderId,
    target: Cow<'a, str>,
    resource: Option<Cow<'a, str>>,
    authorization_details: Option<String>,
    claims: Option<Cow<'a, str>>,
    skip_cache: bool,
    token: Cow<'a, str>,
}

impl Default for Fields<'_> {
    fn default() -> Self {
        Self {
            seen: 0,
            provider: ProviderId(usize::MAX),
            target: Cow::Borrowed(""),
            resource: None,
            authorization_details: None,
            claims: None,
            skip_cache: false,
            token: Cow::Borrowed(""),
        }
    }
}

impl<'a> Fields<'a> {
    fn read(body: &'a [u8], encoding: Encoding, kind: Kind, names: &Names) -> Result<Self, Malformed> {
        match encoding {
            Encoding::Form => form::read(body, kind, names),
            Encoding::Json => Self::json(body, kind, names).map_err(|fault| {
                let prefix = if fault.syntax {
                    "Failed to parse the request body as JSON: "
                } else {
                    "Failed to deserialize the JSON body into the target type: "
                };
                Malformed(format!("{prefix}{}{}", fault.text, place(body, fault.at)))
            }),
        }
    }

    fn json(body: &'a [u8], kind: Kind, names: &Names) -> Result<Self, Fault> {
        let text = std::str::from_utf8(body).map_err(|error| Fault {
            syntax: true,
            text: "invalid unicode code point".into(),
            at: error.valid_up_to() + 1,
        })?;
        let mut reader = Reader::new(text);
        reader.space();
        if reader.peek() != Some(b'{') {
            let value = reader.value()?;
            return Err(Fault::shape(format!("invalid type: {}, expected an object", found(&value)), reader.at()));
        }
        let mut fields = Self::default();
        reader.object(|reader, name| {
            let Some(field) = kind.field(&name) else { return reader.value().map(drop) };
            if fields.mark(field) {
                return Err(Fault::shape(format!("duplicate field `{name}`"), reader.at()));
            }
            fields.member(field, reader, names).map_err(|fault| fault.within(&name))
        })?;
        if let Some(missing) = kind.required().iter().find(|field| !fields.has(**field)) {
            return Err(Fault::shape(format!("missing field `{}`", missing.name()), reader.at()));
        }
        reader.end()?;
        Ok(fields)
    }

    fn member(&mut self, field: Field, reader: &mut Reader<'a>, names: &Names) -> Result<(), Fault> {
        reader.space();
        let start = reader.at();
        let value = reader.value()?;
        let at = reader.at();
        match (field, value) {
            (Field::SkipCache, Value::Bool(skip)) => self.skip_cache = skip,
            (Field::SkipCache | Field::Resource | Field::AuthorizationDetails | Field::Claims, Value::Null) => {}
            (Field::AuthorizationDetails, Value::List) => {
                self.authorization_details = Some(details(reader.since(start)).map_err(|text| Fault::shape(text, at))?);
            }
            (Field::AuthorizationDetails, Value::Text(text)) => {
                self.authorization_details = Some(details(&text).map_err(|text| Fault::shape(text, at))?);
            }
            (Field::AuthorizationDetails, _) => return Err(Fault::shape(NO_DETAILS, at)),
            (Field::SkipCache, other) => {
                return Err(Fault::shape(format!("invalid type: {}, expected a boolean", found(&other)), at));
            }
            (_, Value::Text(text)) => self.text(field, text, names, false).map_err(|text| Fault::shape(text, at))?,
            (_, other) => return Err(Fault::shape(format!("invalid type: {}, expected a string", found(&other)), at)),
        }
        Ok(())
    }

    fn text(&mut self, field: Field, text: Cow<'a, str>, names: &Names, form: bool) -> Result<(), Cow<'static, str>> {
        match field {
            Field::IdentityProvider => {
                self.provider = names.find(&text).ok_or_else(|| {
                    format!("unknown variant `{}`, expected one of {}", shortened(&text), names.listing)
                })?;
            }
            Field::Target => self.target = text,
            Field::Resource => self.resource = Some(text),
            Field::Claims => self.claims = Some(text),
            Field::AuthorizationDetails => self.authorization_details = Some(details(&text)?),
            Field::UserToken | Field::Token => self.token = text,
            Field::SkipCache => {
                self.skip_cache = match &*text {
                    "true" if form => true,
                    "false" if form => false,
                    _ => return Err("provided string was not `true` or `false`".into()),
                }
            }
        }
        Ok(())
    }

    /// Whether it was read before.
    fn mark(&mut self, field: Field) -> bool {
        let before = self.has(field);
        self.seen |= 1 << field as u8;
        before
    }

    const fn has(&self, field: Field) -> bool {
        self.seen & (1 << field as u8) != 0
    }
}

const NO_DETAILS: &str = "data did not match any variant of untagged enum RequestValue";

/// RFC 9396 section 2: a list of objects; what is in them is the provider's business.
fn details(text: &str) -> Result<String, Cow<'static, str>> {
    let details: Vec<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(text).map_err(|_| NO_DETAILS)?;
    serde_json::to_string(&details).map_err(|_| NO_DETAILS.into())
}

fn found(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("boolean `{value}`"),
        Value::Number(number) if number.contains(['.', 'e', 'E']) => format!("floating point `{}`", shortened(number)),
        Value::Number(number) => format!("integer `{}`", shortened(number)),
        Value::Text(text) => format!("string {:?}", shortened(text)),
        Value::List => "sequence".to_owned(),
        Value::Map => "map".to_owned(),
    }
}

/// What an answer repeats of a value: it may be a token in the wrong field, and applications log what they are answered.
fn shortened(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 64;
    const SHOWN: usize = 12;
    if text.len() <= LONGEST && !text.starts_with("eyJ") {
        return Cow::Borrowed(text);
    }
    let shown: String = text.chars().take(if text.starts_with("eyJ") { 0 } else { SHOWN }).collect();
    Cow::Owned(format!("{shown}… ({} bytes)", text.len()))
}
