//! Distinguished names as text (RFC 4514), in one spelling only, so that equal names are equal texts.
use std::fmt::Write as _;
use x509_parser::x509::X509Name;

/// RFC 4514 section 3; every other type is written as its object identifier.
const SHORT: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The most specific part first. `None` for an empty name and for values that are no text: those match nothing.
pub(super) fn text(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for part in name.iter() {
        let mut attributes = Vec::new();
        for attribute in part.iter() {
            let oid = attribute.attr_type().to_id_string();
            let word = SHORT.iter().find(|(known, _)| *known == oid).map_or(oid.as_str(), |(_, word)| word);
            attributes.push(format!("{word}={}", escaped(attribute.as_str().ok()?)));
        }
        parts.push(attributes.join("+"));
    }
    parts.reverse();
    Some(parts.join(",")).filter(|text| !text.is_empty())
}

/// RFC 4514 section 2.4.
fn escaped(value: &str) -> String {
    let mut text = String::new();
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', c]),
            ' ' if at == 0 || at == last => text.push_str("\\ "),
            '#' if at == 0 => text.push_str("\\#"),
            // A name that is cut short at a zero octet somewhere else would be another name there.
            c if c.is_control() => {
                let mut octets = [0; 4];
                for octet in c.encode_utf8(&mut octets).bytes() {
                    // Writing into a text cannot fail.
                    let _ = write!(text, "\\{octet:02x}");
                }
            }
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn what_could_be_taken_for_another_name_is_escaped() {
        for (value, expected) in [
            ("orders.contoso.example", "orders.contoso.example"),
            ("a,CN=b", "a\\,CN=b"),
            ("a+O=b", "a\\+O=b"),
            (" a ", "\\ a\\ "),
            (" ", "\\ "),
            ("#1", "\\#1"),
            ("a\0.evil", "a\\00.evil"),
            ("\\", "\\\\"),
            ("é", "é"),
        ] {
            assert_eq!(escaped(value), expected);
        }
    }
}
