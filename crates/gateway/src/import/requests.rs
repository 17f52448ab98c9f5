//! Requests to other services.
use super::write::Table;
use super::{Element, Reading};
use crate::settings::Origin;
use roxmltree::Node;

impl<'a> Reading<'a> {
    /// Whole or not at all: half of a request asks for something else.
    pub(super) fn send_request(&mut self, node: Element<'a>) {
        if node.attribute("mode").is_some_and(|mode| mode != "new") {
            return self.leave(node, "`mode=\"copy\"`: callers' credentials and bodies are sent to no other service");
        }
        let mut table = Table::default();
        let mut headers = Vec::new();
        let (mut url, mut body) = (None, None);
        let (mut method, mut secret) = ("GET".to_owned(), None);
        for child in node.children().filter(Node::is_element) {
            match child.tag_name().name() {
                "set-url" => match self.text(child) {
                    Some(text) => url = Some(text),
                    None => return,
                },
                "set-method" => match self.text(child) {
                    Some(text) => method = text.to_ascii_uppercase(),
                    None => return,
                },
                "set-body" if child.attribute("template").is_none() => match self.text(child) {
                    Some(text) => body = Some(text),
                    None => return,
                },
                "set-header" if child.attribute("exists-action").is_none_or(|action| action == "override") => {
                    let values: Vec<Element<'a>> = child.children().filter(|of| of.has_tag_name("value")).collect();
                    let [value] = values.as_slice() else {
                        return self.leave(node, "a `set-header` of it has not one value");
                    };
                    let (Some(name), Some(value)) = (self.attribute(child, "name"), self.text(*value)) else { return };
                    let mut header = Table::default();
                    header.set("name", name.as_str());
                    if name.eq_ignore_ascii_case("authorization") {
                        secret = Some(
                            "the value of `Authorization` is not written into the file: set it as the variable `SEND_REQUEST_SECRET`",
                        );
                        header.set_written("secret", "{ env = \"SEND_REQUEST_SECRET\" }".to_owned());
                    } else if value.contains(['{', '}']) {
                        return self.leave(node, "a value has a bracket, which would stand for a value of the call");
                    } else {
                        header.set("value", value);
                    }
                    headers.push(header.inline());
                }
                other => {
                    let why = format!("its `{other}` has no counterpart, so none of it is sent");
                    return self.leave(node, why);
                }
            }
        }
        let Some(url) = url else { return self.leave(node, "it says no address: `set-url`") };
        let origin = match Origin::of(&url) {
            Ok((origin, behind)) if origin.is_https() && !behind.contains(['{', '}', '#']) => origin,
            Ok(_) => {
                return self
                    .leave(node, "other services are asked over `https`, at an address without brackets and fragment");
            }
            Err((problem, _)) => return self.leave(node, format!("`set-url`: {problem}")),
        };
        if !matches!(method.as_str(), "GET" | "POST" | "PUT" | "PATCH" | "DELETE") {
            return self.leave(node, "requests are sent with GET, POST, PUT, PATCH or DELETE");
        }
        if method == "GET" && body.is_some() {
            return self.leave(node, "a request with GET has no body");
        }
        let timeout = match node.attribute("timeout") {
            None => 60,
            Some(_) => match self.attribute(node, "timeout").map(|text| text.parse::<u32>()) {
                Some(Ok(seconds @ 1..)) => seconds,
                Some(_) => return self.leave(node, "`timeout` is no number of seconds"),
                None => return,
            },
        };
        if timeout > 30 {
            self.leave(node, "`timeout`: callers wait 30 seconds at most");
        }
        let ignores = match node.attribute("ignore-error") {
            None => false,
            Some(text) if text.eq_ignore_ascii_case("false") => false,
            Some(text) if text.eq_ignore_ascii_case("true") => true,
            Some(_) => return self.leave(node, "`ignore-error` is neither `true` nor `false`"),
        };
        if let Some(why) = secret {
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
    }
}
