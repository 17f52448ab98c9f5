//! Who may call, by address and by header.
use super::write::Table;
use super::{Element, Reading};
use roxmltree::Node;
use toml::Value;

impl<'a> Reading<'a> {
    pub(super) fn ip_filter(&mut self, node: Element<'a>) {
        let Some(action) = self.attribute(node, "action") else { return };
        let (mut addresses, mut ranges) = (Vec::new(), Vec::new());
        for child in node.children().filter(Node::is_element) {
            match child.tag_name().name() {
                "address" => match self.text(child) {
                    Some(address) => addresses.push(address),
                    // Half of a list lets in, or keeps out, others than the whole does.
                    None => return,
                },
                "address-range" => match (self.attribute(child, "from"), self.attribute(child, "to")) {
                    (Some(from), Some(to)) => {
                        let ends = [("from".to_owned(), from.into()), ("to".to_owned(), to.into())];
                        ranges.push(Value::Table(ends.into_iter().collect()));
                    }
                    _ => return,
                },
                _ => self.no_counterpart(child),
            }
        }
        self.parts.identifies |= action == "allow";
        let mut table = Table::default();
        table.set("action", action);
        table.set_list("address", addresses);
        if !ranges.is_empty() {
            table.set("address_range", ranges);
        }
        self.parts.once.push(("ip_filter", table));
    }

    pub(super) fn check_header(&mut self, node: Element<'a>) {
        let values: Vec<Element<'a>> = node.children().filter(|child| child.has_tag_name("value")).collect();
        let all: Option<Vec<String>> = values.into_iter().map(|value| self.text(value)).collect();
        let (Some(name), Some(all)) = (self.attribute(node, "name"), all) else { return };
        let code = self.attribute(node, "failed-check-httpcode");
        let Some(code) = code.and_then(|code| code.parse::<i64>().ok()) else {
            self.leave(node, "`failed-check-httpcode` is no status");
            return;
        };
        let Some(message) = self.attribute(node, "failed-check-error-message") else { return };
        let mut table = Table::default();
        table.set("name", name);
        table.set("failed_check_httpcode", code);
        table.set("failed_check_error_message", message);
        table.set("ignore_case", node.attribute("ignore-case").is_some_and(|text| text.eq_ignore_ascii_case("true")));
        table.set_list("value", all);
        self.parts.many.push(("check_header", table));
    }

    pub(super) fn set_header(&mut self, node: Element<'a>) {
        let Some(name) = self.attribute(node, "name") else { return };
        if name.eq_ignore_ascii_case("authorization") {
            return self.leave(node, "what the service is sent as `Authorization` is said in `onward`");
        }
        let action = node.attribute("exists-action").unwrap_or("override");
        let values: Vec<Element<'a>> = node.children().filter(|child| child.has_tag_name("value")).collect();
        let mut table = Table::default();
        table.set("name", name);
        match values.as_slice() {
            [value] if action == "override" && claim(value.text().unwrap_or_default()).is_some() => {
                table.set("claim", claim(value.text().unwrap_or_default()).unwrap_or_default());
            }
            _ => {
                let all: Option<Vec<String>> = values.into_iter().map(|value| self.text(value)).collect();
                let Some(all) = all else { return };
                table.set_list("value", all);
                if action != "override" {
                    table.set("exists_action", action);
                }
            }
        }
        self.parts.many.push(("set_header", table));
    }
}

/// The claim that an expression reads of the caller's token, if it does nothing else.
pub(super) fn claim(expression: &str) -> Option<&str> {
    let inside = expression.trim().strip_prefix("@(")?.strip_suffix(')')?;
    let (token, rest) = inside.split_once(".Claims")?;
    let is_token = token.contains("AsJwt()") || token.contains("(Jwt)context.Variables[");
    let rest = rest.strip_prefix(".GetValueOrDefault(").or_else(|| rest.strip_prefix('['))?;
    let (name, behind) = rest.strip_prefix('"')?.split_once('"')?;
    let ends = behind.chars().all(|c| c.is_whitespace() || matches!(c, ',' | '"' | ')' | ']'));
    let first = [")", "]", ", \"\")", ",\"\")", "].FirstOrDefault()", "][0]"].contains(&behind.trim());
    (is_token && (ends || first)).then_some(name)
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
            ("oid", None),
        ] {
            assert_eq!(claim(text), name, "{text}");
        }
    }
}
