//! How often callers may call, and how much.
use super::write::Table;
use super::{Element, Reading, Scope, Taken, Whole, is_expression, known, whole};
use toml::Value;

const FIELDS: [(&str, &str); 3] = [
    ("retry-after-header-name", "retry_after_header_name"),
    ("remaining-calls-header-name", "remaining_calls_header_name"),
    ("total-calls-header-name", "total_calls_header_name"),
];
const VARIABLES: [&str; 2] = ["retry-after-variable-name", "remaining-calls-variable-name"];
const RATE: [&str; 2] = ["calls", "renewal-period"];
const AMOUNTS: [&str; 3] = ["calls", "bandwidth", "renewal-period"];
const KEY: [&str; 3] = ["counter-key", "increment-condition", "increment-count"];

impl<'a> Reading<'a> {
    pub(super) fn rate_limit(&mut self, node: Element<'a>) -> Taken<'a> {
        let mut table = self.rate(node)?;
        let fields = FIELDS.map(|(attribute, _)| attribute);
        self.tell_unknown(node, &[RATE.as_slice(), &fields, &VARIABLES].concat(), &["api"]);
        self.names_of_fields(node, &mut table)?;
        self.nested(node, &mut table, Self::rate);
        self.once(node, "rate_limit", table)?;
        self.counts_keys(node);
        Ok(())
    }

    pub(super) fn rate_limit_by_key(&mut self, node: Element<'a>) -> Taken<'a> {
        let mut table = self.rate(node)?;
        self.key(node, &mut table)?;
        let fields = FIELDS.map(|(attribute, _)| attribute);
        self.tell_unknown(node, &[RATE.as_slice(), &KEY, &fields, &VARIABLES].concat(), &[]);
        self.names_of_fields(node, &mut table)?;
        self.parts.many.push(("rate_limit_by_key", table));
        Ok(())
    }

    pub(super) fn quota(&mut self, node: Element<'a>) -> Taken<'a> {
        let mut table = self.amounts(node)?;
        self.tell_unknown(node, &AMOUNTS, &["api"]);
        self.nested(node, &mut table, Self::amounts);
        self.once(node, "quota", table)?;
        self.counts_keys(node);
        Ok(())
    }

    pub(super) fn quota_by_key(&mut self, node: Element<'a>) -> Taken<'a> {
        let mut table = self.amounts(node)?;
        self.key(node, &mut table)?;
        self.tell_unknown(node, &[AMOUNTS.as_slice(), &KEY, &["first-period-start"]].concat(), &[]);
        if let Some(text) = self.attribute(node, "first-period-start")? {
            let moment = text.parse::<toml::value::Datetime>().ok();
            let Some(moment) = moment.filter(|moment| moment.offset.is_some()) else {
                return whole(node, "`first-period-start` is no moment such as 2027-01-31T00:00:00Z");
            };
            table.set_written("first_period_start", moment.to_string());
        }
        self.parts.many.push(("quota_by_key", table));
        Ok(())
    }

    /// Tells what of a limit is not known. It stays all the same: without it, more would pass.
    fn tell_unknown(&mut self, node: Element<'a>, attributes: &[&str], children: &[&str]) {
        if let Err(Whole(at, why)) = known(node, attributes, children) {
            self.leave(at, why);
        }
    }

    /// A product has subscriptions; elsewhere somebody has to ask for their keys.
    fn counts_keys(&mut self, node: Element<'a>) {
        if self.scope != Scope::Product {
            let why = "it counts calls with the key of a subscription, as there: APIs that ask for keys say `subscription_key`";
            self.leave(node, why);
        }
    }

    /// Whose calls count, which, and how much.
    fn key(&mut self, node: Element<'a>, table: &mut Table) -> Taken<'a> {
        let Some(key) = node.attribute("counter-key") else { return whole(node, "`counter-key` is missing") };
        let key = self.substituted(node, "`counter-key`", key)?;
        let elements = if is_expression(&key) { elements(&key, &self.tokens) } else { Some(vec![pair("text", &key)]) };
        let Some(elements) = elements.filter(|elements| !elements.is_empty()) else {
            return whole(node, "`counter-key` is an expression of which a part has no counterpart");
        };
        table.set("counter_key", Value::Array(elements));
        if let Some(count) = self.attribute(node, "increment-count")? {
            let Ok(count) = count.parse::<i64>() else { return whole(node, "`increment-count` is no number") };
            table.set("increment_count", count);
        }
        if let Some(condition) = node.attribute("increment-condition") {
            match statuses(condition) {
                Some(codes) => table.set("increment_statuses", codes),
                None => self.leave(
                    node,
                    "`increment-condition` compares no statuses, so every call counts; write `increment_statuses`",
                ),
            }
        }
        Ok(())
    }

    /// Calls, kilobytes and seconds of a quota.
    fn amounts(&mut self, node: Element<'a>) -> Taken<'a, Table> {
        let mut table = Table::default();
        for (attribute, name) in [("calls", "calls"), ("bandwidth", "bandwidth")] {
            if node.has_attribute(attribute) {
                table.set(name, self.number(node, attribute)?);
            }
        }
        table.set("renewal_period", self.number(node, "renewal-period")?);
        Ok(table)
    }

    fn rate(&mut self, node: Element<'a>) -> Taken<'a, Table> {
        let mut table = Table::default();
        table.set("calls", self.number(node, "calls")?);
        table.set("renewal_period", self.number(node, "renewal-period")?);
        Ok(table)
    }

    fn number(&self, node: Element<'a>, attribute: &str) -> Taken<'a, i64> {
        let number = self.required(node, attribute)?.trim().parse();
        number.or_else(|_| whole(node, format!("`{attribute}` is no number")))
    }

    fn names_of_fields(&mut self, node: Element<'a>, table: &mut Table) -> Taken<'a> {
        for (attribute, name) in FIELDS {
            if let Some(text) = self.attribute(node, attribute)? {
                table.set(name, text);
            }
        }
        for attribute in VARIABLES.into_iter().filter(|attribute| node.has_attribute(*attribute)) {
            self.leave(node, format!("`{attribute}`: there are no variables; name a field of the answer instead"));
        }
        Ok(())
    }

    /// Limits of single APIs and operations within another one, each read by `read`.
    fn nested(&mut self, node: Element<'a>, table: &mut Table, read: fn(&mut Self, Element<'a>) -> Taken<'a, Table>) {
        let of_apis = self.named(node, "api", &["operation"], read);
        let mut all = Vec::new();
        for (child, mut api) in of_apis {
            let of_operations = self.named(child, "operation", &[], read).into_iter().map(|(_, operation)| operation);
            api.set_tables("operation", &of_operations.collect::<Vec<_>>());
            all.push(api);
        }
        table.set_tables("api", &all);
    }

    /// The children of this name, and what they say, with their names in the first place. Each is left out by itself: the limit that it
    /// stands in counts its calls too.
    fn named(
        &mut self,
        node: Element<'a>,
        what: &str,
        children: &[&str],
        read: fn(&mut Self, Element<'a>) -> Taken<'a, Table>,
    ) -> Vec<(Element<'a>, Table)> {
        let mut all = Vec::new();
        for child in node.children().filter(|child| child.has_tag_name(what)) {
            // API Management takes the id where both are there.
            let attribute = if child.has_attribute("id") { "id" } else { "name" };
            let name = self
                .required(child, attribute)
                .and_then(|name| if name.is_empty() { whole(child, format!("it names no {what}")) } else { Ok(name) });
            match name.and_then(|name| Ok((name, read(self, child)?))) {
                Ok((name, numbers)) => {
                    self.tell_unknown(child, &[AMOUNTS.as_slice(), &["name"]].concat(), children);
                    let mut made = Table::default();
                    made.set("name", name);
                    made.append(numbers);
                    all.push((child, made));
                }
                Err(Whole(at, why)) => self.leave(at, format!("the limit of this {what} is left out whole: {why}")),
            }
        }
        all
    }
}

fn pair(name: &str, value: &str) -> Value {
    Value::Table([(name.to_owned(), value.into())].into_iter().collect())
}

/// The parts of a key that an expression puts together with `+`; nothing where one of them does something else.
fn elements(expression: &str, tokens: &[&str]) -> Option<Vec<Value>> {
    let inside = expression.trim().strip_prefix("@(")?.strip_suffix(')')?;
    terms(inside)?.into_iter().map(|term| element(term, tokens)).collect()
}

fn element(term: &str, tokens: &[&str]) -> Option<Value> {
    if let Some(text) = literal(term) {
        return Some(pair("text", text));
    }
    if let Some(name) = super::callers::claim(&format!("@({term})"), tokens) {
        return Some(pair("claim", name));
    }
    // What a key without a subscription, or a token without a claim, would be is alike here: absent.
    let plain = term.replace("?.", ".").replace(".ToString()", "");
    if let Some(of_token) = plain.replace(' ', "").strip_prefix(TOKEN) {
        return match of_token {
            "Subject" => Some(pair("claim", "sub")),
            "Id" => Some(pair("claim", "jti")),
            _ => None,
        };
    }
    if let Some(rest) = plain.strip_prefix("context.Request.Headers.GetValueOrDefault(") {
        let (name, default) = match rest.strip_suffix(')')?.split_once(',') {
            Some((name, default)) => (name, default.trim()),
            None => (rest.strip_suffix(')')?, "\"\""),
        };
        // Another default than an empty text could be what somebody sends.
        return literal(name.trim()).filter(|_| default == "\"\"").map(|name| pair("header", name));
    }
    Some(match plain.as_str() {
        "context.Request.IpAddress" => "address".into(),
        "context.Subscription.Id" | "context.Subscription.Key" => "subscription".into(),
        "context.Api.Id" | "context.Api.Name" => "api".into(),
        "context.Operation.Id" | "context.Operation.Name" => "operation".into(),
        _ => return None,
    })
}

/// The caller's token, as documents read it.
const TOKEN: &str = r#"context.Request.Headers.GetValueOrDefault("Authorization","").AsJwt()."#;

/// A text in quotes, without any inside.
fn literal(term: &str) -> Option<&str> {
    let inside = term.strip_prefix('"')?.strip_suffix('"')?;
    (!inside.contains(['"', '\\'])).then_some(inside)
}

/// What stands between `+` outside of brackets and quotes.
fn terms(inside: &str) -> Option<Vec<&str>> {
    let (mut depth, mut quoted, mut from) = (0_i32, false, 0);
    let mut all = Vec::new();
    for (at, c) in inside.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => return None,
            '(' | '[' if !quoted => depth += 1,
            ')' | ']' if !quoted => depth -= 1,
            '+' if !quoted && depth == 0 => {
                all.push(inside.get(from..at)?.trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    all.push(inside.get(from..)?.trim());
    Some(all)
}

/// The statuses that a condition is about, if it compares with nothing else.
fn statuses(condition: &str) -> Option<Vec<i64>> {
    let inside = condition.trim().strip_prefix("@(")?.strip_suffix(')')?;
    let compared = inside.split("||").map(|one| {
        let (what, code) = one.split_once("==")?;
        let code = code.trim().parse().ok().filter(|code| (100..=599).contains(code))?;
        (what.trim() == "context.Response.StatusCode").then_some(code)
    });
    compared.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_carried_over_where_every_part_of_it_is_known() {
        let read = |text: &str| elements(text, &["jwt"]).map(|all| Value::Array(all).to_string());
        for (text, expected) in [
            ("@(context.Request.IpAddress)", Some(r#"["address"]"#)),
            ("@(context.Subscription?.Key ?? \"none\")", None),
            ("@(context.Subscription.Id)", Some(r#"["subscription"]"#)),
            (
                r#"@(context.Request.Headers.GetValueOrDefault("X-Tenant", "") + "-" + context.Operation.Id)"#,
                Some(r#"[{ header = "X-Tenant" }, { text = "-" }, "operation"]"#),
            ),
            (r#"@(context.Request.Headers.GetValueOrDefault("X-Tenant"))"#, Some(r#"[{ header = "X-Tenant" }]"#)),
            (r#"@(context.Request.Headers.GetValueOrDefault("X-Tenant","other"))"#, None),
            (
                r#"@(context.Request.Headers.GetValueOrDefault("Authorization","").AsJwt()?.Subject)"#,
                Some(r#"[{ claim = "sub" }]"#),
            ),
            (
                r#"@(context.Request.Headers.GetValueOrDefault("Authorization","").AsJwt()?.Claims.GetValueOrDefault("oid",""))"#,
                Some(r#"[{ claim = "oid" }]"#),
            ),
            (r#"@(context.Request.Headers.GetValueOrDefault("Authorization","").AsJwt()?.Issuer)"#, None),
            (r#"@("a+b")"#, Some(r#"[{ text = "a+b" }]"#)),
            (r"@(context.Request.Url.Path)", None),
            (r"@(context.Request.IpAddress + 1)", None),
            (r"@(context.Request.IpAddress ?? context.Subscription.Id)", None),
            ("@()", None),
            ("@{ return context.Request.IpAddress; }", None),
        ] {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_condition_is_carried_over_where_it_compares_statuses() {
        assert_eq!(statuses("@(context.Response.StatusCode == 200)"), Some(vec![200]));
        assert_eq!(
            statuses("@(context.Response.StatusCode == 401 || context.Response.StatusCode == 403)"),
            Some(vec![401, 403])
        );
        for none in [
            "@(context.Response.StatusCode >= 200)",
            "@(context.Response.StatusCode == 200 && true)",
            "@(context.Response.StatusCode == 9000)",
            "true",
        ] {
            assert_eq!(statuses(none), None, "{none}");
        }
    }
}
