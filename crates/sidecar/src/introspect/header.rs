//! What a token says of itself, and the texts for what cannot be read of it.
use crate::decode::json::{Fault, Reader, Value, place};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::{DecodeError, Engine};
use jose::Algorithm;

/// Every name that is known; symmetric ones are known and never allowed.
const KNOWN: [&str; 12] =
    ["HS256", "HS384", "HS512", "ES256", "ES384", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"];

/// A header that can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kid: Option<String>,
    /// `None` for those that are symmetric.
    pub(super) algorithm: Option<Algorithm>,
}

impl Header {
    /// Reads the header of a compact JWS.
    pub(super) fn read(token: &str) -> Result<Self, String> {
        if token.split('.').count() != 3 {
            return Err("InvalidToken".to_owned());
        }
        let segment = token.split('.').next().unwrap_or_default();
        let octets =
            URL_SAFE_NO_PAD.decode(segment).map_err(|error| format!("Base64 error: {}", base64_fault(&error)))?;
        let json = |fault: Fault| format!("JSON error: {}{}", fault.text, place(&octets, fault.at));
        let text = std::str::from_utf8(&octets).map_err(|error| {
            let at = error.valid_up_to() + 1;
            json(Fault { syntax: true, text: "invalid unicode code point".into(), at })
        })?;
        Self::of_json(text).map_err(json)
    }

    fn of_json(text: &str) -> Result<Self, Fault> {
        let mut reader = Reader::new(text);
        reader.space();
        if reader.peek() != Some(b'{') {
            reader.value()?;
            return Err(Fault::shape("invalid type, expected an object", reader.at()));
        }
        let (mut algorithm, mut kid) = (None, None);
        reader.object(|reader, name| {
            let value = reader.value()?;
            let at = reader.at();
            match (&*name, value) {
                ("alg", Value::Text(_)) if algorithm.is_some() => Err(Fault::shape("duplicate field `alg`", at)),
                ("kid", Value::Text(_)) if kid.is_some() => Err(Fault::shape("duplicate field `kid`", at)),
                ("alg", Value::Text(alg)) => {
                    algorithm = Some(known(&alg).map_err(|text| Fault::shape(text, at))?);
                    Ok(())
                }
                ("kid", Value::Text(text)) => {
                    kid = Some(text.into_owned());
                    Ok(())
                }
                ("kid", Value::Null) => Ok(()),
                ("alg" | "kid", _) => Err(Fault::shape("invalid type, expected a string", at)),
                _ => Ok(()),
            }
        })?;
        let algorithm = algorithm.ok_or_else(|| Fault::shape("missing field `alg`", reader.at()))?;
        reader.end()?;
        Ok(Self { kid, algorithm })
    }
}

fn known(alg: &str) -> Result<Option<Algorithm>, String> {
    if KNOWN.contains(&alg) {
        return Ok(alg.parse().ok());
    }
    let known: Vec<String> = KNOWN.iter().map(|name| format!("`{name}`")).collect();
    let shown: String = alg.chars().take(32).collect();
    Err(format!("unknown variant `{shown}`, expected one of {}", known.join(", ")))
}

fn base64_fault(error: &DecodeError) -> String {
    match error {
        DecodeError::InvalidByte(offset, symbol) => format!("Invalid symbol {symbol}, offset {offset}."),
        DecodeError::InvalidLastSymbol { offset, symbol, .. } => {
            format!("Invalid last symbol {symbol}, offset {offset}.")
        }
        DecodeError::InvalidLength(length) => format!("Invalid input length: {length}"),
        DecodeError::InvalidPadding => "Invalid padding".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_twice_is_said_by_two() {
        for (json, told) in [
            (r#"{"alg":"ES256","alg":"none"}"#, "duplicate field `alg` at line 1 column 27"),
            (r#"{"alg":"ES256","kid":"a","kid":"b"}"#, "duplicate field `kid` at line 1 column 34"),
        ] {
            let token = format!("{}.e30.", URL_SAFE_NO_PAD.encode(json));
            assert_eq!(Header::read(&token), Err(format!("JSON error: {told}")));
        }
    }
}
