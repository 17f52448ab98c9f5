//! NumericDate as client libraries really send it: an integer, a fraction (MSAL Python), or a string (MSAL.NET).
use super::AssertionRefusal;
use decision::Timestamp;
use serde_json::{Map, Value};

/// 9999-12-31T23:59:59Z.
const LAST: f64 = 253_402_300_799.0;

/// The moment a claim names, fractions cut off; `None` if it is absent.
pub(super) fn claim(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, AssertionRefusal> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = match value {
        Value::Number(number) => number.as_f64(),
        // Digits and at most a fraction: what `f64` reads besides (`inf`, `+1`, `1e9`) nobody sends.
        Value::String(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
            text.chars().all(|c| c.is_ascii_digit() || c == '.').then(|| text.parse::<f64>().ok()).flatten()
        }
        _ => None,
    };
    match seconds {
        #[expect(clippy::cast_possible_truncation, reason = "cut off on purpose, and within the range just compared")]
        Some(seconds) if (0.0..=LAST).contains(&seconds) => Ok(Some(Timestamp(seconds as i64))),
        _ => Err(AssertionRefusal::Claim(name)),
    }
}
