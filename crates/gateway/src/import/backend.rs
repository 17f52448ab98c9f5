//! Where requests go, and with what credential: also where authors had to get a token by hand.
use super::write::Table;
use super::{Element, Reading};
use roxmltree::NodeId;

impl<'a> Reading<'a> {
    pub(super) fn set_backend_service(&mut self, node: Element<'a>) {
        if node.has_attribute("backend-id") {
            return self.leave(node, "`backend-id`: write the address of that backend as `url` of the upstream");
        }
        if let Some(url) = self.attribute(node, "base-url") {
            self.parts.upstream = Some(url);
        }
    }

    pub(super) fn forward_request(&mut self, node: Element<'a>) {
        if let Some(timeout) = node.has_attribute("timeout").then(|| self.attribute(node, "timeout")).flatten() {
            match timeout.parse() {
                Ok(seconds) => self.parts.answer_seconds = Some(seconds),
                Err(_) => self.leave(node, "`timeout` is no number of seconds"),
            }
        }
        if node.attribute("follow-redirects").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            self.leave(
                node,
                "`follow-redirects`: a redirect goes to the caller; following it would send the credential along",
            );
        }
    }

    pub(super) fn authentication_basic(&mut self, node: Element<'a>) {
        let Some(username) = self.attribute(node, "username") else { return };
        let mut basic = Table::default();
        basic.set("username", username);
        basic.set_written("password", "{ env = \"SERVICE_PASSWORD\" }".to_owned());
        let mut onward = Table::default();
        onward.set_written("basic", basic.inline());
        self.leave(node, "the password is not written into the file: set it as the variable `SERVICE_PASSWORD`");
        self.onward(node, onward.inline());
    }

    pub(super) fn authentication_certificate(&mut self, node: Element<'a>) {
        let id = match ["certificate-id", "thumbprint"].iter().find(|name| node.has_attribute(**name)) {
            None => Some("service-certificate".to_owned()),
            Some(name) => self.attribute(node, name),
        };
        let Some(id) = id else { return };
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return self.leave(node, "its name is that of no file");
        }
        let mut files = Table::default();
        files.set("certificate", format!("{id}.pem"));
        files.set("key", format!("{id}.key"));
        let mut onward = Table::default();
        onward.set_written("client_certificate", files.inline());
        let why = "the certificate and its key are not written into the file: put them, in PEM, into";
        self.leave(node, format!("{why} `{id}.pem` and `{id}.key`"));
        self.onward(node, onward.inline());
    }

    pub(super) fn authentication_managed_identity(&mut self, node: Element<'a>) {
        if node.has_attribute("output-token-variable-name") {
            return self.leave(
                node,
                "`output-token-variable-name`: there are no variables; where the token is sent as `Authorization`, say `managed_identity` in `onward`",
            );
        }
        if node.attribute("ignore-error").is_some_and(|text| !text.eq_ignore_ascii_case("false")) {
            self.leave(node, "`ignore-error`: without the token nothing is forwarded");
        }
        let Some(resource) = self.attribute(node, "resource") else { return };
        let client = node.has_attribute("client-id").then(|| self.attribute(node, "client-id"));
        let mut identity = Table::default();
        identity.set("resource", resource);
        match client {
            // It was no plain text, and was left.
            Some(None) => return,
            Some(Some(client)) => identity.set("client_id", client),
            None => {}
        }
        let mut onward = Table::default();
        onward.set_written("managed_identity", identity.inline());
        self.onward(node, onward.inline());
    }

    fn onward(&mut self, node: Element<'a>, written: String) {
        if self.parts.onward.is_some() {
            return self.leave(node, "a second credential for the service; there is one");
        }
        self.parts.onward = Some(written);
    }

    /// A token that is got with `send-request`, and sent as `Authorization`: the statements that this took, which `onward` says
    /// in one line.
    pub(super) fn onward_by_hand(&mut self, statements: &[Element<'a>]) -> Vec<NodeId> {
        let mut taken = Vec::new();
        for request in statements.iter().copied().filter(|node| node.has_tag_name("send-request")) {
            let child = |name: &str| request.children().find(|child| child.has_tag_name(name));
            let text = |name: &str| child(name).and_then(|child| child.text()).unwrap_or_default().trim().to_owned();
            let (url, body) = (text("set-url"), text("set-body"));
            let exchanges = body.contains("requested_token_use=on_behalf_of") && body.contains("jwt-bearer");
            let own = body.contains("grant_type=client_credentials");
            let target = parameter(&body, "scope").or_else(|| parameter(&body, "resource"));
            let (Some(client), Some(target), true) = (parameter(&body, "client_id"), target, exchanges || own) else {
                continue;
            };
            let plain = [("`set-url`", url), ("`client_id`", client), ("the scope", target)];
            let plain: Option<Vec<String>> = plain.iter().map(|(what, text)| self.plain(request, what, text)).collect();
            let Some([url, client, target]) = plain.and_then(|all| <[String; 3]>::try_from(all).ok()) else { continue };
            let variable = request.attribute("response-variable-name").unwrap_or_default();
            // All that makes the header of the answer: the header itself, and the variables in between.
            let mut of_answer = vec![variable.to_owned()];
            taken.push(request.id());
            for node in statements {
                let inside = node.range();
                let source = node.document().input_text().get(inside).unwrap_or_default();
                let reads = of_answer.iter().any(|name| {
                    !name.is_empty()
                        && (source.contains(&format!("[\"{name}\"]"))
                            || source.contains(&format!("[&quot;{name}&quot;]")))
                });
                let header = node.has_tag_name("set-header")
                    && node.attribute("name").is_some_and(|name| name.eq_ignore_ascii_case("authorization"));
                if reads && header {
                    taken.push(node.id());
                } else if reads && node.has_tag_name("set-variable") {
                    of_answer.extend(node.attribute("name").map(str::to_owned));
                    taken.push(node.id());
                }
            }
            let mut authority = Table::default();
            authority.set("name", "own");
            authority.set("token_endpoint", url);
            authority.set("client_id", client);
            authority.set_written("secret", "{ env = \"GATEWAY_SECRET\" }".to_owned());
            self.parts.authorities.push(authority);
            self.leave(request, "the secret is not written into the file: set it as the variable `GATEWAY_SECRET`");
            let mut asked = Table::default();
            asked.set("authority", "own");
            asked.set("target", target);
            let mut onward = Table::default();
            onward.set_written(if exchanges { "on_behalf_of" } else { "client_credentials" }, asked.inline());
            self.onward(request, onward.inline());
        }
        taken
    }
}

/// A parameter of a form that is written in an expression: what follows its name, to the next one or the end of the text.
fn parameter(body: &str, name: &str) -> Option<String> {
    let start = body.find(&format!("{name}="))? + name.len() + 1;
    let rest = body.get(start..)?;
    let end = rest.find(['&', '"', '\'', ')', '\n', ' ']).unwrap_or(rest.len());
    let value = rest.get(..end)?;
    // What stands there is put together by the expression.
    if value.is_empty() || value.contains('{') && !value.contains("{{") { None } else { decoded(value) }
}

fn decoded(value: &str) -> Option<String> {
    let form = oauth::Form::decode(format!("x={value}").as_bytes()).ok()?;
    form.value("x").map(str::to_owned)
}
