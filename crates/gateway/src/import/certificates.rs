//! Certificates of callers: `validate-client-certificate`.
use super::write::Table;
use super::{Element, Reading};
use std::borrow::Cow;

const AUTHORITIES: &str = "client-authorities.pem";
const LISTS: &str = "client-revocations.pem";

impl<'a> Reading<'a> {
    pub(super) fn validate_client_certificate(&mut self, node: Element<'a>) {
        let is = |name: &str, usual: bool| match node.attribute(name) {
            None => Some(usual),
            Some(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Some(false),
            Some(_) => None,
        };
        let flags = [
            ("validate-trust", "validate_trust", true),
            ("validate-not-before", "validate_not_before", true),
            ("validate-not-after", "validate_not_after", true),
            ("ignore-error", "ignore_error", false),
        ];
        let (trust, revocation) = (is("validate-trust", true), is("validate-revocation", true));
        let (Some(trust), Some(revocation)) = (trust, revocation) else {
            return self.leave(node, "a value of it is neither `true` nor `false`, so the check is left out whole");
        };
        let mut table = Table::default();
        if trust {
            table.set_list("authorities", vec![AUTHORITIES.to_owned()]);
            if revocation {
                table.set_list("revocation_lists", vec![LISTS.to_owned()]);
            }
        }
        if !(trust && revocation) {
            table.set("validate_revocation", false);
        }
        for (attribute, name, usual) in flags {
            match is(attribute, usual) {
                Some(value) if value != usual => table.set(name, value),
                Some(_) => {}
                None => {
                    let why = "a value of it is neither `true` nor `false`, so the check is left out whole";
                    return self.leave(node, why);
                }
            }
        }
        let lists = node.children().filter(|child| child.has_tag_name("identities"));
        let all: Vec<Element<'a>> =
            lists.flat_map(|list| list.children()).filter(|child| child.has_tag_name("identity")).collect();
        let mut identities = Vec::new();
        for identity in all {
            match self.identity(identity, trust) {
                Ok(read) => identities.push(read.inline()),
                Err(why) => return self.leave(identity, format!("{why}, so the check is left out whole")),
            }
        }
        if !trust && identities.is_empty() {
            return self.leave(node, "every certificate passes it, which is no check; name the `thumbprint` of each");
        }
        if !identities.is_empty() {
            table.set_written("identities", format!("[{}]", identities.join(", ")));
        }
        if trust {
            self.leave(
                node,
                format!(
                    "which authorities are trusted stands in the settings of the service: put them into `{AUTHORITIES}`"
                ),
            );
        }
        if trust && revocation {
            let why = "lists are not fetched while a request waits: keep those of all authorities in";
            self.leave(node, format!("{why} `{LISTS}`, which is read again when it changes"));
        }
        if !trust && revocation {
            let why = "`validate-revocation`: without trust in an authority nothing tells what is revoked";
            self.leave(node, why);
        }
        if self.parts.once.iter().any(|(name, _)| *name == "validate_client_certificate") {
            return self.leave(node, "a second check of certificates at the same scope; put it into a narrower one");
        }
        self.parts.identifies |= is("ignore-error", false) == Some(false);
        self.parts.client_certificates = true;
        self.parts.once.push(("validate_client_certificate", table));
    }

    fn identity(&mut self, node: Element<'a>, trust: bool) -> Result<Table, &'static str> {
        let mut table = Table::default();
        let mut of_issuer = false;
        for (attribute, name) in [
            ("thumbprint", "thumbprint"),
            ("serial-number", "serial_number"),
            ("common-name", "common_name"),
            ("subject", "subject"),
            ("dns-name", "dns_name"),
            ("issuer-subject", "issuer_subject"),
            ("issuer-thumbprint", "issuer_thumbprint"),
        ] {
            if node.has_attribute(attribute) {
                of_issuer |= attribute.starts_with("issuer");
                table.set(name, self.attribute(node, attribute).ok_or("a value of it is not known")?);
            }
        }
        if node.has_attribute("issuer-certificate-id") {
            of_issuer = true;
            let id = self.attribute(node, "issuer-certificate-id").ok_or("a value of it is not known")?;
            if !id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
                return Err("`issuer-certificate-id` names no file");
            }
            self.leave(node, format!("the certificate `{id}` stands in the service: put it, in PEM, into `{id}.pem`"));
            table.set("issuer_certificate_id", format!("{id}.pem"));
        }
        if !trust && (of_issuer || !node.has_attribute("thumbprint")) {
            return Err(
                "without `validate-trust` anybody can write such a certificate; name its `thumbprint`, and nothing of its issuer",
            );
        }
        Ok(table)
    }
}

/// The document with the quotes inside `subject` and `issuer-subject` escaped, which its authors write as they are:
/// `subject="O="Contoso, Inc.", CN=a"`.
pub(super) fn names_escaped(text: &str) -> Cow<'_, str> {
    let mut made = String::new();
    let mut read = 0;
    for (at, begin) in text.match_indices("subject=\"") {
        let begin = at + begin.len();
        let before = text.get(..at).unwrap_or_default();
        let of_identity =
            before.rfind('<').and_then(|tag| before.get(tag..)).is_some_and(|tag| tag.starts_with("<identity"));
        if at < read || !of_identity {
            continue;
        }
        let inside = text.get(begin..).unwrap_or_default();
        let Some(end) =
            inside.match_indices('"').map(|(end, _)| end).find(|end| closes(inside.get(end + 1..).unwrap_or_default()))
        else {
            continue;
        };
        let name = inside.get(..end).unwrap_or_default();
        if name.contains('"') {
            made.push_str(text.get(read..begin).unwrap_or_default());
            made.push_str(&name.replace('"', "&quot;"));
            read = begin + end;
        }
    }
    if read == 0 {
        return Cow::Borrowed(text);
    }
    made.push_str(text.get(read..).unwrap_or_default());
    Cow::Owned(made)
}

/// Whether what follows a quote shows that it ended the value: another attribute, or the end of the element.
fn closes(rest: &str) -> bool {
    let next = rest.trim_start();
    let word = next.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(next.len());
    let attribute = word > 0 && next.len() < rest.len() && next.get(word..).is_some_and(|rest| rest.starts_with("=\""));
    attribute || next.starts_with("/>") || next.starts_with('>')
}

#[cfg(test)]
mod tests {
    use super::names_escaped;

    #[test]
    fn quotes_inside_of_names_are_escaped_and_no_others() {
        for (text, made) in [
            (r#"<identity subject="CN=a" />"#, r#"<identity subject="CN=a" />"#),
            (
                r#"<identity subject="C=US, O="Contoso, Inc.", CN=a" issuer-subject="CN=b" />"#,
                r#"<identity subject="C=US, O=&quot;Contoso, Inc.&quot;, CN=a" issuer-subject="CN=b" />"#,
            ),
            (
                "<identity\n  dns-name=\"a\"\n  issuer-subject=\"CN=b, O=\"Contoso, Inc.\"\">",
                "<identity\n  dns-name=\"a\"\n  issuer-subject=\"CN=b, O=&quot;Contoso, Inc.&quot;\">",
            ),
            (r#"<mail subject="a "b" c" />"#, r#"<mail subject="a "b" c" />"#),
            (r#"<identity subject="CN=a"#, r#"<identity subject="CN=a"#),
        ] {
            assert_eq!(names_escaped(text), made, "{text}");
        }
    }
}
