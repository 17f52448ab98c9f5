//! The table of texts, row by row, in both encodings.
use super::*;

fn names() -> Names {
    let known = ["azuread", "entra_id", "tokenx", "maskinporten", "idporten", "ansattporten"];
    let ids = [0, 0, 1, 2, 3, 4];
    let known: Vec<_> = known.into_iter().zip(ids).map(|(name, id)| (name.to_owned(), ProviderId(id))).collect();
    Names::new(known, ["azuread", "entra_id", "tokenx", "maskinporten", "idporten"].into_iter())
}

fn json(body: &str) -> String {
    token(body.as_bytes(), Encoding::Json, &names()).unwrap_err().0
}

fn form(body: &str) -> String {
    token(body.as_bytes(), Encoding::Form, &names()).unwrap_err().0
}

const SYNTAX: &str = "Failed to parse the request body as JSON: ";
const SHAPE: &str = "Failed to deserialize the JSON body into the target type: ";
const FORM: &str = "Failed to deserialize form body: ";

#[test]
fn unsupported_types_are_named() {
    let refused = |value: &str| Encoding::of(value).unwrap_err().0;
    let expected = "expected one of `application/json`, `application/x-www-form-urlencoded`";
    assert_eq!(refused("text/plain"), format!("unsupported media type: text/plain: {expected}"));
    assert_eq!(refused(""), format!("unsupported media type: : {expected}"), "a missing header");
    assert_eq!(refused("Application/JSON"), format!("unsupported media type: Application/JSON: {expected}"));
    assert_eq!(refused("application/jsonp"), "Expected request with `Content-Type: application/json`");
    assert!(refused("application/x-www-form-urlencodedx").starts_with("Form requests must have"));
    for json in ["application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"] {
        assert_eq!(Encoding::of(json), Ok(Encoding::Json), "{json}");
    }
    assert_eq!(Encoding::of("application/x-www-form-urlencoded; charset=utf-8"), Ok(Encoding::Form));
}

#[test]
fn json_syntax_is_told_with_its_place() {
    assert_eq!(json(""), format!("{SYNTAX}EOF while parsing a value at line 1 column 0"));
    assert_eq!(json(r#"{"target":"#), format!("{SYNTAX}target: EOF while parsing a value at line 1 column 10"));
    assert_eq!(json(r#"{"target":"a"#), format!("{SYNTAX}target: EOF while parsing a string at line 1 column 12"));
    assert_eq!(json("{"), format!("{SYNTAX}EOF while parsing a value at line 1 column 1"));
    assert_eq!(json("{\n\"target\": nil}"), format!("{SYNTAX}target: expected ident at line 2 column 12"));
    assert_eq!(json("x"), format!("{SYNTAX}expected value at line 1 column 1"));
    let whole = r#"{"identity_provider":"entra_id","target":"a"}"#;
    assert_eq!(json(&format!("{whole}x")), format!("{SYNTAX}trailing characters at line 1 column 46"));
    let latin = [br#"{"target":""#.as_slice(), b"\xe9\"}"].concat();
    let refused = token(&latin, Encoding::Json, &names()).unwrap_err().0;
    assert_eq!(refused, format!("{SYNTAX}invalid unicode code point at line 1 column 12"));
}

#[test]
fn json_of_another_shape_is_told_with_field_and_place() {
    assert_eq!(
        json(r#"{"identity_provider": "entra_id"}"#),
        format!("{SHAPE}missing field `target` at line 1 column 33"),
        "the place of the closing brace, and no field"
    );
    assert_eq!(
        json(r#"{"identity_provider": "entra_id", "target": 1}"#),
        format!("{SHAPE}target: invalid type: integer `1`, expected a string at line 1 column 45")
    );
    assert_eq!(
        json(r#"{"identity_provider":"invalid","target":"a"}"#),
        format!(
            "{SHAPE}identity_provider: unknown variant `invalid`, expected one of `azuread`, `entra_id`, `tokenx`, \
             `maskinporten`, `idporten` at line 1 column 30"
        )
    );
    assert_eq!(json(r#"{"target":"a"}"#), format!("{SHAPE}missing field `identity_provider` at line 1 column 14"));
    assert_eq!(json("{}"), format!("{SHAPE}missing field `identity_provider` at line 1 column 2"));
    for (value, told) in [
        ("null", "null"),
        ("true", "boolean `true`"),
        ("1.5", "floating point `1.5`"),
        ("[1]", "sequence"),
        ("{}", "map"),
    ] {
        let told = format!("{SHAPE}target: invalid type: {told}, expected a string at line 1 column ");
        assert!(json(&format!(r#"{{"target":{value}}}"#)).starts_with(&told), "{value}");
    }
    assert_eq!(json("[]"), format!("{SHAPE}invalid type: sequence, expected an object at line 1 column 2"));
    assert_eq!(json(r#"{"target":"a","target":"b"}"#), format!("{SHAPE}duplicate field `target` at line 1 column 23"));
}

#[test]
fn forms_are_told_without_a_place() {
    assert_eq!(form("identity_provider=entra_id"), format!("{FORM}missing field `target`"));
    assert_eq!(form(""), format!("{FORM}missing field `identity_provider`"));
    assert_eq!(
        form("identity_provider=invalid&target=a"),
        format!(
            "{FORM}identity_provider: unknown variant `invalid`, expected one of `azuread`, `entra_id`, `tokenx`, \
             `maskinporten`, `idporten`"
        )
    );
    assert_eq!(form("target=a&target=b"), format!("{FORM}duplicate field `target`"));
    assert_eq!(form("t%61rget=a&target=b"), format!("{FORM}duplicate field `target`"), "however it is spelled");
    for bad in ["target=%", "target=%Z0", "target=%ff"] {
        assert_eq!(form(bad), format!("{FORM}target: the value is not percent-encoded UTF-8"), "{bad}");
    }
}

#[test]
fn skip_cache_is_a_boolean() {
    let whole = |skip: &str| format!(r#"{{"identity_provider":"entra_id","target":"a","skip_cache":{skip}}}"#);
    let read = |skip: &str| token(whole(skip).as_bytes(), Encoding::Json, &names()).unwrap().skip_cache;
    assert_eq!((read("true"), read("false"), read("null")), (true, false, false));
    assert!(json(&whole(r#""true""#)).starts_with(&format!(
        "{SHAPE}skip_cache: invalid type: string \"true\", expected a boolean at line 1 column "
    )));
    let whole = |skip: &str| format!("identity_provider=entra_id&target=a&skip_cache={skip}");
    let read = |skip: &str| token(whole(skip).as_bytes(), Encoding::Form, &names()).unwrap().skip_cache;
    assert_eq!((read("true"), read("false")), (true, false));
    for other in ["1", "TRUE", ""] {
        let told = format!("{FORM}skip_cache: provided string was not `true` or `false`");
        assert_eq!(form(&whole(other)), told, "{other}");
    }
}

#[test]
fn authorization_details_are_a_list_of_objects_or_a_text_that_is_one() {
    let whole = |details: &str| {
        format!(r#"{{"identity_provider":"maskinporten","target":"a","authorization_details":{details}}}"#)
    };
    let read = |details: &str| token(whole(details).as_bytes(), Encoding::Json, &names()).unwrap();
    let expected = Some(r#"[{"type":"x"}]"#.to_owned());
    assert_eq!(read(r#"[ {"type": "x"} ]"#).authorization_details, expected);
    assert_eq!(read(r#""[\n {\"type\": \"x\"}\n]""#).authorization_details, expected);
    assert_eq!(read("null").authorization_details, None);
    for other in [r#"{"type":"x"}"#, "1", "true", "[1]", r#""no JSON""#, r#""{}""#] {
        let told = format!(
            "{SHAPE}authorization_details: data did not match any variant of untagged enum RequestValue at line 1 column "
        );
        assert!(json(&whole(other)).starts_with(&told), "{other}: {}", json(&whole(other)));
    }
    let body =
        "identity_provider=maskinporten&target=a&authorization_details=%5B%0A%20%7B%22type%22%3A%22x%22%7D%0A%5D";
    assert_eq!(token(body.as_bytes(), Encoding::Form, &names()).unwrap().authorization_details, expected);
}

#[test]
fn what_is_not_of_a_body_is_passed_over_and_an_empty_target_is_one() {
    let body = r#"{"unknown":[1,{"target":2}],"user_token":5,"identity_provider":"azuread","target":""}"#;
    let read = token(body.as_bytes(), Encoding::Json, &names()).unwrap();
    assert_eq!((read.provider, read.target.as_str()), (ProviderId(0), ""));
    let body = "unknown=1&unknown=2&user_token=%&identity_provider=azuread&target=";
    let read = token(body.as_bytes(), Encoding::Form, &names()).unwrap();
    assert_eq!((read.provider, read.target.as_str()), (ProviderId(0), ""));
}

#[test]
fn the_other_bodies_miss_their_own_fields() {
    let body = br#"{"identity_provider":"tokenx","target":"a"}"#;
    let refused = exchange(body, Encoding::Json, &names()).unwrap_err().0;
    assert_eq!(refused, format!("{SHAPE}missing field `user_token` at line 1 column 43"));
    let refused = introspect(b"identity_provider=tokenx", Encoding::Form, &names()).unwrap_err().0;
    assert_eq!(refused, format!("{FORM}missing field `token`"));
    let refused = introspect(b"token=a.b.c", Encoding::Form, &names()).unwrap_err().0;
    assert_eq!(refused, format!("{FORM}missing field `identity_provider`"), "as older clients send it");
}

#[test]
fn a_token_in_the_wrong_field_is_not_repeated() {
    let token = format!("eyJhbGciOiJSUzI1NiJ9.{}.x", "secret".repeat(300));
    for body in [
        format!(r#"{{"identity_provider":"{token}"}}"#),
        format!(r#"{{"skip_cache":"{token}"}}"#),
        format!(r#"{{"authorization_details":"{token}"}}"#),
    ] {
        assert!(!json(&body).contains("eyJ") && !json(&body).contains("secret"), "{}", json(&body));
    }
    assert!(!Encoding::of(&token).unwrap_err().0.contains("eyJ"));
}
