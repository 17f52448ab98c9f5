//! Certificates of callers: `validate-client-certificate`.
use super::write::Table;
use super::{Element, Reading, Taken, known, whole};
use roxmltree::Node;
use std::borrow::Cow;

const AUTHORITIES: &str = "client-authorities.pem";
const LISTS: &str = "client-revocations.pem";

impl<'a> Reading<'a> {
    pub(super) fn validate_client_certificate(&mut self, node: Element<'a>) -> Taken<'a> {
        let flags =
            ["validate-trust", "validate-revocation", "validate-not-before", "validate-not-after", "ignore-error"];
        known(node, &flags, &["identities"])?;
        let is = |name: &str, usual: bool| self.flag(node, name).map(|flag| flag.unwrap_or(usual));
        let (trust, revocation) = (is("validate-trust", true)?, is("validate-revocation", true)?);
        let ignores = is("ignore-error", false)?;
        let mut table = Table::default();
        if trust {
            table.set_list("authorities", vec![AUTHORITIES.to_owned()]);
            if revocation {
                table.set_list("revocation_lists", vec![LISTS.to_owned()]);
            }
        } else {
            table.set("validate_trust", false);
        }
        if !(trust && revocation) {
            table.set("validate_revocation", false);
        }
        for (attribute, name) in
            [("validate-not-before", "validate_not_before"), ("validate-not-after", "validate_not_after")]
        {
            if !is(attribute, true)? {
                table.set(name, false);
            }
        }
        if ignores {
            table.set("ignore_error", true);
        }
        let mut identities = Vec::new();
        for list in node.children().filter(|child| child.has_tag_name("identities")) {
            known(list, &[], &["identity"])?;
            for identity in list.children().filter(Node::is_element) {
                identities.push(self.identity(identity, trust)?.inline());
            }
        }
        if !trust && identities.is_empty() {
            return whole(node, "every certificate passes it, which is no check; name the `thumbprint` of each");
        }
        if !identities.is_empty() {
            table.set_written("identities", format!("[{}]", identities.join(", ")));
        }
        self.once(node, "validate_client_certificate", table)?;
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
        self.parts.identifies |= !ignores;
        self.parts.client_certificates = true;
        Ok(())
    }

    fn identity(&mut self, node: Element<'a>, trust: bool) -> Taken<'a, Table> {
        let names = [
            ("thumbprint", "thumbprint"),
            ("serial-number", "serial_number"),
            ("common-name", "common_name"),
            ("subject", "subject"),
            ("dns-name", "dns_name"),
            ("issuer-subject", "issuer_subject"),
            ("issuer-thumbprint", "issuer_thumbprint"),
        ];
        let mut attributes = names.map(|(attribute, _)| attribute).to_vec();
        attributes.push("issuer-certificate-id");
        known(node, &attributes, &[])?;
        let mut table = Table::default();
        let mut of_issuer = false;
        for (attribute, name) in names {
            if let Some(text) = self.attribute(node, attribute)? {
                of_issuer |= attribute.starts_with("issuer");
                table.set(name, text);
            }
        }
        if let Some(id) = self.attribute(node, "issuer-certificate-id")? {
            of_issuer = true;
            if !id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
                return whole(node, "`issuer-certificate-id` names no file");
            }
            self.leave(node, format!("the certificate `{id}` stands in the service: put it, in PEM, into `{id}.pem`"));
            table.set("issuer_certificate_id", format!("{id}.pem"));
        }
        if !trust && (of_issuer || !node.has_attribute("thumbprint")) {
            return whole(
                node,
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
