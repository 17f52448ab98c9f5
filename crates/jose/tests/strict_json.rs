//! The scanner against serde_json: what it accepts, the reader of the claims accepts too, and reads alike.
#![cfg(test)]
use jose::{JsonFault, Refusal, strict_json};
use proptest::prelude::*;
use serde_json::Value;

fn fault(text: &[u8]) -> Option<JsonFault> {
    match strict_json(text) {
        Ok(()) => None,
        Err(Refusal::Claims(fault)) => Some(fault),
        Err(other) => panic!("{other}"),
    }
}

/// The two must agree, but for what the scanner refuses on purpose.
fn agree(text: &[u8]) -> Result<(), TestCaseError> {
    let read = serde_json::from_slice::<Value>(text);
    match fault(text) {
        None => prop_assert!(matches!(read, Ok(Value::Object(_))), "{text:?}: {read:?}"),
        Some(JsonFault::Duplicate | JsonFault::Depth | JsonFault::Number | JsonFault::NotObject) => {}
        Some(fault) => prop_assert!(read.is_err(), "{}: {fault}", String::from_utf8_lossy(text)),
    }
    Ok(())
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 10, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..10).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_serde_writes_is_accepted(value in prop::collection::btree_map(".{0,6}", json(), 0..50)) {
        let value = Value::Object(value.into_iter().collect());
        prop_assert_eq!(fault(value.to_string().as_bytes()), None);
        prop_assert_eq!(fault(serde_json::to_string_pretty(&value).unwrap().as_bytes()), None);
    }

    #[test]
    fn damaged_json_is_judged_as_serde_judges_it(
        value in prop::collection::btree_map("[a-z]{0,6}", json(), 0..12),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut text = Value::Object(value.into_iter().collect()).to_string().into_bytes();
        for (at, octet) in damage {
            let at = at.index(text.len());
            text[at] = octet;
        }
        agree(&text)?;
    }

    #[test]
    fn letters_of_json_are_judged_as_serde_judges_them(text in r#"\{[\{\}\[\]",:\\u0-9a-fA-FntE.+\- ]{0,40}\}"#) {
        agree(text.as_bytes())?;
    }

    #[test]
    fn a_name_twice_is_found_wherever_it_stands(
        names in prop::collection::btree_set("[a-z]{1,5}", 2..120),
        twice in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        escaped in any::<bool>(),
    ) {
        let mut names: Vec<String> = names.into_iter().collect();
        let again = names[twice.index(names.len())].clone();
        let again = if escaped { format!("\\u{:04x}{}", u32::from(again.as_bytes()[0]), &again[1..]) } else { again };
        let place = place.index(names.len() + 1);
        let members = |names: &[String]| names.iter().map(|n| format!("\"{n}\":[{{\"x\":0}}]")).collect::<Vec<_>>().join(",");
        prop_assert_eq!(fault(format!("{{{}}}", members(&names)).as_bytes()), None);
        names.insert(place, again);
        prop_assert_eq!(fault(format!("{{{}}}", members(&names)).as_bytes()), Some(JsonFault::Duplicate));
        prop_assert_eq!(fault(format!("{{\"a\":[{{{}}}]}}", members(&names)).as_bytes()), Some(JsonFault::Duplicate));
    }
}

#[test]
fn names_may_return_in_other_objects() {
    assert_eq!(fault(br#"{"a":{"a":{"a":1},"b":[{"a":1},{"a":2}]},"b":{"a":1}}"#), None);
}

#[test]
fn the_caps_are_where_they_are_said_to_be() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert_eq!((fault(nested(32).as_bytes()), fault(nested(33).as_bytes())), (None, Some(JsonFault::Depth)));
    let integer = |digits: usize| format!("{{\"a\":-{}}}", "9".repeat(digits));
    assert_eq!((fault(integer(20).as_bytes()), fault(integer(21).as_bytes())), (None, Some(JsonFault::Number)));
    assert_eq!(fault(b"{\"a\":1e308}"), None);
    assert_eq!(fault(b"{\"a\":1e309}"), Some(JsonFault::Number));
    assert_eq!(fault("{}".repeat(2).as_bytes()), Some(JsonFault::Trailing));
}

/// J-15: what another reader would read as something else, or not at all.
#[test]
fn j_15_an_object_begins_and_continues_as_one() {
    for text in ["", " ", "[]", "[\"a\":1}", "1", "\"a\"", "null", "x\"a\":1}"] {
        assert_eq!(fault(text.as_bytes()), Some(JsonFault::NotObject), "{text}");
    }
    for text in ["{xa\":1}", "{'a\":1}", "{\"a\":1,xb\":2}", "{\"a\":1,}", "{,}", "{\"a\"x1}", "{\"a\":1;\"b\":2}", "{"]
    {
        assert_eq!(fault(text.as_bytes()), Some(JsonFault::Syntax), "{text}");
    }
}

#[test]
fn j_15_numbers_and_surrogates_are_whole() {
    for text in ["01", "-01", "00", "-", "1.", "-.5", "1.e1", "1e", "1e+", "+1", ".5", "0x1", "1_0"] {
        assert_eq!(fault(format!("{{\"a\":{text}}}").as_bytes()), Some(JsonFault::Syntax), "{text}");
    }
    for text in ["0", "-0", "0.5", "10", "1E-5", "1.25e+3"] {
        assert_eq!(fault(format!("{{\"a\":{text}}}").as_bytes()), None, "{text}");
    }
    for text in [r"\ud800", r"\udc00", r"\ud800\u0041", r"\ud800\ud800", r"\ud800xudc00", r"\ud800\xdc00", r"\ud800\n"]
    {
        assert_eq!(fault(format!("{{\"a\":\"{text}\"}}").as_bytes()), Some(JsonFault::Surrogate), "{text}");
    }
    assert_eq!(fault(br#"{"a":"\ud83e\uddee"}"#), None);
}
