//! J-14, J-15, J-22 and J-23: texts that are not what they look like.
use super::mint::Mint;
use crate::{MAX_TOKEN, base64url};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The same octets, written otherwise.
fn rewritten(segment: &str) -> Vec<(&'static str, String)> {
    let octets = base64url::decode(segment).unwrap_or_default();
    let (head, last) = segment.split_at(segment.len() - 1);
    let alphabet: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']).collect();
    let next = |c: &str| {
        let at = alphabet.iter().position(|a| c.starts_with(*a)).unwrap_or_default();
        alphabet.get(at + 1).copied().unwrap_or('_')
    };
    let mut forms = vec![
        ("padded too much", format!("{segment}===")),
        ("with a space inside", format!("{head} {last}")),
        ("with a line end inside", format!("{head}\n{last}")),
        ("with a CRLF behind", format!("{segment}\r\n")),
        ("with a NUL behind", format!("{segment}\0")),
        ("with percent signs", format!("{head}%{:02X}", last.as_bytes().first().copied().unwrap_or_default())),
        ("with a tilde", format!("{segment}~")),
        ("with a zero-width space", format!("{head}\u{200b}{last}")),
        ("one letter short of an octet", format!("{segment}{}", "A".repeat((5 - segment.len() % 4) % 4))),
    ];
    if !segment.len().is_multiple_of(4) {
        forms.push(("padded correctly", format!("{segment}{}", "=".repeat(4 - segment.len() % 4))));
        forms.push(("with spare bits", format!("{head}{}", next(last))));
    }
    let standard = STANDARD.encode(octets);
    if standard.contains(['+', '/']) {
        forms.push(("in the standard alphabet", standard.trim_end_matches('=').to_owned()));
    }
    forms
}

pub(super) fn segments(mint: &mut Mint<'_>) {
    let row = "J-14";
    // Names such that the encoded text uses all of the alphabet, and ends where bits are spare.
    let payload = |filler: usize| {
        let mut claims = mint.claims();
        claims.insert("x".to_owned(), json!(format!("ÿþ?>~{}", "~".repeat(filler))));
        base64url::encode(Value::Object(claims).to_string())
    };
    let payload = (0..3).map(payload).find(|p| !p.len().is_multiple_of(4)).unwrap_or_default();
    let mut header = mint.header();
    header.insert("x".to_owned(), json!("ÿþ?>~"));
    let header = (0..3).map(|filler| {
        header.insert("y".to_owned(), json!("~".repeat(filler)));
        base64url::encode(Value::Object(header.clone()).to_string())
    });
    let header = header.into_iter().find(|h| !h.len().is_multiple_of(4)).unwrap_or_default();
    for (form, text) in rewritten(&header) {
        mint.reject(row, format!("a header {form}, signed so"), mint.with_segments(&text, &payload));
    }
    for (form, text) in rewritten(&payload) {
        mint.reject(row, format!("a payload {form}, signed so"), mint.with_segments(&header, &text));
    }
    let [header, payload, signature] = mint.segments();
    for (form, text) in rewritten(&signature) {
        mint.reject(row, format!("a signature {form}"), format!("{header}.{payload}.{text}"));
    }
}

pub(super) fn texts(mint: &mut Mint<'_>) {
    let row = "J-14";
    let [h, p, s] = mint.segments();
    let good = mint.good();
    let texts = [
        ("a space before", format!(" {good}")),
        ("a space behind", format!("{good} ")),
        ("a line end behind", format!("{good}\n")),
        ("a byte order mark before", format!("\u{feff}{good}")),
        ("a full-width dot", format!("{h}\u{ff0e}{p}.{s}")),
        ("an escaped dot", format!("{h}%2E{p}.{s}")),
        ("a comma for a dot", format!("{h},{p},{s}")),
        ("a thousand dots (CVE-2025-30204)", ".".repeat(1_000)),
        ("a thousand dots behind", format!("{good}{}", ".".repeat(1_000))),
        ("two dots", "..".to_owned()),
        ("one segment", h.clone()),
        ("four segments", format!("{good}.{s}")),
        ("five segments", format!("{good}.{s}.{s}")),
        ("a dot before", format!(".{good}")),
        ("a dot behind", format!("{good}.")),
        ("an empty header", format!(".{p}.{s}")),
        ("a disclosure", format!("{good}~WyJzYWx0Il0~")),
        ("the token twice, with a comma", format!("{good},{good}")),
        ("the token twice, with a space", format!("{good} {good}")),
        ("quotes around it", format!("\"{good}\"")),
        ("the scheme with it", format!("Bearer {good}")),
        ("nothing", String::new()),
    ];
    for (reason, text) in texts {
        mint.reject(row, reason, text);
    }
}

pub(super) fn json(mint: &mut Mint<'_>) {
    let row = "J-15";
    let claims = Value::Object(mint.claims()).to_string();
    let open = claims.strip_prefix('{').unwrap_or_default().to_owned();
    let shut = claims.strip_suffix('}').unwrap_or_default().to_owned();
    let header = Value::Object(mint.header()).to_string();
    let header_open = header.strip_prefix('{').unwrap_or_default().to_owned();
    let (payload, alg) = (base64url::encode(&claims), mint.main.algorithm().as_str());
    let nest = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let headers: [(&str, String); 15] = [
        ("alg twice", format!("{{\"alg\":\"none\",{header_open}")),
        ("alg twice, the same", format!("{{\"alg\":\"{alg}\",{header_open}")),
        ("alg twice, one escaped", format!("{{\"\\u0061lg\":\"none\",{header_open}")),
        ("kid twice", format!("{{\"kid\":\"x\",{header_open}")),
        ("typ twice", format!("{{\"typ\":\"x\",{header_open}")),
        ("a member twice, nested", format!("{{\"x\":{{\"a\":1,\"a\":2}},{header_open}")),
        ("a byte order mark", format!("\u{feff}{header}")),
        ("a comment", format!("/*x*/{header}")),
        ("text behind it", format!("{header}x")),
        ("a second object behind it", format!("{header}{header}")),
        ("a list", format!("[{header}]")),
        ("a string", "\"alg\"".to_owned()),
        ("nothing", String::from(" ")),
        ("depth beyond the cap", format!("{{\"x\":{},{header_open}", nest(32))),
        ("an integer beyond the cap", format!("{{\"x\":{},{header_open}", "9".repeat(21))),
    ];
    for (reason, text) in headers {
        mint.reject(row, format!("a header with {reason}"), mint.with_segments(&base64url::encode(text), &payload));
    }
    let payloads: Vec<(String, Vec<u8>)> = [
        ("sub twice", format!("{{\"sub\":\"x\",{open}")),
        ("aud twice", format!("{{\"aud\":\"x\",{open}")),
        ("exp twice, the second last", format!("{shut},\"exp\":99999999999}}")),
        ("iss twice, one escaped", format!("{{\"\\u0069ss\":\"x\",{open}")),
        (
            "iss twice, both escaped",
            format!("{{\"\\u0069s\\u0073\":\"x\",\"i\\u0073s\":\"y\",{}", open.replace("\"iss\"", "\"x\"")),
        ),
        ("an unknown member twice", format!("{{\"x\":1,\"x\":1,{open}")),
        ("a member twice, nested", format!("{{\"x\":{{\"a\":1,\"a\":2}},{open}")),
        ("a member twice, nested in a list", format!("{{\"x\":[{{\"a\":1,\"b\":0,\"a\":2}}],{open}")),
        ("an empty name twice", format!("{{\"\":1,\"\":2,{open}")),
        ("NaN", format!("{{\"x\":NaN,{open}")),
        ("Infinity", format!("{{\"x\":Infinity,{open}")),
        ("-Infinity", format!("{{\"x\":-Infinity,{open}")),
        ("undefined", format!("{{\"x\":undefined,{open}")),
        ("a comment", format!("{{/*x*/{open}")),
        ("a comment to the line end", format!("{{//x\n{open}")),
        ("a trailing comma", format!("{shut},}}")),
        ("a leading comma", format!("{{,{open}")),
        ("two commas", format!("{{\"x\":1,,{open}")),
        ("a trailing comma in a list", format!("{{\"x\":[1,],{open}")),
        ("single quotes", format!("{{'x':1,{open}")),
        ("a name without quotes", format!("{{x:1,{open}")),
        ("a number as name", format!("{{1:1,{open}")),
        ("an equals sign", format!("{{\"x\"=1,{open}")),
        ("a missing colon", format!("{{\"x\" 1,{open}")),
        ("hexadecimal", format!("{{\"x\":0x10,{open}")),
        ("a leading zero", format!("{{\"x\":01,{open}")),
        ("a leading plus", format!("{{\"x\":+1,{open}")),
        ("a bare fraction", format!("{{\"x\":.5,{open}")),
        ("a bare point", format!("{{\"x\":1.,{open}")),
        ("a bare minus", format!("{{\"x\":-,{open}")),
        ("a bare exponent", format!("{{\"x\":1e,{open}")),
        ("True", format!("{{\"x\":True,{open}")),
        ("a line end in a string", format!("{{\"x\":\"a\nb\",{open}")),
        ("a tab in a string", format!("{{\"x\":\"a\tb\",{open}")),
        ("a NUL in a string", format!("{{\"x\":\"a\0b\",{open}")),
        ("an unknown escape", format!("{{\"x\":\"\\x41\",{open}")),
        ("a short escape", format!("{{\"x\":\"\\u41\",{open}")),
        ("a lone high surrogate", format!("{{\"x\":\"\\ud83e\",{open}")),
        ("a lone low surrogate", format!("{{\"x\":\"\\uddee\",{open}")),
        ("surrogates in the wrong order", format!("{{\"x\":\"\\uddee\\ud83e\",{open}")),
        ("a high surrogate and a letter", format!("{{\"x\":\"\\ud83e\\u0041\",{open}")),
        ("a lone surrogate in a name", format!("{{\"\\ud83e\":1,{open}")),
        ("text behind it", format!("{claims}x")),
        ("a NUL behind it", format!("{claims}\0")),
        ("a second object behind it", format!("{claims}{{}}")),
        ("a byte order mark", format!("\u{feff}{claims}")),
        ("a form feed", format!("\u{c}{claims}")),
        ("a no-break space", format!("{{\u{a0}{open}")),
        ("the end missing", shut.clone()),
        ("a list", format!("[{claims}]")),
        ("a string", "\"sub\"".to_owned()),
        ("a number", "1".to_owned()),
        ("null", "null".to_owned()),
        ("white space only", " ".to_owned()),
        ("depth 33 in lists", format!("{{\"x\":{},{open}", nest(32))),
        ("depth 33 in objects", format!("{{\"x\":{},{open}", objects(32))),
        ("depth 3 000", format!("{{\"x\":{},{open}", nest(3_000))),
        ("depth 20 000, unclosed", "[".repeat(11_000)),
        ("an integer of 21 digits", format!("{{\"x\":{},{open}", "9".repeat(21))),
        ("a negative integer of 21 digits", format!("{{\"x\":-{},{open}", "9".repeat(21))),
        ("an integer of 5 000 digits", format!("{{\"x\":{},{open}", "9".repeat(5_000))),
        ("1e400", format!("{{\"x\":1e400,{open}")),
        ("-1e999999999", format!("{{\"x\":-1e999999999,{open}")),
    ]
    .into_iter()
    .map(|(reason, text)| (reason.to_owned(), text.into_bytes()))
    .collect();
    for (reason, octets) in payloads {
        mint.reject(row, format!("claims with {reason}"), mint.with_payload(&octets));
    }
    let utf16 = |to: fn(u16) -> [u8; 2]| claims.encode_utf16().flat_map(to).collect::<Vec<u8>>();
    let spliced = |octets: &[u8]| [b"{\"x\":\"", octets, b"\",", open.as_bytes()].concat();
    let encodings: [(&str, Vec<u8>); 10] = [
        ("UTF-16, little-endian", utf16(u16::to_le_bytes)),
        ("UTF-16, big-endian", utf16(u16::to_be_bytes)),
        ("UTF-16 with a byte order mark", [vec![0xff, 0xfe], utf16(u16::to_le_bytes)].concat()),
        ("UTF-32", claims.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect()),
        ("Latin-1", spliced(&[0xe1])),
        ("an overlong quote", spliced(&[0xc0, 0xa2])),
        ("an overlong NUL", spliced(&[0xc0, 0x80])),
        ("CESU-8", spliced(&[0xed, 0xa0, 0xbe, 0xed, 0xb7, 0xae])),
        ("a truncated sequence", spliced(&[0xf0, 0x9f])),
        ("beyond Unicode", spliced(&[0xf5, 0x80, 0x80, 0x80])),
    ];
    for (reason, octets) in encodings {
        mint.reject(row, format!("claims in {reason}"), mint.with_payload(&octets));
    }
    mint.claims_strict(row, "a NUL in sub, escaped", mint.with_text("sub", "\"ada\\u0000\""));
}

pub(super) fn other_forms(mint: &mut Mint<'_>) {
    encrypted(mint);
    serialisations(mint);
}

fn encrypted(mint: &mut Mint<'_>) {
    let row = "J-22";
    let unsigned = format!("{}.{}.", base64url::encode("{\"alg\":\"none\"}"), base64url::encode(mint.payload()));
    let filler = base64url::encode(vec![0x5a; 256]);
    let jwe = |header: Value, key: &str, text: &str| {
        format!(
            "{}.{key}.{}.{text}.{}",
            base64url::encode(header.to_string()),
            base64url::encode([0; 12]),
            base64url::encode([0; 16])
        )
    };
    let inner = base64url::encode(&unsigned);
    let tokens = [
        (
            "an unsigned token inside (CVE-2026-29000)",
            jwe(json!({ "alg": "RSA-OAEP", "enc": "A256GCM", "cty": "JWT" }), &filler, &inner),
        ),
        ("direct encryption", jwe(json!({ "alg": "dir", "enc": "A256GCM" }), "", &inner)),
        (
            "compressed text",
            jwe(json!({ "alg": "dir", "enc": "A256GCM", "zip": "DEF" }), "", &base64url::encode(vec![0; 8_000])),
        ),
        (
            "PBES2 with 2^31 rounds",
            jwe(
                json!({ "alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2s": "c2FsdA", "p2c": 2_147_483_648_u64 }),
                &filler,
                &inner,
            ),
        ),
        ("an empty key (CVE-2026-34986)", jwe(json!({ "alg": "A256KW", "enc": "A256GCM" }), "", &inner)),
        (
            "a point off its curve",
            jwe(
                json!({ "alg": "ECDH-ES", "enc": "A128GCM", "epk": { "kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ" } }),
                "",
                &inner,
            ),
        ),
        ("our kid", jwe(json!({ "alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": mint.main.kid() }), &filler, &inner)),
    ];
    for (reason, token) in tokens {
        mint.strict(row, format!("a JWE with {reason}"), token);
    }
}

fn serialisations(mint: &mut Mint<'_>) {
    let row = "J-23";
    let [h, p, s] = mint.segments();
    let texts = [
        ("flattened JSON", json!({ "protected": h, "payload": p, "signature": s }).to_string()),
        ("general JSON", json!({ "payload": p, "signatures": [{ "protected": h, "signature": s }] }).to_string()),
        ("general JSON with two signatures", json!({ "payload": p, "signatures": [{ "protected": h, "signature": s }, { "header": { "alg": "none" }, "signature": "" }] }).to_string()),
        ("a JSON list", json!([mint.good()]).to_string()),
        ("an opaque token", "2YotnFZFEjr1zCsicMWpAA".to_owned()),
        ("SAML", "<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\"/>".to_owned()),
        ("SAML in base64url", base64url::encode("<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\"/>")),
        ("Basic credentials", STANDARD.encode("ada:secret")),
        ("the word null", "null".to_owned()),
    ];
    for (reason, text) in texts {
        mint.strict(row, reason, text);
    }
    let padded = |mint: &Mint<'_>, length: usize| mint.with("x", json!("x".repeat(length)));
    let over = (0..1_000).map(|more| padded(mint, 11_000 + 3 * more)).find(|t| t.len() > MAX_TOKEN).unwrap_or_default();
    mint.strict(row, format!("{} bytes, validly signed", over.len()), over);
    let megabyte = padded(mint, 1 << 20);
    mint.strict(row, "a megabyte, validly signed", megabyte);
    mint.strict(row, "a header of 200 kB", mint.with_header("x", json!("x".repeat(200_000))));
    mint.strict(row, "a signature of 200 kB", format!("{h}.{p}.{}", "A".repeat(200_000)));
    let members: Vec<String> = (0..20_000).map(|i| format!("\"m{i}\":{i}")).collect();
    mint.strict(row, "20 000 members", mint.with_payload(format!("{{{}}}", members.join(",")).as_bytes()));
    mint.strict(row, "a megabyte of one letter", "A".repeat(1 << 20));
}
