//! Where requests go, and with what credential: also where authors had to get a token by hand.
use super::write::Table;
use super::{Element, Reading, Scope, Taken, is_credential, known, whole};
use roxmltree::NodeId;

/// What notes on credentials begin with that are to be set where the gateway runs.
const OF_CREDENTIALS: [&str; 3] = [
    "the password is not written into the file",
    "the certificate and its key are not written into the file",
    "the secret is not written into the file",
];

impl<'a> Reading<'a> {
    pub(super) fn set_backend_service(&mut self, node: Element<'a>) -> Taken<'a> {
        if node.has_attribute("backend-id") {
            return whole(node, "`backend-id`: write the address of that backend as `url` of the upstream");
        }
        known(node, &["base-url"], &[])?;
        let url = self.required(node, "base-url")?;
        if url.is_empty() {
            return whole(node, "`base-url` is empty");
        }
        if self.scope != Scope::Api {
            return whole(
                node,
                format!("an API has one service; give the operations of `{url}` an `[[api]]` of their own"),
            );
        }
        self.parts.upstream = Some(url);
        Ok(())
    }

    pub(super) fn forward_request(&mut self, node: Element<'a>) -> Taken<'a> {
        for attribute in node.attributes().filter(|attribute| !["id", "timeout"].contains(&attribute.name())) {
            let why = match attribute.name() {
                "follow-redirects" | "buffer-request-body" | "buffer-response"
                    if attribute.value().eq_ignore_ascii_case("false") =>
                {
                    continue;
                }
                "follow-redirects" => "a redirect goes to the caller; following it would send the credential along",
                "buffer-request-body" | "buffer-response" => "bodies go through as they come",
                _ => "it has no counterpart",
            };
            self.leave(node, format!("`{}`: {why}", attribute.name()));
        }
        let Some(timeout) = self.attribute(node, "timeout")? else { return Ok(()) };
        let Ok(seconds) = timeout.parse() else { return whole(node, "`timeout` is no number of seconds") };
        if self.scope != Scope::Api {
            return whole(node, "`timeout` is said of a service: write `answer_seconds` of its `[[upstream]]`");
        }
        self.parts.answer_seconds = Some(seconds);
        Ok(())
    }

    pub(super) fn authentication_basic(&mut self, node: Element<'a>) -> Taken<'a> {
        let username = self.required(node, "username")?;
        let mut basic = Table::default();
        basic.set("username", username);
        basic.set_written("password", "{ env = \"SERVICE_PASSWORD\" }".to_owned());
        let mut onward = Table::default();
        onward.set_written("basic", basic.inline());
        self.onward(node, onward.inline())?;
        self.leave(node, "the password is not written into the file: set it as the variable `SERVICE_PASSWORD`");
        Ok(())
    }

    pub(super) fn authentication_certificate(&mut self, node: Element<'a>) -> Taken<'a> {
        let id = match ["certificate-id", "thumbprint"].iter().find(|name| node.has_attribute(**name)) {
            None => "service-certificate".to_owned(),
            Some(name) => self.required(node, name)?,
        };
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return whole(node, "its name is that of no file");
        }
        let mut files = Table::default();
        files.set("certificate", format!("{id}.pem"));
        files.set("key", format!("{id}.key"));
        let mut onward = Table::default();
        onward.set_written("client_certificate", files.inline());
        self.onward(node, onward.inline())?;
        self.leave(
            node,
            format!(
                "the certificate and its key are not written into the file: put them, in PEM, into `{id}.pem` and `{id}.key`; the \
                 caller's `Authorization` is not sent beside it"
            ),
        );
        Ok(())
    }

    pub(super) fn authentication_managed_identity(&mut self, node: Element<'a>) -> Taken<'a> {
        if node.has_attribute("output-token-variable-name") {
            return whole(
                node,
                "`output-token-variable-name`: there are no variables; where the token is sent as `Authorization`, say `managed_identity` in `onward`",
            );
        }
        let onward = self.managed_identity(node)?;
        self.onward(node, onward)
    }

    fn managed_identity(&mut self, node: Element<'a>) -> Taken<'a, String> {
        let mut identity = Table::default();
        identity.set("resource", self.required(node, "resource")?);
        if let Some(client) = self.attribute(node, "client-id")? {
            identity.set("client_id", client);
        }
        if node.attribute("ignore-error").is_some_and(|text| !text.eq_ignore_ascii_case("false")) {
            self.leave(node, "`ignore-error`: without the token nothing is forwarded");
        }
        let mut onward = Table::default();
        onward.set_written("managed_identity", identity.inline());
        Ok(onward.inline())
    }

    pub(super) fn onward(&mut self, node: Element<'a>, written: String) -> Taken<'a> {
        if self.parts.onward.is_some() {
            return whole(node, "a second credential for the service; there is one");
        }
        self.parts.onward = Some(written);
        self.own = Some(node);
        Ok(())
    }

    /// What becomes of a credential that is not carried over, as long as nobody writes it.
    pub(super) fn until_said(&self) -> &'static str {
        match self.scope {
            Scope::Api => "until you say one in `onward`, it is sent none",
            Scope::Operation => "write `onward = …` in the `[[api.operation]]`; until you do, the API's counts",
            Scope::Global | Scope::Product => "write `onward = …` in each `[[api]]`; until you do, the API's counts",
        }
    }

    /// The gateway's own credential is for the request that the document makes: with any path and body, callers would act as the
    /// gateway.
    pub(super) fn withhold(&mut self) {
        if self.scope == Scope::Operation && self.fixes && self.own.is_none() {
            let why = "the document fixes the request; here callers would choose it: if the API's `onward` is the gateway's own credential, \
                       write `onward = \"none\"` in the `[[api.operation]]`";
            self.leave(self.document.root_element(), why);
        }
        let Some(node) = self.own.filter(|_| self.fixes) else { return };
        let Some(onward) = self.parts.onward.take() else { return };
        self.parts.fails_closed = true;
        // What nobody asks for anything needs no secret.
        let authority = self.parts.authorities.pop().map(|own| format!(" beside `authority = [{}]`", own.inline()));
        let authority = authority.unwrap_or_default();
        let line = self.line(node);
        self.left.retain(|left| left.line != line || !OF_CREDENTIALS.iter().any(|note| left.why.starts_with(note)));
        let why = "the document fixes the request; here callers would choose it, with the gateway's credential: give it operations \
                   of that method and path alone, set what it names where the gateway runs, and then say";
        self.leave(node, format!("{why} `onward = {onward}`{authority}; {}", self.until_said()));
    }

    /// The statements without the credentials that a later one takes out of the request again.
    pub(super) fn last_ones(&mut self, mut statements: Vec<Element<'a>>) -> Vec<Element<'a>> {
        // A named value may say so.
        let deletes = |action: &str| action == "delete" || action.contains("{{");
        let takes_out = |node: Element<'_>| is_credential(node) && node.attribute("exists-action").is_some_and(deletes);
        let Some(at) = statements.iter().rposition(|node| takes_out(*node)) else { return statements };
        let behind = statements.split_off(at);
        let line = behind.first().map_or(0, |node| self.line(*node));
        let (gone, mut kept): (Vec<_>, Vec<_>) = statements.into_iter().partition(|node| sets_authorization(*node));
        for node in gone.into_iter().filter(|node| !takes_out(*node)) {
            self.leave(node, format!("the statement in line {line} takes it out of the request again"));
        }
        kept.extend(behind);
        kept
    }

    /// A token that is got by a statement of its own, and sent as `Authorization`: the statements that this took, which `onward` says
    /// in one line.
    pub(super) fn onward_by_hand(&mut self, statements: &[Element<'a>]) -> Vec<NodeId> {
        let mut taken = Vec::new();
        for node in statements.iter().copied() {
            let (variable, read): (_, fn(&mut Self, Element<'a>) -> Taken<'a>) = match node.tag_name().name() {
                "send-request" if is_for_a_token(node) => {
                    (node.attribute("response-variable-name"), Self::onward_of_request)
                }
                "authentication-managed-identity" => {
                    (node.attribute("output-token-variable-name"), Self::onward_of_identity)
                }
                _ => continue,
            };
            let Some(variable) = variable else { continue };
            let (all, is_sent) = readers(variable, statements);
            if is_sent {
                taken.extend(all);
                self.carry(node, read);
                self.parts.fails_closed |= self.parts.onward.is_none();
            } else {
                let why = "its token is not what the service is sent as `Authorization`, and there are no variables";
                self.leave(node, format!("`{}` is left out whole: {why}", node.tag_name().name()));
            }
            taken.push(node.id());
        }
        taken
    }

    fn onward_of_identity(&mut self, node: Element<'a>) -> Taken<'a> {
        let onward = self.managed_identity(node)?;
        self.onward(node, onward)
    }

    fn onward_of_request(&mut self, request: Element<'a>) -> Taken<'a> {
        let (url, body) = (inside(request, "set-url"), inside(request, "set-body"));
        let mut endpoint = self.plain(request, "`set-url`", &url)?;
        let client = match parameter(&body, "client_id") {
            Some(client) => self.plain(request, "`client_id`", &client)?,
            None => return whole(request, "it is not clear as which application it asks: `client_id`"),
        };
        let target = match (parameter(&body, "scope"), parameter(&body, "resource")) {
            (Some(scope), _) => self.plain(request, "the scope", &scope)?,
            (None, Some(resource)) => {
                let resource = self.plain(request, "the resource", &resource)?;
                // Entra's first endpoint takes `resource`; the second one has the same token for all of its scopes.
                let Some(base) = endpoint.strip_suffix("/oauth2/token") else {
                    return whole(
                        request,
                        "`resource` is said otherwise here: write the scopes as `target` of `onward`",
                    );
                };
                endpoint = format!("{base}/oauth2/v2.0/token");
                format!("{resource}/.default")
            }
            (None, None) => return whole(request, "it is not clear for what it asks: `scope` or `resource`"),
        };
        let mut asked = Table::default();
        asked.set("authority", "own");
        asked.set("target", target);
        let mut onward = Table::default();
        onward.set_written(if exchanges(&body) { "on_behalf_of" } else { "client_credentials" }, asked.inline());
        self.onward(request, onward.inline())?;
        if exchanges(&body) {
            // It is the user's, and can do what the user can.
            self.own = None;
        }
        let mut authority = Table::default();
        authority.set("name", "own");
        authority.set("token_endpoint", endpoint);
        authority.set("client_id", client);
        authority.set_written("secret", "{ env = \"GATEWAY_SECRET\" }".to_owned());
        self.parts.authorities.push(authority);
        self.leave(request, "the secret is not written into the file: set it as the variable `GATEWAY_SECRET`");
        Ok(())
    }
}

/// The text of a child.
fn inside(request: Element<'_>, name: &str) -> String {
    let child = request.children().find(|child| child.has_tag_name(name));
    child.and_then(|child| super::written(child).ok()).unwrap_or_default()
}

/// Whether a statement sets the field `Authorization`, and not a variable or the connection's certificate.
fn sets_authorization(node: Element<'_>) -> bool {
    is_credential(node)
        && !node.has_tag_name("authentication-certificate")
        && !node.has_attribute("output-token-variable-name")
}

/// Whether a statement says what the service is sent, and where it is.
pub(super) fn is_sent(node: Element<'_>) -> bool {
    is_credential(node) || node.has_tag_name("set-header") || node.has_tag_name("set-backend-service")
}

fn exchanges(body: &str) -> bool {
    body.contains("requested_token_use=on_behalf_of") && body.contains("jwt-bearer")
}

fn is_for_a_token(request: Element<'_>) -> bool {
    let body = inside(request, "set-body");
    exchanges(&body) || body.contains("grant_type=client_credentials")
}

/// The statements that make the header of what a variable holds: the header itself, and the variables in between. And whether there
/// is such a header.
fn readers(variable: &str, statements: &[Element<'_>]) -> (Vec<NodeId>, bool) {
    let (mut variables, mut all, mut is_sent) = (vec![variable.to_owned()], Vec::new(), false);
    for node in statements {
        let source = node.document().input_text().get(node.range()).unwrap_or_default();
        let reads = variables.iter().any(|name| {
            !name.is_empty()
                && ["[\"", "(\"", "[&quot;", "(&quot;"]
                    .iter()
                    .any(|before| source.contains(&format!("{before}{name}{}", before.get(1..).unwrap_or_default())))
        });
        if reads && node.has_tag_name("set-header") && is_credential(*node) {
            all.push(node.id());
            is_sent = true;
        } else if reads && node.has_tag_name("set-variable") {
            variables.extend(node.attribute("name").map(str::to_owned));
            all.push(node.id());
        }
    }
    (all, is_sent)
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
