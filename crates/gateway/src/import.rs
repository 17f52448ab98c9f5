//! API Management's policy documents as this gateway's configuration: what has a counterpart is carried over, and what has
//! none is told, line by line. Nothing is guessed, and nothing becomes laxer than it was.
mod backend;
mod callers;
mod certificates;
mod cors;
mod expressions;
mod limits;
mod requests;
mod tokens;
mod write;

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
    let mut reading = Reading { document: &document, scope, named, parts: Parts::default(), left: Vec::new() };
    if root.tag_name().name() != "policies" {
        let problem = format!("a policy document is `<policies>`, and this is `<{}>`", root.tag_name().name());
        return Err(ImportError { line: reading.line(root), problem });
    }
    for section in root.children().filter(Node::is_element) {
        reading.section(section);
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
}

type Element<'a> = Node<'a, 'a>;

impl<'a> Reading<'a> {
    fn line(&self, node: Element<'_>) -> u32 {
        self.document.text_pos_at(node.range().start).row
    }

    fn leave(&mut self, node: Element<'_>, why: impl Into<String>) {
        let element = node.tag_name().name().to_owned();
        self.left.push(Left { line: self.line(node), element, why: why.into() });
    }

    fn section(&mut self, section: Element<'a>) {
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
                self.inbound(&statements);
            }
            "backend" => {
                for node in statements {
                    match node.tag_name().name() {
                        "base" => {}
                        "forward-request" => self.forward_request(node),
                        _ => self.no_counterpart(node),
                    }
                }
            }
            "outbound" | "on-error" => {
                for node in statements.into_iter().filter(|node| node.tag_name().name() != "base") {
                    self.leave(
                        node,
                        "answers go to the caller as the service gives them, and refusals say what failed",
                    );
                }
            }
            _ => self.leave(section, "sections are `inbound`, `backend`, `outbound` and `on-error`"),
        }
    }

    fn inbound(&mut self, statements: &[Element<'a>]) {
        let onward = self.onward_by_hand(statements);
        for node in statements.iter().copied().filter(|node| !onward.contains(&node.id())) {
            match node.tag_name().name() {
                "base" => {}
                "cors" => self.cors(node),
                "ip-filter" => self.ip_filter(node),
                "validate-client-certificate" => self.validate_client_certificate(node),
                "check-header" => self.check_header(node),
                "validate-jwt" => self.validate_jwt(node),
                "validate-azure-ad-token" => self.validate_azure_ad_token(node),
                "rate-limit" => self.rate_limit(node),
                "rate-limit-by-key" => self.rate_limit_by_key(node),
                "quota" => self.quota(node),
                "quota-by-key" => self.quota_by_key(node),
                "set-header" => self.set_header(node),
                "send-request" | "send-one-way-request" => self.send_request(node),
                "set-backend-service" => self.set_backend_service(node),
                "authentication-certificate" => self.authentication_certificate(node),
                "authentication-basic" => self.authentication_basic(node),
                "authentication-managed-identity" => self.authentication_managed_identity(node),
                _ => self.no_counterpart(node),
            }
        }
    }

    fn no_counterpart(&mut self, node: Element<'a>) {
        let why = match node.tag_name().name() {
            "choose" | "wait" | "retry" | "limit-concurrency" => {
                "there are no conditions; write operations of their own"
            }
            "set-variable" => "there are no variables; a claim can be sent as a header with `set_header` and `claim`",
            "cache-lookup" | "cache-store" | "cache-lookup-value" | "cache-store-value" | "cache-remove-value" => {
                "answers are not cached; onward tokens are, without being told to"
            }
            "rewrite-uri" | "set-query-parameter" | "set-method" | "set-body" | "find-and-replace" => {
                "requests are not rewritten: the service gets the path below the API's, and the body, as they came"
            }
            "return-response" | "mock-response" => "the gateway gives no answers of its own but refusals",
            _ => "there is no counterpart",
        };
        self.leave(node, why);
    }

    /// An attribute with its named values; nothing where one is unknown, or where it is an expression. Both are told.
    fn attribute(&mut self, node: Element<'a>, name: &str) -> Option<String> {
        let text = node.attribute(name)?.to_owned();
        self.plain(node, &format!("`{name}`"), &text)
    }

    /// The same of the element's text.
    fn text(&mut self, node: Element<'a>) -> Option<String> {
        let text = node.text().unwrap_or_default().trim().to_owned();
        self.plain(node, "the text", &text)
    }

    fn plain(&mut self, node: Element<'a>, what: &str, text: &str) -> Option<String> {
        if is_expression(text) {
            self.leave(node, format!("{what} is an expression; expressions are not carried over"));
            return None;
        }
        let mut made = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, behind) = after.split_once("}}").unwrap_or((after, ""));
            let Some(value) = self.named.get(name.trim()) else {
                let name = name.trim();
                self.leave(
                    node,
                    format!("{what} has the named value `{name}`; give it with `--named-value {name}=VALUE`"),
                );
                return None;
            };
            made.push_str(before);
            made.push_str(value);
            rest = behind;
        }
        made.push_str(rest);
        Some(made)
    }

    /// The texts of the children of this name below a list such as `<audiences>`.
    fn list(&mut self, node: Element<'a>, list: &str, each: &str) -> Vec<String> {
        let lists = node.children().filter(|child| child.has_tag_name(list));
        let items: Vec<Element<'a>> =
            lists.flat_map(|list| list.children()).filter(|child| child.has_tag_name(each)).collect();
        items.into_iter().filter_map(|item| self.text(item)).filter(|text| !text.is_empty()).collect()
    }
}

fn is_expression(text: &str) -> bool {
    text.contains("@(") || text.contains("@{")
}

#[cfg(test)]
mod tests;
