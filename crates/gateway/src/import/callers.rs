//! Who may call, by address and by header.
use super::requests::is_secret;
use super::write::Table;
use super::{Element, Reading, Taken, is_expression, known, whole, written};
use roxmltree::Node;
use toml::Value;

impl<'a> Reading<'a> {
    pub(super) fn ip_filter(&mut self, node: Element<'a>) -> Taken<'a> {
        known(node, &["action"], &["address", "address-range"])?;
        let action = self.required(node, "action")?.to_ascii_lowercase();
        let (mut addresses, mut ranges) = (Vec::new(), Vec::new());
        for child in node.children().filter(Node::is_element) {
            if child.has_tag_name("address") {
                known(child, &[], &[])?;
                addresses.push(self.text(child)?);
            } else {
                known(child, &["from", "to"], &[])?;
                let ends = [("from", self.required(child, "from")?), ("to", self.required(child, "to")?)];
                ranges.push(Value::Table(ends.into_iter().map(|(end, at)| (end.to_owned(), at.into())).collect()));
            }
        }
        let mut table = Table::default();
        let allows = action == "allow";
        table.set("action", action);
        table.set_list("address", addresses);
        if !ranges.is_empty() {
            table.set("address_range", ranges);
        }
        self.once(node, "ip_filter", table)?;
        self.parts.identifies |= allows;
        Ok(())
    }

    pub(super) fn check_header(&mut self, node: Element<'a>) -> Taken<'a> {
        // Its name stood in `header-name` until 2022.
        let name = if node.has_attribute("header-name") { "header-name" } else { "name" };
        let attributes = [name, "failed-check-httpcode", "failed-check-error-message", "ignore-case"];
        known(node, &attributes, &["value"])?;
        let name = self.required(node, name)?;
        let Ok(code) = self.required(node, "failed-check-httpcode")?.parse::<i64>() else {
            return whole(node, "`failed-check-httpcode` is no status");
        };
        let message = self.required(node, "failed-check-error-message")?;
        let values = self.values(node)?;
        self.tell_secret(node, &name, &values);
        let mut table = Table::default();
        table.set("name", name);
        table.set("failed_check_httpcode", code);
        table.set("failed_check_error_message", message);
        table.set("ignore_case", self.flag(node, "ignore-case")?.unwrap_or_default());
        table.set_list("value", values);
        self.parts.many.push(("check_header", table));
        Ok(())
    }

    pub(super) fn set_header(&mut self, node: Element<'a>) -> Taken<'a> {
        known(node, &["name", "exists-action"], &["value"])?;
        let name = self.required(node, "name")?;
        let action = self.attribute(node, "exists-action")?.unwrap_or_else(|| "override".to_owned());
        if name.eq_ignore_ascii_case("authorization") {
            if action == "delete" {
                // Whatever is set behind it is sent all the same.
                self.parts.fails_closed = true;
                return Ok(());
            }
            // It is the last word about it.
            (self.parts.onward, self.parts.fails_closed) = (None, true);
            return whole(node, format!("a credential for the service is said in `onward`: {}", self.until_said()));
        }
        if ["host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "expect"]
            .iter()
            .any(|of_connection| name.eq_ignore_ascii_case(of_connection))
        {
            return whole(node, "the field belongs to the connection, and is the gateway's");
        }
        let values: Vec<Element<'a>> = node.children().filter(|child| child.has_tag_name("value")).collect();
        let mut table = Table::default();
        table.set("name", name.as_str());
        match values.as_slice() {
            [value] if action == "override" && is_expression(&written(*value)?) => {
                let text = written(*value)?;
                if let Some(claim) = claim(&text, &self.tokens) {
                    table.set("claim", claim);
                } else {
                    // The service takes it for the gateway's word.
                    let why = "the text is an expression, and only one claim is carried over of these: what the caller says there is taken out";
                    self.leave(*value, why);
                    table.set_list("value", Vec::new());
                    table.set("exists_action", "delete");
                }
            }
            [] if action != "delete" => return whole(node, "it has no value"),
            _ => {
                // What is deleted has no value.
                let values = if action == "delete" { Vec::new() } else { self.values(node)? };
                self.tell_secret(node, &name, &values);
                table.set_list("value", values);
                match action.as_str() {
                    "override" => {}
                    "skip" | "append" | "delete" => table.set("exists_action", action),
                    _ => return whole(node, "`exists-action` is `override`, `skip`, `append` or `delete`"),
                }
            }
        }
        self.parts.many.push(("set_header", table));
        Ok(())
    }

    fn tell_secret(&mut self, node: Element<'a>, name: &str, values: &[String]) {
        if is_secret(name) && !values.is_empty() {
            self.leave(node, "its value stands in the file as it is: if it is a credential, keep the file secret");
        }
    }

    /// The texts of `<value>`.
    pub(super) fn values(&self, node: Element<'a>) -> Taken<'a, Vec<String>> {
        let values = node.children().filter(|child| child.has_tag_name("value"));
        values.map(|value| known(value, &[], &[]).and_then(|()| self.text(value))).collect()
    }

    /// Notes a policy of which a scope has one.
    pub(super) fn once(&mut self, node: Element<'a>, policy: &'static str, table: Table) -> Taken<'a> {
        self.is_first(node, policy)?;
        self.parts.once.push((policy, table));
        Ok(())
    }

    pub(super) fn is_first(&self, node: Element<'a>, policy: &str) -> Taken<'a> {
        if self.parts.once.iter().any(|(name, _)| *name == policy) {
            return whole(node, "it stands here a second time, and a scope has one; put it into a narrower one");
        }
        Ok(())
    }
}

/// The claim that an expression reads of the caller's token, if it does nothing else. `tokens` are the variables that hold it.
pub(super) fn claim<'e>(expression: &'e str, tokens: &[&str]) -> Option<&'e str> {
    let inside = expression.trim().strip_prefix("@(")?.strip_suffix(')')?;
    let (token, rest) = inside.split_once(".Claims")?;
    let token = token.trim().trim_end_matches('?').replace(' ', "");
    let of_header = [
        r#"context.Request.Headers.GetValueOrDefault("Authorization","").AsJwt()"#,
        r#"context.Request.Headers.GetValueOrDefault("Authorization").AsJwt()"#,
    ];
    let of_variable = |name: &&str| token == format!(r#"((Jwt)context.Variables["{}"])"#, name.replace(' ', ""));
    if !of_header.contains(&token.as_str()) && !tokens.iter().any(of_variable) {
        return None;
    }
    let rest = rest.strip_prefix(".GetValueOrDefault(").or_else(|| rest.strip_prefix('['))?;
    let (name, behind) = rest.strip_prefix('"')?.split_once('"')?;
    let is_all = [")", "]", ", \"\")", ",\"\")", "].FirstOrDefault()", "][0]"].contains(&behind.trim());
    // Of a list these expressions make a text, and a header has it as JSON here.
    let is_list = ["roles", "groups", "wids", "amr", "acrs", "xms_cc"].contains(&name);
    (is_all && !is_list).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::claim;

    #[test]
    fn an_expression_that_reads_one_claim_is_that_claim() {
        for (text, name) in [
            (
                r#"@(context.Request.Headers.GetValueOrDefault("Authorization","").AsJwt()?.Claims.GetValueOrDefault("oid",""))"#,
                Some("oid"),
            ),
            (r#" @(((Jwt)context.Variables["jwt"]).Claims["email"].FirstOrDefault()) "#, Some("email")),
            (r#"@(((Jwt)context.Variables["jwt"]).Claims.GetValueOrDefault("tid"))"#, Some("tid")),
            (r#"@(((Jwt)context.Variables["jwt"]).Claims.GetValueOrDefault("tid") + "x")"#, None),
            (r#"@(((Jwt)context.Variables["jwt"]).Claims.GetValueOrDefault("tid", "none"))"#, None),
            (r#"@(context.Request.Headers.GetValueOrDefault("X","").Claims["x"])"#, None),
            (r#"@("user:" + ((Jwt)context.Variables["jwt"]).Claims["oid"].FirstOrDefault())"#, None),
            (r#"@(!((Jwt)context.Variables["jwt"]).Claims["oid"])"#, None),
            (
                r#"@(context.Request.Headers.GetValueOrDefault("X-Delegate","").AsJwt()?.Claims.GetValueOrDefault("oid",""))"#,
                None,
            ),
            (r#"@(((Jwt)context.Variables["other"]).Claims["oid"])"#, None),
            (r#"@(((Jwt)context.Variables["jwt"]).Claims["roles"].FirstOrDefault())"#, None),
            ("oid", None),
        ] {
            assert_eq!(claim(text, &["jwt"]), name, "{text}");
        }
    }
}
