//! Requests to other services.
use super::write::Table;
use super::{Element, Reading, Taken, known, whole};
use crate::settings::Origin;
use roxmltree::Node;

impl<'a> Reading<'a> {
    /// Whole or not at all: half of a request asks for something else.
    pub(super) fn send_request(&mut self, node: Element<'a>) -> Taken<'a> {
        if self.attribute(node, "mode")?.is_some_and(|mode| mode != "new") {
            return whole(node, "`mode=\"copy\"`: callers' credentials and bodies are sent to no other service");
        }
        let mut table = Table::default();
        let mut headers = Vec::new();
        let (mut url, mut body) = (None, None);
        let (mut method, mut secrets) = ("GET".to_owned(), Vec::new());
        for child in node.children().filter(Node::is_element) {
            match child.tag_name().name() {
                "set-url" => url = Some(self.text(child)?),
                "set-method" => method = self.text(child)?.to_ascii_uppercase(),
                "set-body" if child.attribute("template").is_none() => body = Some(self.text(child)?),
                "set-header" => {
                    let header = self.header(node, child, &mut secrets)?;
                    headers.push(header.inline());
                }
                other => return whole(node, format!("its `{other}` has no counterpart, so none of it is sent")),
            }
        }
        let Some(url) = url else { return whole(node, "it says no address: `set-url`") };
        let origin = match Origin::of(&url) {
            Ok((origin, behind)) if origin.is_https() && !behind.contains(['{', '}', '#']) => origin,
            Ok(_) => {
                return whole(
                    node,
                    "other services are asked over `https`, at an address without brackets and fragment",
                );
            }
            Err((problem, _)) => return whole(node, format!("`set-url`: {problem}")),
        };
        if !matches!(method.as_str(), "GET" | "POST" | "PUT" | "PATCH" | "DELETE") {
            return whole(node, "requests are sent with GET, POST, PUT, PATCH or DELETE");
        }
        if method == "GET" && body.is_some() {
            return whole(node, "a request with GET has no body");
        }
        let timeout = match self.attribute(node, "timeout")?.map(|text| text.parse::<u32>()) {
            None => 60,
            Some(Ok(seconds @ 1..)) => seconds,
            Some(_) => return whole(node, "`timeout` is no number of seconds"),
        };
        let ignores = self.flag(node, "ignore-error")? == Some(true);
        if timeout > 30 {
            self.leave(node, "`timeout`: callers wait 30 seconds at most");
        }
        for why in secrets {
            self.leave(node, why);
        }
        let waits = node.tag_name().name() != "send-one-way-request";
        self.leave(
            node,
            if waits {
                "what its answer is used for: it has to have a status of `expect_status`, can be judged by `expression`, and gives fields by \
                 `set_headers`; a host that is not on the internet says `internal = true` in `allowed_hosts`"
            } else {
                "a host that is not on the internet says `internal = true` in `allowed_hosts`"
            },
        );
        if url.contains('?') || body.is_some() {
            self.leave(node, "its address and its body stand in the file as they are: if a credential is in them, keep the file secret");
        }
        let host = origin.to_string();
        if !self.parts.allowed_hosts.contains(&host) {
            self.parts.allowed_hosts.push(host);
        }
        table.set("url", url);
        table.set("method", method);
        if !headers.is_empty() {
            table.set_written("headers", format!("[{}]", headers.join(", ")));
        }
        if let Some(body) = body {
            table.set("body", body);
        }
        table.set("timeout_milliseconds", i64::from(timeout.min(30)) * 1_000);
        if !waits {
            table.set("wait", false);
        } else if ignores {
            table.set("ignore_error", true);
        }
        self.parts.many.push(("send_request", table));
        Ok(())
    }

    fn header(&self, node: Element<'a>, header: Element<'a>, secrets: &mut Vec<String>) -> Taken<'a, Table> {
        known(header, &["name", "exists-action"], &["value"])?;
        if self.attribute(header, "exists-action")?.is_some_and(|action| action != "override") {
            return whole(node, "a `set-header` of it does not replace");
        }
        let name = self.required(header, "name")?;
        let mut made = Table::default();
        made.set("name", name.as_str());
        if is_secret(&name) {
            let variable = if name.eq_ignore_ascii_case("authorization") {
                "SEND_REQUEST_SECRET".to_owned()
            } else {
                format!("SEND_REQUEST_{}", name.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
            };
            secrets.push(format!(
                "the value of `{name}` is not written into the file: set it as the variable `{variable}`"
            ));
            made.set_written("secret", format!("{{ env = \"{variable}\" }}"));
            return Ok(made);
        }
        let values = self.values(header)?;
        let [value] = values.as_slice() else { return whole(node, "a `set-header` of it has not one value") };
        if value.contains(['{', '}']) {
            return whole(node, "a value has a bracket, which would stand for a value of the call");
        }
        made.set("value", value.as_str());
        Ok(made)
    }
}

/// Whether a field of this name carries a credential, as far as its name shows.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words = ["authorization", "key", "secret", "token", "password", "cookie"];
    words.iter().any(|word| name.contains(word))
}
