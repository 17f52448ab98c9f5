//! API Management's policy documents as this gateway's configuration: what has a counterpart is carried over, and what has
//! none is told, line by line. Nothing is guessed. A check that is left out leaves the API laxer, unless it was the only one: then the
//! gateway refuses the file.
mod backend;
mod callers;
mod certificates;
mod cors;
mod expressions;
mod limits;
mod requests;
mod tokens;
mod write;

use backend::is_sent;
use roxmltree::{Document, Node};
use std::collections::BTreeMap;
use thiserror::Error;
use write::Parts;

/// Where a document stands in API Management.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Of all APIs.
    Global,
    /// Of a product.
    Product,
    /// Of an API: then the result is a whole configuration.
    Api,
    /// Of an operation.
    Operation,
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The configuration, with what was left out as comments before it.
    pub toml: String,
    /// What was left out.
    pub left: Vec<Left>,
}

/// Something that was not carried over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its line, from 1.
    pub line: u32,
    /// The element.
    pub element: String,
    /// Why, and what to do.
    pub why: String,
    /// Whether it is a check of callers, or has one in it: without it the API is laxer.
    pub is_check: bool,
}

/// Why a document cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: {problem}")]
pub struct ImportError {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong there.
    pub problem: String,
}

/// Reads a policy document. `named` are the values of `{{names}}` in it.
///
/// ```
/// let xml = r#"<policies><inbound><base /><ip-filter action="allow"><address>10.0.0.1</address></ip-filter></inbound></policies>"#;
/// let imported = gateway::import_apim(xml, gateway::Scope::Global, &Default::default())?;
/// assert!(imported.toml.contains("[policies.ip_filter]\naction = \"allow\"\naddress = [\"10.0.0.1\"]"));
/// assert!(imported.left.is_empty());
/// # Ok::<(), gateway::ImportError>(())
/// ```
///
/// # Errors
/// If the text is no policy document.
pub fn import_apim(xml: &str, scope: Scope, named: &BTreeMap<String, String>) -> Result<Imported, ImportError> {
    let xml = certificates::names_escaped(xml);
    let whole = expressions::escaped(&xml).map_err(|unended| ImportError {
        line: u32::try_from(unended.line).unwrap_or(u32::MAX),
        problem: "the expression does not end; close its brackets and quotes".to_owned(),
    })?;
    let document = Document::parse(&whole)
        .map_err(|error| ImportError { line: error.pos().row, problem: format!("this is no XML: {error}") })?;
    let root = document.root_element();
    let (parts, left, tokens) = (Parts::default(), Vec::new(), Vec::new());
    let mut reading = Reading { document: &document, scope, named, parts, left, tokens, own: None, fixes: false };
    let name = root.tag_name().name();
    if name != "policies" {
        let hint = if name == "fragment" { "; put its statements where `<include-fragment>` stands" } else { "" };
        let problem = format!("a policy document is `<policies>`, and this is `<{name}>`{hint}");
        return Err(ImportError { line: reading.line(root), problem });
    }
    let mut statements = Vec::new();
    for section in root.children().filter(Node::is_element) {
        statements.extend(reading.section(section));
    }
    let statements = reading.last_ones(statements);
    reading.inbound(&statements);
    reading.withhold();
    if scope == Scope::Api && reading.parts.upstream.is_none() {
        let why = "where the service is, the document does not say: write its address as `url` of the upstream";
        reading.leave(root, why);
    }
    reading.left.sort_by_key(|left| left.line);
    let Reading { parts, left, .. } = reading;
    Ok(Imported { toml: parts.toml(scope, &left), left })
}

/// A document, while it is read.
struct Reading<'a> {
    document: &'a Document<'a>,
    scope: Scope,
    named: &'a BTreeMap<String, String>,
    parts: Parts,
    left: Vec<Left>,
    /// The variables that hold the caller's verified token.
    tokens: Vec<&'a str>,
    /// The statement of the gateway's own credential for the service.
    own: Option<Element<'a>>,
    /// Whether the document makes one request of whatever callers send.
    fixes: bool,
}

type Element<'a> = Node<'a, 'a>;

/// Why a statement is left out whole: what of it is not known, or has no counterpart.
struct Whole<'a>(Element<'a>, String);

type Taken<'a, T = ()> = Result<T, Whole<'a>>;

fn whole<T>(node: Element<'_>, why: impl Into<String>) -> Taken<'_, T> {
    Err(Whole(node, why.into()))
}

impl<'a> Reading<'a> {
    fn line(&self, node: Element<'_>) -> u32 {
        self.document.text_pos_at(node.range().start).row
    }

    fn leave(&mut self, node: Element<'_>, why: impl Into<String>) {
        self.tell(node, false, why);
    }

    fn tell(&mut self, node: Element<'_>, is_check: bool, why: impl Into<String>) {
        let element = node.tag_name().name().to_owned();
        // Within a comment it stays one.
        let why = why.into().replace(char::is_control, " ");
        self.left.push(Left { line: self.line(node), element, why, is_check });
    }

    /// Carries a statement over, or leaves it out whole and says why.
    fn carry(&mut self, node: Element<'a>, read: fn(&mut Self, Element<'a>) -> Taken<'a>) {
        if let Err(Whole(at, why)) = read(self, node) {
            let name = node.tag_name().name();
            self.tell(at, is_check(node), format!("`{name}` is left out whole: {why}"));
            self.parts.fails_closed |= is_credential(node);
        }
    }

    /// Reads a section, and gives the statements that are read in the order of all sections.
    fn section(&mut self, section: Element<'a>) -> Vec<Element<'a>> {
        let statements: Vec<Element<'a>> = section.children().filter(Node::is_element).collect();
        match section.tag_name().name() {
            "inbound" => {
                if !statements.iter().any(|node| node.tag_name().name() == "base") {
                    self.leave(
                        section,
                        "without `<base />` API Management drops what wider scopes say; here that stays, unless a narrower \
                         scope names it in `remove`",
                    );
                }
                return statements;
            }
            "backend" => {
                // What it sends along is what `<inbound>` would at its end.
                let (sent, others): (Vec<_>, Vec<_>) = statements.into_iter().partition(|node| is_sent(*node));
                for node in others {
                    match node.tag_name().name() {
                        "base" => {}
                        "forward-request" => self.carry(node, Self::forward_request),
                        _ => self.no_counterpart(node),
                    }
                }
                return sent;
            }
            "outbound" | "on-error" => {
                for node in statements.into_iter().filter(|node| node.tag_name().name() != "base") {
                    self.leave(
                        node,
                        "answers go to the caller as the service gives them, and refusals say what failed",
                    );
                }
            }
            _ => {
                let holds_checks = section.descendants().any(is_check);
                self.tell(section, holds_checks, "sections are `inbound`, `backend`, `outbound` and `on-error`");
            }
        }
        Vec::new()
    }

    fn inbound(&mut self, statements: &[Element<'a>]) {
        let onward = self.onward_by_hand(statements);
        let mut limited = Vec::new();
        for node in statements.iter().copied().filter(|node| !onward.contains(&node.id())) {
            match node.tag_name().name() {
                "base" => {}
                "cors" => self.carry(node, Self::cors),
                "ip-filter" => self.carry(node, Self::ip_filter),
                "validate-client-certificate" => self.carry(node, Self::validate_client_certificate),
                "check-header" => self.carry(node, Self::check_header),
                "validate-jwt" => self.carry(node, Self::validate_jwt),
                "validate-azure-ad-token" => self.carry(node, Self::validate_azure_ad_token),
                "rate-limit" => self.carry(node, Self::rate_limit),
                "rate-limit-by-key" => self.carry(node, Self::rate_limit_by_key),
                "quota" => self.carry(node, Self::quota),
                "quota-by-key" => self.carry(node, Self::quota_by_key),
                "set-header" => self.carry(node, Self::set_header),
                "send-request" | "send-one-way-request" => self.carry(node, Self::send_request),
                "set-backend-service" => self.carry(node, Self::set_backend_service),
                "authentication-certificate" => self.carry(node, Self::authentication_certificate),
                "authentication-basic" => self.carry(node, Self::authentication_basic),
                "authentication-managed-identity" => self.carry(node, Self::authentication_managed_identity),
                _ => self.no_counterpart(node),
            }
            match node.tag_name().name() {
                "rate-limit-by-key" | "quota-by-key" => limited.push(node),
                "validate-jwt" | "validate-azure-ad-token" => {
                    for limit in limited.drain(..) {
                        self.leave(
                            limit,
                            "it stands before the check of the token; here it counts what the checks let in",
                        );
                    }
                }
                _ => {}
            }
        }
    }

    fn no_counterpart(&mut self, node: Element<'a>) {
        let all: Vec<Element<'a>> = node.descendants().filter(Node::is_element).collect();
        let has = |is: fn(Element<'_>) -> bool| all.iter().any(|inside| is(*inside) && !is_elsewhere(*inside));
        self.fixes |= has(is_fixing);
        let goes = if has(is_credential) {
            Some("goes")
        } else {
            has(|inside| inside.has_tag_name("include-fragment")).then_some("may go")
        };
        if let Some(goes) = goes {
            self.parts.fails_closed = true;
            self.leave(node, format!("with it {goes} the service's credential: {}", self.until_said()));
        }
        let why = without_counterpart(node);
        let checks: Vec<String> = all
            .into_iter()
            .filter(|inside| inside.id() != node.id() && is_check(*inside))
            .map(|inside| match inside.attribute("fragment-id") {
                Some(id) => format!("that the fragment `{id}` may hold, in line {}", self.line(inside)),
                None => format!("`{}` in line {}", inside.tag_name().name(), self.line(inside)),
            })
            .collect();
        let also =
            if checks.is_empty() { String::new() } else { format!("; with it go the checks {}", checks.join(", ")) };
        let itself = match node.tag_name().name() {
            "include-fragment" => "; it may hold checks",
            _ if is_check(node) => "; it is a check, and without it the API is laxer",
            _ => "",
        };
        let is_check = !also.is_empty() || !itself.is_empty();
        self.tell(node, is_check, format!("{why}{itself}{also}"));
    }

    /// An attribute with its named values, if it is there.
    fn attribute(&self, node: Element<'a>, name: &str) -> Taken<'a, Option<String>> {
        node.attribute(name).map(|text| self.plain(node, &format!("`{name}`"), text)).transpose()
    }

    /// An attribute that has to be there.
    fn required(&self, node: Element<'a>, name: &str) -> Taken<'a, String> {
        match self.attribute(node, name)? {
            Some(text) => Ok(text),
            None => whole(node, format!("`{name}` is missing")),
        }
    }

    /// `true` or `false`, if it is there.
    fn flag(&self, node: Element<'a>, name: &str) -> Taken<'a, Option<bool>> {
        match self.attribute(node, name)?.map(|text| text.trim().to_ascii_lowercase()).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => whole(node, format!("`{name}` is neither `true` nor `false`")),
        }
    }

    /// The element's text, with its named values.
    fn text(&self, node: Element<'a>) -> Taken<'a, String> {
        self.plain(node, "the text", &written(node)?)
    }

    fn plain(&self, node: Element<'a>, what: &str, text: &str) -> Taken<'a, String> {
        let text = self.substituted(node, what, text)?;
        if is_expression(&text) {
            return whole(node, format!("{what} is an expression; expressions are not carried over"));
        }
        Ok(text)
    }

    /// A text with the values of its `{{names}}`, which may be expressions.
    fn substituted(&self, node: Element<'a>, what: &str, text: &str) -> Taken<'a, String> {
        let mut made = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, behind) = after.split_once("}}").unwrap_or((after, ""));
            let name = name.trim();
            let Some(value) = self.named.get(name) else {
                return whole(
                    node,
                    format!("{what} has the named value `{name}`; give it with `--named-value {name}=VALUE`"),
                );
            };
            made.push_str(before);
            made.push_str(value);
            rest = behind;
        }
        made.push_str(rest);
        Ok(made)
    }

    /// The texts of the children of this name below a list such as `<audiences>`.
    fn list(&self, node: Element<'a>, list: &str, each: &str) -> Taken<'a, Vec<String>> {
        let mut all = Vec::new();
        for list in node.children().filter(|child| child.has_tag_name(list)) {
            known(list, &[], &[each])?;
            for item in list.children().filter(Node::is_element) {
                known(item, &[], &[])?;
                all.push(self.text(item)?);
                if all.last().is_some_and(String::is_empty) {
                    return whole(item, "it is empty");
                }
            }
        }
        Ok(all)
    }
}

/// Refuses what is not known of a statement: it could be what makes it strict.
fn known<'a>(node: Element<'a>, attributes: &[&str], children: &[&str]) -> Taken<'a> {
    let is_known = |attribute: &roxmltree::Attribute<'_, '_>| {
        attribute.namespace().is_none() && (attribute.name() == "id" || attributes.contains(&attribute.name()))
    };
    if let Some(other) = node.attributes().find(|attribute| !is_known(attribute)) {
        return whole(node, format!("`{}` of `<{}>` is not known", other.name(), node.tag_name().name()));
    }
    let mut all = node.children().filter(Node::is_element);
    let is_known =
        |child: &Element<'a>| child.tag_name().namespace().is_none() && children.contains(&child.tag_name().name());
    match all.find(|child| !is_known(child)) {
        Some(other) => whole(other, format!("`<{}>` is not known here", other.tag_name().name())),
        None => Ok(()),
    }
}

/// All of the text of an element, comments left out.
fn written(node: Element<'_>) -> Taken<'_, String> {
    if let Some(child) = node.children().find(Node::is_element) {
        return whole(child, "a text is expected in its place");
    }
    let text: String = node.children().filter(Node::is_text).filter_map(|part| part.text()).collect();
    Ok(text.trim().to_owned())
}

/// Why a statement is not carried over.
fn without_counterpart(node: Element<'_>) -> &'static str {
    match node.tag_name().name() {
        "choose" | "wait" | "retry" | "limit-concurrency" => "there are no conditions; write operations of their own",
        "set-variable" => "there are no variables; a claim can be sent as a header with `set_header` and `claim`",
        "cache-lookup" | "cache-store" | "cache-lookup-value" | "cache-store-value" | "cache-remove-value" => {
            "answers are not cached; onward tokens are, without being told to"
        }
        "rewrite-uri" | "set-query-parameter" | "set-method" | "set-body" | "find-and-replace" => {
            "requests are not rewritten: the service gets the path below the API's, and the body, as they came"
        }
        "return-response" | "mock-response" => "the gateway gives no answers of its own but refusals",
        "include-fragment" => "put the statements of the fragment in its place, and import it again",
        _ => "there is no counterpart",
    }
}

/// What has fields of its own, which the service is not sent.
const ELSEWHERE: [&str; 3] = ["send-request", "send-one-way-request", "return-response"];

/// Whether it is part of what another service is sent, or the caller answered.
fn is_elsewhere(node: Element<'_>) -> bool {
    node.ancestors().any(|outer| ELSEWHERE.contains(&outer.tag_name().name()))
}

/// What makes of callers' requests the one that the document says.
const FIXES: [&str; 5] = ["rewrite-uri", "set-method", "set-body", "set-query-parameter", "find-and-replace"];

fn is_fixing(node: Element<'_>) -> bool {
    // With `skip` callers may say it themselves.
    FIXES.contains(&node.tag_name().name()) && node.attribute("exists-action") != Some("skip")
}

/// What refuses callers, or counts them, beside all that is called `validate-`.
const CHECKS: [&str; 12] = [
    "azure-openai-token-limit",
    "check-header",
    "include-fragment",
    "ip-filter",
    "limit-concurrency",
    "llm-content-safety",
    "llm-token-limit",
    "quota",
    "quota-by-key",
    "rate-limit",
    "rate-limit-by-key",
    "return-response",
];

fn is_check(node: Element<'_>) -> bool {
    let name = node.tag_name().name();
    CHECKS.contains(&name) || name.starts_with("validate-")
}

/// Whether a statement says with what credential the service is asked.
fn is_credential(node: Element<'_>) -> bool {
    let sets = node.has_tag_name("set-header")
        && node.attribute("name").is_some_and(|name| name.eq_ignore_ascii_case("authorization"));
    sets || node.tag_name().name().starts_with("authentication-")
}

fn is_expression(text: &str) -> bool {
    text.contains("@(") || text.contains("@{")
}

#[cfg(test)]
mod tests;
