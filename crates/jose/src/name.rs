//! Distinguished names as text (RFC 4514), in one spelling only, so that equal names are equal texts.
use std::fmt::{self, Write as _};
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

/// Types as Windows and OpenSSL write them.
const ALIASES: [(&str, &str); 5] = [
    ("S", "ST"),
    ("E", "1.2.840.113549.1.9.1"),
    ("EMAIL", "1.2.840.113549.1.9.1"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
    ("SERIALNUMBER", "2.5.4.5"),
];

/// The most specific part first. `None` for an empty name and for values that are no text: those match nothing.
pub(crate) fn text(name: &X509Name<'_>) -> Option<String> {
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

/// A name as somebody wrote it, to compare certificates with. Both orders are understood: the most specific part first, as
/// RFC 4514 has it, and last, as certificates have it.
///
/// ```
/// let name = jose::DistinguishedName::parse("C=US, O=\"Contoso, Inc.\", CN=orders").unwrap();
/// assert_eq!(name.to_string(), "C=US,O=Contoso\\, Inc.,CN=orders");
/// assert!(jose::DistinguishedName::parse("orders").is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistinguishedName {
    forward: String,
    backward: String,
}

impl DistinguishedName {
    /// Reads a name: parts between commas, each a type and a value, whose special characters are escaped or quoted.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        for part in split(text, &[',', ';'])? {
            let attributes = split(part, &['+'])?.into_iter().map(attribute).collect::<Option<Vec<_>>>()?;
            parts.push(attributes.join("+"));
        }
        let forward = parts.join(",");
        parts.reverse();
        Some(Self { forward, backward: parts.join(",") })
    }

    /// Whether it is this name, in its one spelling.
    pub(crate) fn is(&self, text: &str) -> bool {
        text == self.forward || text == self.backward
    }
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.forward)
    }
}

/// What stands between separators that are neither escaped nor quoted.
fn split<'a>(text: &'a str, separators: &[char]) -> Option<Vec<&'a str>> {
    let (mut parts, mut begin, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            c if !quoted && separators.contains(&c) => {
                parts.push(text.get(begin..at)?);
                begin = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text.get(begin..)?);
    (!quoted && !escaped).then_some(parts)
}

/// One attribute in its one spelling.
fn attribute(text: &str) -> Option<String> {
    let (word, value) = text.split_once('=')?;
    let word = word.trim().to_ascii_uppercase();
    let known = SHORT.iter().find(|(_, short)| *short == word).map(|(_, short)| *short);
    let alias = ALIASES.iter().find(|(alias, _)| *alias == word).map(|(_, means)| *means);
    let dotted = word.strip_prefix("OID.").unwrap_or(&word);
    let is_oid =
        dotted.contains('.') && dotted.split('.').all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let of_oid = || SHORT.iter().find(|(oid, _)| *oid == dotted).map_or(dotted, |(_, short)| *short);
    let word = known.or(alias).or_else(|| is_oid.then(of_oid))?;
    Some(format!("{word}={}", escaped(&value_of(value)?)))
}

/// A value without its quotes and escapes.
fn value_of(text: &str) -> Option<String> {
    let trimmed = text.trim_start();
    let quoted = trimmed.starts_with('"');
    let mut octets = Vec::with_capacity(text.len());
    // Spaces at the end are part of it only where they are escaped.
    let mut kept = 0;
    let mut rest = if quoted { trimmed.trim_end().strip_prefix('"')?.strip_suffix('"')? } else { trimmed };
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..)?;
        let mut whole = [0; 4];
        match c {
            '\\' => {
                let next = rest.chars().next()?;
                let hex = rest.get(..2).filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
                if let Some(hex) = hex {
                    octets.push(u8::from_str_radix(hex, 16).ok()?);
                    rest = rest.get(2..)?;
                } else {
                    octets.extend_from_slice(next.encode_utf8(&mut whole).as_bytes());
                    rest = rest.get(next.len_utf8()..)?;
                }
                kept = octets.len();
            }
            // Within quotes a quote is written twice, by some.
            '"' if quoted && rest.starts_with('"') => {
                octets.push(b'"');
                rest = rest.get(1..)?;
                kept = octets.len();
            }
            '"' => return None,
            '#' if octets.is_empty() && !quoted => return None,
            c => {
                octets.extend_from_slice(c.encode_utf8(&mut whole).as_bytes());
                if quoted || c != ' ' {
                    kept = octets.len();
                }
            }
        }
    }
    octets.truncate(kept);
    String::from_utf8(octets).ok().filter(|value| !value.is_empty())
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
    use super::{DistinguishedName, escaped};

    #[test]
    fn t_08_names_are_compared_part_by_part_however_they_are_written() {
        let same = |text: &str, spelling: &str| DistinguishedName::parse(text).is_some_and(|name| name.is(spelling));
        for (text, spelling) in [
            ("CN=a,O=b", "CN=a,O=b"),
            ("O=b, CN=a", "CN=a,O=b"),
            ("cn = a ; o = b", "CN=a,O=b"),
            ("O=\"Contoso, Inc.\", CN=a", "CN=a,O=Contoso\\, Inc."),
            ("O=Contoso\\, Inc.,CN=a", "CN=a,O=Contoso\\, Inc."),
            ("O=Contoso\\2C Inc.,CN=a", "CN=a,O=Contoso\\, Inc."),
            ("O=\"say \"\"a\"\"\"", "O=say \\\"a\\\""),
            ("CN=a+OU=x,O=b", "CN=a+OU=x,O=b"),
            ("OID.2.5.4.3=a", "CN=a"),
            ("E=a@b", "1.2.840.113549.1.9.1=a@b"),
            ("S=Illinois", "ST=Illinois"),
            ("CN=\\ a\\ ", "CN=\\ a\\ "),
            ("CN=\\c3\\a9", "CN=é"),
        ] {
            assert!(same(text, spelling), "{text}");
        }
        for (text, spelling) in [
            ("CN=a", "CN=A"),
            ("CN=a", "CN=a,O=b"),
            ("CN=a,O=b", "CN=a\\,O=b"),
            ("CN=\"a,O=b\"", "CN=a,O=b"),
            ("CN=a", "CN=a\\00.evil"),
            ("O=b,CN=a,C=c", "CN=a,O=b,C=c"),
        ] {
            assert!(!same(text, spelling), "{text}");
        }
        for text in
            ["", "a", "CN=", "CN", "=a", "CN=\"a", "CN=a\\", "CN=#0401", "NAME=a", "CN=a,", "CN=a\"b", "CN=\\ff"]
        {
            assert_eq!(DistinguishedName::parse(text), None, "{text}");
        }
    }

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
