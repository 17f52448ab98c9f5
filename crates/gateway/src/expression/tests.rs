use super::values::{Room, members};
use super::{Expression, Unmet, VARIABLES};
use crate::settings::Spanned;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn read(text: &str) -> Result<Expression, String> {
    Expression::read(&Spanned::new(0..text.len(), text.to_owned()), VARIABLES).map_err(|error| error.to_string())
}

/// What an expression says where the claims are these, and everything else is nothing.
fn said(text: &str, claims: &Value) -> Result<(), Unmet> {
    let expression = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let claims: &Map<String, Value> = claims.as_object().unwrap();
    expression.holds(|variable, room: &mut Room| match variable {
        "claims" => members(claims, room),
        _ => Ok(cel::Value::Null),
    })
}

#[test]
fn a_condition_says_yes_or_no_or_lets_nobody_by() {
    let claims = json!({
        "department": "sales", "level": 3, "share": 0.5, "groups": ["a", "b"], "address": {"country": "DE"}, "nothing": null,
        "verified": true, "https://x.example/role": "admin", "big": 18_446_744_073_709_551_615_u64,
    });
    for (text, holds) in [
        ("claims.department == 'sales'", true),
        ("claims.department == \"ops\"", false),
        ("claims.department in ['sales', 'ops']", true),
        ("claims.department.startsWith('sa') && !claims.department.endsWith('x')", true),
        ("claims.level >= 3", true),
        ("claims.level > 3", false),
        ("claims.share < 1.0", true),
        ("claims.big > 1.0", true),
        ("'a' in claims.groups", true),
        ("size(claims.groups) == 2", true),
        ("claims.groups.exists(group, group in ['b', 'c'])", true),
        ("claims.groups.all(group, group in ['b', 'c'])", false),
        ("claims.groups.exists_one(group, group == 'a')", true),
        ("claims.address.country == 'DE'", true),
        ("claims['https://x.example/role'] == 'admin'", true),
        ("claims.verified", true),
        ("has(claims.department) && !has(claims.missing)", true),
        ("has(claims.missing) && claims.missing == 'x'", false),
        ("claims.nothing == null", true),
        ("subscription == null", true),
        ("claims.level > 2 ? claims.verified : false", true),
        // Of two that are joined by `||`, one that holds is enough, in any order.
        ("claims.missing == 'x' || claims.verified", true),
        ("claims.verified || claims.missing == 'x'", true),
        // And of two that are joined by `&&` one that does not hold is enough, too.
        ("claims.missing == 'x' && claims.level > 3", false),
    ] {
        let expected = if holds { Ok(()) } else { Err(Unmet::False) };
        assert_eq!(said(text, &claims), expected, "{text}");
    }
    for text in [
        "claims.missing == 'x'",
        "claims.missing != 'x'",
        "!claims.missing",
        "claims.address.missing == 'x'",
        "claims.department.missing == 'x'",
        "claims.department > 3",
        "claims.department",
        "claims.level",
        "claims.groups[7] == 'a'",
        "claims.groups['a'] == 'a'",
        "claims.level / 0 == 1",
        "claims.nothing.x == 1",
        "subscription.startsWith('a')",
        "claims.level + 9223372036854775807 > 0",
        "int(claims.department) > 0",
        "claims.verified && claims.missing",
        "claims.missing.exists(x, x == 1)",
        "claims.department.contains(1)",
    ] {
        assert!(matches!(said(text, &claims), Err(Unmet::Undecided(_))), "{text}: {:?}", said(text, &claims));
    }
}

#[test]
fn what_could_not_decide_or_could_take_long_is_not_read() {
    let long = format!("claims.a == '{}'", "x".repeat(2_048));
    let wide = format!("claims.a in [{}]", vec!["1"; 300].join(","));
    let deep = format!("{}claims.a{}", "(".repeat(200), ")".repeat(200));
    let negated = format!("{}claims.a", "! ".repeat(500));
    let choices = format!("{}claims.a", "claims.a ? true : ".repeat(100));
    let members = format!("claims{}", ".a".repeat(500));
    let sound = format!("{}claims.a{} && !!claims.b", "(".repeat(24), ")".repeat(24));
    assert!(read(&sound).is_ok());
    for (text, problem) in [
        ("", "cannot be read"),
        ("claims.department ==", "cannot be read at character"),
        ("claims.department = 'sales'", "cannot be read"),
        ("claims.department == 'sales", "cannot be read"),
        ("claims.department ==\n  && 'x'", "line 2"),
        ("claim.department == 'sales'", "no variable `claim`"),
        ("user == 'ada'", "no variable `user`"),
        ("response.status == 200", "no variable `response`"),
        ("claims.a.matches('.*')", "no function `matches`"),
        ("fetch('https://x')", "no function `fetch`"),
        ("type(claims.a) == int", "no function `type`"),
        ("dyn(claims.a)", "no function `dyn`"),
        ("claims.level + 1", "something else than yes or no"),
        ("'sales'", "something else than yes or no"),
        ("[claims.a]", "something else than yes or no"),
        ("size(claims.groups)", "something else than yes or no"),
        ("claims.a ? 'x' : 'y'", "something else than yes or no"),
        ("true", "the same of every request"),
        ("1 == 1", "the same of every request"),
        ("claims.groups.map(group, group + 'x') == ['x']", "makes a list of another"),
        ("claims.groups.filter(group, group == 'x').size() > 0", "makes a list of another"),
        ("claims.a.exists(x, claims.b.exists(y, x == y))", "a loop in a loop"),
        ("claims.a.exists(x, x + x == 'aa')", "texts or lists together in a loop"),
        ("claims.a.exists(x, y == 'aa')", "no variable `y`"),
        ("claims.a.exists(x, x == 'a') && x == 'a'", "no variable `x`"),
        ("Message{a: claims.a} == null", "makes a message"),
        (&*long, "longer than 2048"),
        (&*wide, "more than 256 parts"),
        (&*deep, "nested too deep"),
        (&*negated, "nested too deep"),
        (&*choices, "nested too deep"),
        (&*members, "more than 256 parts"),
    ] {
        let error = read(text).map(|_| ()).unwrap_err();
        assert!(error.contains(problem), "{text}: {error}");
    }
    assert_eq!(read("claims.a\n   == 'x'").ok().map(|read| read.told().to_owned()).as_deref(), Some("claims.a == 'x'"));
}

#[test]
fn the_deepest_expression_that_is_read_is_evaluated_too() {
    let nested = |depth: usize| (0..depth).fold(json!(true), |inner, _| json!({"a": inner}));
    let deepest =
        (1..200).map(|depth| format!("claims{}", ".a".repeat(depth))).take_while(|text| read(text).is_ok()).last();
    let deepest = deepest.unwrap();
    assert!(deepest.len() > 40, "{deepest}");
    let claims = json!({"a": nested((deepest.len() - "claims".len()) / 2 - 1)});
    assert_eq!(said(&deepest, &claims), Ok(()));
    let many = vec!["claims.a"; 100].join(" && ");
    assert_eq!(said(&many.chars().take(8 * 60 + 4 * 59).collect::<String>(), &json!({"a": true})), Ok(()));
    let choices = format!("{}claims.a", "claims.b ? true : ".repeat(24));
    assert_eq!(said(&choices, &json!({"a": true, "b": false})), Ok(()));
    let alternatives = vec!["claims.b"; 60].join(" || ");
    assert_eq!(said(&alternatives, &json!({"b": false})), Err(Unmet::False));
}

#[test]
fn lists_that_are_too_long_are_not_gone_through() {
    let of = |length: usize| json!({"groups": (0..length).map(|n| n.to_string()).collect::<Vec<_>>()});
    let through = "claims.groups.exists(group, group == '1')";
    assert_eq!(said(through, &of(1_000)), Ok(()));
    assert!(matches!(said(through, &of(1_024)), Err(Unmet::Undecided(why)) if why.contains("1024 values")));
    assert_eq!(said("'1' in claims.groups", &of(2_000)), Ok(()), "without a loop it is read once");
}

proptest! {
    /// Whatever stands in a token, there is an answer, and it is yes only where the condition holds.
    #[test]
    fn claims_of_any_shape_get_an_answer(value in json_value()) {
        let claims = json!({"a": value.clone(), "b": 1});
        for (text, holds) in [
            ("claims.a == 'x'", value == json!("x")),
            ("claims.a in ['x', 'y']", value == json!("x") || value == json!("y")),
            ("claims.a.exists(one, one == 'x')", false),
            ("claims.a.b.c == 'x'", false),
            ("claims.a > 5 && claims.a < 3", false),
            ("claims.a.startsWith('x') && claims.b == 2", false),
            ("claims[claims.a] == 1 && claims.b == 2", false),
        ] {
            let goes_through = text.contains("exists");
            let has = value.as_array().is_some_and(|items| items.contains(&json!("x"))) || value.get("x").is_some();
            let expected = holds || (goes_through && has);
            prop_assert_eq!(said(text, &claims).is_ok(), expected, "{} of {}", text, claims);
        }
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        prop_oneof![Just("x".to_owned()), Just("y".to_owned()), any::<String>()].prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,2}", inner, 0..6).prop_map(|map| json!(map)),
        ]
    })
}
