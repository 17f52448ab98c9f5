//! Names in a query, however they are spelt. The query itself goes on as it came, less what is taken out of it.

/// Whether a query can be handed on: what is not ASCII has to be percent-encoded.
pub(super) fn is_sound(query: &str) -> bool {
    query.bytes().all(|b| b.is_ascii_graphic())
}

/// The first value of a parameter that is called so, as it stands there; `Err` if there are several.
pub(crate) fn value<'a>(query: Option<&'a str>, name: &str) -> Result<Option<&'a str>, Several> {
    let mut values = pairs(query).filter(|(key, _)| is_called(key, name)).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Several),
    }
}

/// A parameter that may stand once stands there more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Several;

/// The query without the parameters that are called so; `None` where nothing is left.
pub(crate) fn without(query: &str, name: &str) -> Option<String> {
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_called(key(pair), name)).collect();
    let left = kept.join("&");
    (!left.is_empty()).then_some(left)
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    query.into_iter().flat_map(|query| query.split('&')).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn key(pair: &str) -> &str {
    pair.split('=').next().unwrap_or_default()
}

/// Compared as readers do who decode, and as readers do who ignore case.
fn is_called(key: &str, name: &str) -> bool {
    let mut wanted = name.bytes();
    let mut rest = key.bytes();
    loop {
        let byte = match rest.next() {
            None => return wanted.next().is_none(),
            Some(b'%') => {
                let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or_default(),
                    _ => return false,
                }
            }
            Some(byte) => byte,
        };
        if !wanted.next().is_some_and(|wanted| wanted.eq_ignore_ascii_case(&byte)) {
            return false;
        }
    }
}

/// What a value says, its escapes read; `None` if it says no text.
pub(crate) fn decoded(value: &str) -> Option<String> {
    let (mut text, mut rest) = (Vec::with_capacity(value.len()), value.bytes());
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
        text.push(match byte {
            b'%' => u8::try_from(digit()? * 16 + digit()?).ok()?,
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_in_every_spelling() {
        for query in ["key=1", "a=b&key=1", "KEY=1", "%6bey=1", "k%65%59=1", "a&key=1&b"] {
            assert_eq!(value(Some(query), "key"), Ok(Some("1")), "{query}");
        }
        for query in ["", "keys=1", "akey=1", "a=key", "%256bey=1", "%zzkey=1", "key%=1"] {
            assert_eq!(value(Some(query), "key"), Ok(None), "{query}");
        }
        assert_eq!(value(None, "key"), Ok(None));
        assert_eq!(value(Some("key"), "key"), Ok(Some("")));
        assert_eq!(value(Some("key=1&Key=2"), "key"), Err(Several));
    }

    #[test]
    fn every_spelling_is_taken_out() {
        assert_eq!(without("a=1&key=2&%6Bey=3&KEY&b", "key").as_deref(), Some("a=1&b"));
        assert_eq!(without("key=1", "key"), None);
        assert_eq!(without("a=%20&b=+", "key").as_deref(), Some("a=%20&b=+"), "the rest stays as it is");
    }

    #[test]
    fn values_are_read_as_forms_are() {
        assert_eq!(decoded("a%2Bb+c").as_deref(), Some("a+b c"));
        assert_eq!(decoded("%ff"), None);
        assert_eq!(decoded("%2"), None);
    }
}
