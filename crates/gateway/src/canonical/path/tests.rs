use super::Ambiguity::{
    Character, Control, DoubleEncoding, EncodedDot, EncodedSlash, Encoding, Escape, Length, LookAlike, Parameter,
    Relative, TrailingDot,
};
use super::*;
use proptest::prelude::*;

#[test]
fn g_07_each_path_has_one_spelling_or_none() {
    for (raw, expected) in [
        ("/", Ok("/")),
        ("/orders", Ok("/orders")),
        ("/orders/", Ok("/orders/")),
        ("/orders/7/lines", Ok("/orders/7/lines")),
        ("/a/../admin", Ok("/admin")),
        ("/a/./b", Ok("/a/b")),
        ("/a/b/..", Ok("/a/")),
        ("/a/b/.", Ok("/a/b/")),
        ("/..", Ok("/")),
        ("/../../etc/passwd", Ok("/etc/passwd")),
        ("//admin", Ok("/admin")),
        ("/a//b", Ok("/a/b")),
        ("/a///../b", Ok("/b")),
        ("/%41dmin", Ok("/Admin")),
        ("/%61%64min", Ok("/admin")),
        ("/a%7eb", Ok("/a~b")),
        ("/a%c3%a9", Ok("/a%C3%A9")),
        ("/a%20b", Ok("/a%20b")),
        ("/a%23b", Ok("/a%23b")),
        ("/a%3fb=c", Ok("/a%3Fb=c")),
        ("/100%25", Ok("/100%25")),
        ("/100%25-off", Ok("/100%25-off")),
        ("/.well-known/x", Ok("/.well-known/x")),
        ("/.hidden", Ok("/.hidden")),
        ("/a...b", Ok("/a...b")),
        ("/Orders", Ok("/Orders")),
        ("/a,b:c@d!$&'()*+=", Ok("/a,b:c@d!$&'()*+=")),
        ("", Err(Relative)),
        ("orders", Err(Relative)),
        ("*", Err(Relative)),
        ("/%2e%2e/admin", Err(EncodedDot)),
        ("/%2E%2E/admin", Err(EncodedDot)),
        ("/.%2e/admin", Err(EncodedDot)),
        ("/a/%2e/b", Err(EncodedDot)),
        ("/file%2etxt", Err(EncodedDot)),
        ("/a%2fb", Err(EncodedSlash)),
        ("/a%2Fb", Err(EncodedSlash)),
        ("/..%2fadmin", Err(EncodedSlash)),
        ("/a\\b", Err(Ambiguity::Backslash)),
        ("/..\\admin", Err(Ambiguity::Backslash)),
        ("/a%5cb", Err(Ambiguity::Backslash)),
        ("/a%5Cb", Err(Ambiguity::Backslash)),
        ("/a;b", Err(Parameter)),
        ("/admin;a=b", Err(Parameter)),
        ("/..;/admin", Err(Parameter)),
        ("/a/..;a=b/admin", Err(Parameter)),
        ("/admin%3bx", Err(Parameter)),
        ("/a%00", Err(Control)),
        ("/a%0d%0aHost:x", Err(Control)),
        ("/a%09", Err(Control)),
        ("/a%7f", Err(Control)),
        ("/a\u{1}", Err(Control)),
        ("/%252e%252e/admin", Err(DoubleEncoding)),
        ("/a%252fb", Err(DoubleEncoding)),
        ("/a%25%32%66b", Err(DoubleEncoding)),
        ("/a%25%35%63b", Err(DoubleEncoding)),
        ("/a%25252f", Err(DoubleEncoding)),
        ("/a%25%25", Err(DoubleEncoding)),
        ("/a%25u002f", Err(DoubleEncoding)),
        ("/a%u002f", Err(Escape)),
        ("/a%", Err(Escape)),
        ("/a%2", Err(Escape)),
        ("/a%zz", Err(Escape)),
        ("/a%+2", Err(Escape)),
        ("/a b", Err(Character)),
        ("/a\"b", Err(Character)),
        ("/a<b>", Err(Character)),
        ("/a|b", Err(Character)),
        ("/a{b}", Err(Character)),
        ("/a^b`", Err(Character)),
        ("/a[b]", Err(Character)),
        ("/aé", Err(Character)),
        ("/a#b", Err(Character)),
        ("/a?b", Err(Character)),
        ("/%c0%ae%c0%ae/admin", Err(Encoding)),
        ("/a%c0%af", Err(Encoding)),
        ("/a%ff", Err(Encoding)),
        ("/%ed%a0%80", Err(Encoding)),
        ("/%ef%bc%8e%ef%bc%8e/admin", Err(LookAlike)),
        ("/a%ef%bc%8fb", Err(LookAlike)),
        ("/a%ef%bc%bcb", Err(LookAlike)),
        ("/a%ef%bc%852fb", Err(LookAlike)),
        ("/a%e2%88%95b", Err(LookAlike)),
        ("/%e2%80%a5/admin", Err(LookAlike)),
        ("/admin.", Err(TrailingDot)),
        ("/admin./x", Err(TrailingDot)),
        ("/.../x", Err(TrailingDot)),
        ("/admin%20", Err(TrailingDot)),
        ("/admin%20/x", Err(TrailingDot)),
        ("/admin%c2%a0", Err(TrailingDot)),
        ("/admin%e3%80%80/x", Err(TrailingDot)),
        ("/admin%e2%80%83", Err(TrailingDot)),
        ("/a%e3%80%80b", Ok("/a%E3%80%80b")),
    ] {
        assert_eq!(canonical(raw).as_deref(), expected.as_ref().copied(), "{raw}");
    }
    let long = format!("/{}", "a".repeat(LONGEST));
    assert_eq!(canonical(&long), Err(Length));
}

#[test]
fn g_07_what_mappings_turn_into_a_character_of_structure_is_refused() {
    // All whose NFKC has one of them, and what code pages have in their places.
    let nfkc = "\u{37e}\u{2024}\u{2025}\u{2026}\u{2100}\u{2101}\u{2105}\u{2106}\u{33c2}\u{33c7}\u{33d8}\u{fe14}\
        \u{fe19}\u{fe30}\u{fe52}\u{fe54}\u{fe68}\u{fe6a}\u{ff05}\u{ff0e}\u{ff0f}\u{ff1b}\u{ff3c}\u{1f100}";
    let placed = "\u{a5}\u{66a}\u{2044}\u{20a9}\u{2215}\u{2216}\u{29f5}\u{29f8}\u{29f9}\u{ff61}\u{ffe5}\u{ffe6}";
    for c in nfkc.chars().chain('\u{2488}'..='\u{249b}').chain(placed.chars()) {
        let escapes: Vec<String> = c.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert_eq!(canonical(&format!("/a{}b", escapes.concat())), Err(LookAlike), "{c:?}");
    }
    // Others of their kind stay what they are.
    for plain in ["/%e2%82%ac", "/%c2%a3", "/%e2%91%a0", "/%e3%8f%80", "/%e2%84%83"] {
        assert!(canonical(plain).is_ok(), "{plain}");
    }
}

#[test]
fn a_plain_path_is_not_copied() {
    assert!(matches!(canonical("/orders/7/lines"), Ok(Cow::Borrowed(_))));
    assert!(matches!(canonical("/.well-known/a%20b"), Ok(Cow::Borrowed(_))));
}

/// Paths as attackers write them.
fn spellings() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/".to_owned()),
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just("//".to_owned()),
        Just("admin".to_owned()),
        Just("%25".to_owned()),
        Just("%2".to_owned()),
        (0_u8..=255).prop_map(|b| format!("%{b:02x}")),
        (0_u8..=255).prop_map(|b| format!("%{b:02X}")),
        "[ -~]{1,3}",
        "\\PC{1,2}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn a_canonical_path_is_its_own_canonical_form(raw in spellings()) {
        if let Ok(path) = canonical(&raw) {
            let again = canonical(&path);
            prop_assert_eq!(again.as_deref(), Ok(&*path));
        }
    }

    /// However often a reader decodes, and in whatever order it resolves, nothing is left that moves the path elsewhere.
    #[test]
    fn nobody_reads_a_canonical_path_differently(raw in spellings()) {
        let Ok(path) = canonical(&raw) else { return Ok(()) };
        let mut read = path.into_owned().into_bytes();
        for _ in 0..3 {
            let text = String::from_utf8_lossy(&read).into_owned();
            prop_assert!(!text.contains(['\\', ';', '\0']));
            prop_assert!(!text.contains("//"));
            prop_assert!(!text.split('/').any(|segment| matches!(segment, "." | "..")));
            read = leniently_decoded(&read);
        }
    }
}

/// What a careless server does with escapes.
fn leniently_decoded(raw: &[u8]) -> Vec<u8> {
    let (mut decoded, mut at) = (Vec::new(), 0);
    while at < raw.len() {
        let value = raw.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escape = value.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| raw[at] == b'%');
        decoded.push(escape.unwrap_or(raw[at]));
        at += if escape.is_some() { 3 } else { 1 };
    }
    decoded
}
