//! J-16 to J-19, J-21 and J-26: claims, in tokens whose signature is valid.
use super::mint::Mint;
use serde_json::{Value, json};

pub(super) fn times(mint: &mut Mint<'_>) {
    let row = "J-16";
    let now = mint.issuer.now.0;
    let later = now + 3600;
    mint.claims_reject(
        row,
        "expired",
        mint.with_all([("exp", json!(now - 61)), ("iat", json!(now - 900)), ("nbf", json!(now - 900))]),
    );
    mint.claims_reject(
        row,
        "expired long ago",
        mint.with_all([("exp", json!(1)), ("iat", json!(0)), ("nbf", json!(0))]),
    );
    mint.claims_reject(row, "not yet valid", mint.with("nbf", json!(now + 61)));
    mint.claims_strict(row, "made in the future", mint.with("iat", json!(now + 61)));
    mint.claims_strict(row, "no exp", mint.without(&["exp"]));
    mint.claims_strict(row, "no iat", mint.without(&["iat"]));
    let wrong = |name: &'static str| {
        [
            ("a string", json!(later.to_string())),
            ("an ISO date", json!("2099-01-01T00:00:00Z")),
            ("true", json!(true)),
            ("null", Value::Null),
            ("a list", json!([later])),
            ("an object", json!({ "value": later })),
            ("an empty string", json!("")),
        ]
        .map(|(reason, value)| (name, reason, value))
    };
    for (name, reason, value) in ["exp", "iat", "nbf"].into_iter().flat_map(wrong) {
        mint.claims_reject(row, format!("{name} is {reason} (RFC 7519 section 2)"), mint.with(name, value));
    }
    let great = [
        ("milliseconds", format!("{later}000")),
        ("2^53", "9007199254740992".to_owned()),
        ("2^63", "9223372036854775808".to_owned()),
        ("2^64", "18446744073709551616".to_owned()),
        ("1e300", "1e300".to_owned()),
        ("253402300800", "253402300800".to_owned()),
        ("negative", "-1".to_owned()),
        ("zero", "0".to_owned()),
        ("-0.0", "-0.0".to_owned()),
    ];
    for (reason, value) in great {
        mint.claims_strict(row, format!("exp is {reason}"), mint.with_text("exp", &value));
    }
    mint.reject(row, "exp is 1e400", mint.with_text("exp", "1e400"));
    mint.reject(row, "exp is NaN", mint.with_text("exp", "NaN"));
    mint.claims_strict(row, "nbf in milliseconds", mint.with_text("nbf", &format!("{now}000")));
    mint.claims_strict(row, "iat negative", mint.with("iat", json!(-1)));
    mint.claims_strict(row, "nbf negative", mint.with("nbf", json!(-1)));
    mint.claims_strict(row, "exp before iat", mint.with_all([("iat", json!(now + 40)), ("exp", json!(now + 30))]));
    mint.claims_strict(row, "exp equal to iat", mint.with_all([("iat", json!(now)), ("exp", json!(now))]));
    mint.claims_strict(row, "exp before nbf", mint.with_all([("nbf", json!(now + 40)), ("exp", json!(now + 30))]));
    mint.claims_strict(row, "a life of ten years", mint.with("exp", json!(now + 315_360_000)));
    for name in ["Exp", "EXP", "exp ", "ехр", "expires_at"] {
        let mut claims = mint.claims();
        claims.remove("exp");
        claims.insert(name.to_owned(), json!(later));
        let token = mint.with_payload(Value::Object(claims).to_string().as_bytes());
        mint.claims_reject(row, format!("the name {name:?} for exp"), token);
    }
}

pub(super) fn audiences(mint: &mut Mint<'_>) {
    let row = "J-17";
    let aud = mint.issuer.aud.clone();
    mint.claims_reject(row, "no audience", mint.without(&["aud"]));
    let prefix: String = aud.chars().take(aud.chars().count() - 1).collect();
    let values = [
        json!([]),
        json!(""),
        Value::Null,
        json!(true),
        json!(0),
        json!({ "aud": aud }),
        json!([[aud]]),
        json!([{ "aud": aud }]),
        json!([aud, 1]),
        json!([aud, null]),
        json!([aud, [aud]]),
        json!([""]),
        json!(prefix),
        json!([prefix]),
        json!(format!("{aud}x")),
        json!(format!("{aud}.attacker.example")),
        json!(format!("x{aud}")),
        json!(format!("{aud}/")),
        json!(format!("{aud}//")),
        json!(format!(" {aud}")),
        json!(format!("{aud} ")),
        json!(format!("{aud}\n")),
        json!(format!("{aud}\0")),
        json!(format!("{aud} api://other")),
        json!(format!("{aud},api://other")),
        json!(format!("{aud};api://other")),
        json!(format!("[\"{aud}\"]")),
        json!(format!("{aud}?x=1")),
        json!(format!("{aud}#x")),
        json!(format!("{aud}/.default")),
        json!(format!("{aud}/access_as_user")),
        json!("*"),
        json!("api://*"),
        json!("api://"),
        json!("api://other"),
        json!(["api://other", "api://third"]),
        json!("00000003-0000-0000-c000-000000000000"),
        json!("cccccccc-0000-4000-8000-00000000000c"),
        json!(homoglyph(&aud)),
        json!(format!("{aud}\u{200b}")),
    ];
    for value in values {
        mint.claims_reject(row, format!("aud is {value}"), mint.with("aud", value));
    }
    let upper = aud.to_ascii_uppercase();
    if upper != aud && !mint.issuer.profile.folds_audience {
        mint.claims_strict(row, "aud in capitals", mint.with("aud", json!(upper)));
    }
}

/// A Cyrillic or Greek letter for the first that has one.
fn homoglyph(text: &str) -> String {
    for (latin, other) in [('a', 'а'), ('o', 'о'), ('e', 'е'), ('i', 'і'), ('p', 'р'), ('c', 'с')] {
        if text.contains(latin) {
            return text.replacen(latin, &other.to_string(), 1);
        }
    }
    format!("{text}а")
}

pub(super) fn issuers(mint: &mut Mint<'_>) {
    let row = "J-18";
    let (iss, tid) = (mint.issuer.iss.clone(), mint.issuer.tid.clone());
    let host = iss.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
    let at = |other: &str| iss.replacen(&host, other, 1);
    mint.claims_reject(row, "no issuer", mint.without(&["iss"]));
    let values = [
        json!(""),
        Value::Null,
        json!(1),
        json!([iss]),
        json!({ "iss": iss }),
        json!(format!("{iss}/")),
        json!(iss.trim_end_matches("/v2.0").to_owned() + "/"),
        json!(iss.to_ascii_uppercase()),
        json!(at(&host.to_ascii_uppercase())),
        json!(iss.replacen("https", "http", 1)),
        json!(iss.replacen("https://", "", 1)),
        json!(iss.replacen("https", "HTTPS", 1)),
        json!(at(&format!("ada@{host}"))),
        json!(at(&format!("{host}@attacker.example"))),
        json!(at(&format!("{host}.attacker.example"))),
        json!(at(&format!("attacker-{host}"))),
        json!(at(&format!("{host}."))),
        json!(at(&format!("{host}/x/.."))),
        json!(at("attacker.example")),
        json!(at(&homoglyph(&host))),
        json!(format!("{iss}?x=1")),
        json!(format!("{iss}#x")),
        json!(format!("{iss} ")),
        json!(format!(" {iss}")),
        json!(format!("{iss}\0")),
        json!(format!("{iss}%2f")),
        json!(iss.replacen(&tid, "{tenantid}", 1)),
        json!(iss.replacen(&tid, "common", 1)),
        json!(iss.replacen(&tid, "organizations", 1)),
        json!(iss.replacen(&tid, "consumers", 1)),
        json!(format!("https://sts.windows.net/{tid}")),
        json!(tid),
    ];
    for value in values.into_iter().filter(|v| *v != json!(iss)) {
        mint.claims_reject(row, format!("iss is {value}"), mint.with("iss", value));
    }
    if !iss.contains(":443") {
        mint.claims_reject(row, "the default port written out", mint.with("iss", json!(at(&format!("{host}:443")))));
    }
}

pub(super) fn tenants(mint: &mut Mint<'_>) {
    let row = "J-19";
    let issuer = mint.issuer;
    let (key, other) = (&issuer.neighbour.key, issuer.neighbour.tid.clone());
    mint.reject(row, "another tenant's key under our issuer", mint.good_by(key));
    let mut header = mint.header_of(key);
    header.insert("kid".to_owned(), json!(mint.main.kid()));
    mint.reject(row, "another tenant's key under our issuer and our kid", Mint::signed(key, header, &mint.payload()));
    mint.claims_reject(row, "another tenant's issuer, our key", mint.with("iss", json!(issuer.neighbour.iss)));
    let both = [("iss", json!(issuer.neighbour.iss)), ("tid", json!(other))];
    mint.claims_reject(row, "another tenant's issuer and tid, our key", mint.with_all(both));
    mint.claims_strict(row, "tid of another tenant", mint.with("tid", json!(other)));
    mint.claims_strict(row, "no tid", mint.without(&["tid"]));
    let values = [
        json!([issuer.tid]),
        json!([issuer.tid, other]),
        Value::Null,
        json!(""),
        json!(1),
        json!(format!("{} ", issuer.tid)),
    ];
    for value in values {
        mint.claims_strict(row, format!("tid is {value}"), mint.with("tid", value));
    }
}

pub(super) fn bindings(mint: &mut Mint<'_>) {
    let row = "J-21";
    let values = [
        json!({ "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" }),
        json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }),
        json!({ "jwk": mint.attacker.public_jwk() }),
        json!({ "unknown": "x" }),
        json!({}),
        Value::Null,
        json!("bound"),
        json!([]),
    ];
    for value in values {
        mint.claims_reject(
            row,
            format!("cnf {value}, sent as a plain bearer token (RFC 7800)"),
            mint.with("cnf", value),
        );
    }
}

pub(super) fn shapes(mint: &mut Mint<'_>) {
    let row = "J-26";
    let (client, id) = (mint.issuer.profile.client, mint.issuer.profile.id);
    mint.claims_strict(row, "no sub", mint.without(&["sub"]));
    mint.claims_strict(row, format!("no {client}"), mint.without(&["client_id", "azp", "appid"]));
    mint.claims_strict(row, "neither scope nor roles", mint.without(&["scp", "scope", "roles"]));
    let names = [("sub", "sub"), (client, "the client"), (id, "the id")];
    for (name, what) in names {
        for value in [json!(1), json!(""), Value::Null, json!(["x"]), json!({ "x": 1 }), json!("a\u{7}b")] {
            mint.claims_strict(row, format!("{what} is {value}"), mint.with(name, value));
        }
    }
    for value in [json!(["access_as_user"]), json!(1), Value::Null, json!({ "access_as_user": true })] {
        mint.claims_strict(row, format!("scp is {value}"), mint.with("scp", value));
    }
    for value in [json!("Orders.Reader"), json!([1]), json!([["Orders.Reader"]]), json!({ "0": "Orders.Reader" })] {
        mint.claims_strict(row, format!("roles is {value}"), mint.with("roles", value));
    }
    let deep = (0..9).fold(json!({ "sub": "actor" }), |inner, _| json!({ "sub": "actor", "act": inner }));
    for value in [
        json!("actor"),
        json!({}),
        json!({ "sub": 1 }),
        json!([{ "sub": "actor" }]),
        json!({ "sub": "a", "act": "b" }),
        deep,
    ] {
        let shown: String = value.to_string().chars().take(60).collect();
        mint.claims_strict(row, format!("act is {shown} (RFC 8693 section 4.1)"), mint.with("act", value));
    }
}
