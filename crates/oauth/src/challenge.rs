//! Challenges in `WWW-Authenticate` (RFC 9110 section 11.6.1, RFC 6750 section 3, RFC 9470; Entra's `claims`).
//!
//! ```
//! # use deputize_oauth as oauth;
//! use oauth::challenge::{Challenge, encode_claims};
//! let step_up = Challenge::bearer().with("error", "insufficient_claims").with("claims", encode_claims("{}"));
//! assert_eq!(step_up.to_string(), r#"Bearer error="insufficient_claims", claims="e30=""#);
//! assert_eq!(Challenge::parse(&step_up.to_string()).unwrap(), [step_up]);
//! ```
use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::fmt;
use thiserror::Error;

const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_CHALLENGES: usize = 16;

/// One challenge: a scheme and its parameters, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    scheme: String,
    token68: Option<String>,
    params: Vec<(String, String)>,
}

/// Why a header was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ChallengeError {
    /// Not the grammar of RFC 9110.
    #[error("the challenge is malformed at byte {0}")]
    Malformed(usize),
    /// A parameter stands twice in one challenge.
    #[error("the challenge has a parameter twice, again at byte {0}")]
    Duplicate(usize),
    /// More than any server sends.
    #[error("the challenge is larger than {MAX_HEADER_BYTES} bytes or has more than {MAX_CHALLENGES} parts")]
    TooLarge,
}

impl Challenge {
    /// A `Bearer` challenge without parameters.
    pub fn bearer() -> Self {
        Self::of("Bearer")
    }

    /// A challenge of another scheme, without parameters.
    pub fn of(scheme: &str) -> Self {
        debug_assert!(!scheme.is_empty() && scheme.bytes().all(is_token));
        Self { scheme: scheme.into(), token68: None, params: Vec::new() }
    }

    /// This challenge with one more parameter. What cannot stand in a header (controls, characters beyond ASCII) becomes
    /// `?`, so that no value can end the header or begin another.
    pub fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        debug_assert!(!name.is_empty() && name.bytes().all(is_token));
        let plain = value.as_ref().chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
        self.params.push((name.into(), plain));
        self
    }

    /// This challenge, of another scheme.
    pub fn under(self, scheme: &str) -> Self {
        Self { scheme: Self::of(scheme).scheme, ..self }
    }

    /// The scheme as it was written.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whether the scheme is `Bearer`, in any case.
    pub fn is_bearer(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("bearer")
    }

    /// A parameter, its name in any case.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The claims challenge, decoded: the JSON to send as `claims`.
    pub fn claims(&self) -> Option<String> {
        self.param("claims").and_then(decode_claims)
    }

    /// Reads one header's challenges; several may stand in it.
    ///
    /// # Errors
    /// If the header is not exactly of RFC 9110's grammar, repeats a parameter, or is too large.
    pub fn parse(header: &str) -> Result<Vec<Self>, ChallengeError> {
        if header.len() > MAX_HEADER_BYTES {
            return Err(ChallengeError::TooLarge);
        }
        let mut text = Text { bytes: header.as_bytes(), at: 0 };
        let mut challenges: Vec<Self> = Vec::new();
        text.separators();
        while !text.ended() {
            let word = text.token()?;
            text.spaces();
            // `word =` continues the challenge before; anything else begins one.
            if text.peek() == Some(b'=') {
                let at = text.at;
                let Some(open) = challenges.last_mut().filter(|c| c.token68.is_none()) else {
                    return Err(ChallengeError::Malformed(at));
                };
                let value = text.value()?;
                if open.param(&word).is_some() {
                    return Err(ChallengeError::Duplicate(at));
                }
                open.params.push((word, value));
            } else {
                let mut challenge = Self { scheme: word, token68: None, params: Vec::new() };
                let after_space = text.at > 0 && text.bytes.get(text.at - 1) == Some(&b' ');
                if after_space && !matches!(text.peek(), None | Some(b',')) {
                    challenge.token68 = text.token68();
                    if challenge.token68.is_none() {
                        let (name, at) = (text.token()?, text.at);
                        text.spaces();
                        if text.peek() != Some(b'=') {
                            return Err(ChallengeError::Malformed(at));
                        }
                        let value = text.value()?;
                        challenge.params.push((name, value));
                    }
                }
                challenges.push(challenge);
            }
            text.end_of_item()?;
            if challenges.len() > MAX_CHALLENGES || challenges.iter().any(|c| c.params.len() > 32) {
                return Err(ChallengeError::TooLarge);
            }
        }
        Ok(challenges)
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        if let Some(credentials) = &self.token68 {
            write!(f, " {credentials}")?;
        }
        for (n, (name, value)) in self.params.iter().enumerate() {
            write!(f, "{} {name}=\"", if n > 0 { "," } else { "" })?;
            for c in value.chars() {
                if matches!(c, '"' | '\\') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
            f.write_str("\"")?;
        }
        Ok(())
    }
}

/// The `claims` parameter of a challenge: standard base64 of the JSON.
pub fn encode_claims(json: &str) -> String {
    STANDARD.encode(json)
}

/// The JSON of a `claims` parameter; `None` unless it is base64 (padding may lack) of a JSON object.
pub fn decode_claims(text: &str) -> Option<String> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&alphabet::STANDARD, lenient).decode(text).ok()?;
    let json = String::from_utf8(bytes).ok()?;
    serde_json::from_str::<serde_json::Map<_, _>>(&json).is_ok().then_some(json)
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Text<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn ended(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn malformed<T>(&self) -> Result<T, ChallengeError> {
        Err(ChallengeError::Malformed(self.at))
    }

    fn run(&mut self, wanted: impl Fn(u8) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        String::from_utf8_lossy(self.bytes.get(start..self.at).unwrap_or_default()).into_owned()
    }

    fn spaces(&mut self) {
        self.run(|b| matches!(b, b' ' | b'\t'));
    }

    /// Empty list elements are legal (RFC 9110 section 5.6.1).
    fn separators(&mut self) {
        self.run(|b| matches!(b, b' ' | b'\t' | b','));
    }

    fn end_of_item(&mut self) -> Result<(), ChallengeError> {
        self.spaces();
        match self.peek() {
            None => Ok(()),
            Some(b',') => {
                self.separators();
                Ok(())
            }
            Some(_) => self.malformed(),
        }
    }

    fn token(&mut self) -> Result<String, ChallengeError> {
        let token = self.run(is_token);
        if token.is_empty() { self.malformed() } else { Ok(token) }
    }

    /// `=` and a token or a quoted string.
    fn value(&mut self) -> Result<String, ChallengeError> {
        self.at += 1;
        self.spaces();
        if self.peek() != Some(b'"') {
            return self.token();
        }
        self.at += 1;
        let mut value = Vec::new();
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b @ (b'\t' | b' '..=b'~')) => value.push(b),
                        _ => return self.malformed(),
                    }
                }
                Some(b @ (b'\t' | b' '..=b'~' | 0x80..)) => value.push(b),
                _ => return self.malformed(),
            }
            self.at += 1;
        }
        self.at += 1;
        String::from_utf8(value).or_else(|_| self.malformed())
    }

    /// The one value of schemes such as `Negotiate`: ends at a comma or at the end, or it is not one.
    fn token68(&mut self) -> Option<String> {
        let start = self.at;
        let mut text = self.run(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b));
        text += &self.run(|b| b == b'=');
        let whole = text.bytes().any(|b| b != b'=') && matches!(self.peek(), None | Some(b','));
        if whole {
            return Some(text);
        }
        self.at = start;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(header: &str) -> Vec<Challenge> {
        Challenge::parse(header).unwrap_or_else(|e| panic!("{header}: {e}"))
    }

    #[test]
    fn several_challenges_stand_in_one_header() {
        let header = r#"Bearer realm="", authorization_uri="https://h/common/oauth2/authorize", error="insufficient_claims", claims="e30=", Negotiate abc==, Basic, bearer error=insufficient_user_authentication , acr_values="c1""#;
        let all = parse(header);
        assert_eq!(all.iter().map(Challenge::scheme).collect::<Vec<_>>(), ["Bearer", "Negotiate", "Basic", "bearer"]);
        assert_eq!(all[0].claims().as_deref(), Some("{}"));
        assert_eq!((all[0].param("realm"), all[1].token68.as_deref()), (Some(""), Some("abc==")));
        assert!(all[3].is_bearer());
        assert_eq!(
            (all[3].param("ERROR"), all[3].param("acr_values")),
            (Some("insufficient_user_authentication"), Some("c1"))
        );
    }

    #[test]
    fn a_value_cannot_end_its_header_or_its_string() {
        let evil = "a\"\\, Basic realm=\"x\r\nSet-Cookie: a=b\u{e9}\0";
        let text = Challenge::bearer().with("error_description", evil).to_string();
        assert!(text.bytes().all(|b| matches!(b, b' '..=b'~')), "{text}");
        let read = parse(&text);
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].param("error_description"), Some("a\"\\, Basic realm=\"x??Set-Cookie: a=b??"));
    }

    #[test]
    fn what_is_not_the_grammar_is_refused() {
        let bad = [
            "Bearer =x",
            "realm=\"x\"",
            "Bearer realm=\"x",
            "Bearer a=\"x\"y",
            "Bearer a=b c=d",
            "Bearer a=\"\\",
            "Bearer a=\"\u{1}\"",
            "Bearer\u{e9} a=b",
            "Bearer a=b, a=c",
            "Bearer A=b, a=c",
            "Negotiate a==, b=c",
            "\"\"",
        ];
        for header in bad {
            assert!(Challenge::parse(header).is_err(), "{header}: {:?}", Challenge::parse(header));
        }
        // A lone word after the scheme is a token68, as in `Negotiate abc` and `NTLM abc=`.
        assert_eq!(parse("Bearer realm=")[0].param("realm"), None);
        assert_eq!(Challenge::parse(&"a".repeat(20_000)), Err(ChallengeError::TooLarge));
        assert_eq!(Challenge::parse(&"a,".repeat(100)), Err(ChallengeError::TooLarge));
        assert_eq!(Challenge::parse(" , ,"), Ok(vec![]));
    }

    #[test]
    fn claims_are_base64_of_a_json_object() {
        let json = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
        assert_eq!(decode_claims(&encode_claims(json)).as_deref(), Some(json));
        assert_eq!(decode_claims("e30").as_deref(), Some("{}"));
        for bad in ["", "W10=", "IiI=", "e3", "%", "/w=="] {
            assert_eq!(decode_claims(bad), None, "{bad}");
        }
    }
}
