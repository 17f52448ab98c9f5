//! Which pages of other origins may call.
use super::write::Table;
use super::{Element, Reading, Scope};
use roxmltree::Node;

impl<'a> Reading<'a> {
    pub(super) fn cors(&mut self, node: Element<'a>) {
        if self.scope == Scope::Product {
            let why = "a preflight has no key, so it is never in the context of a product; write it in the API";
            return self.leave(node, why);
        }
        let mut table = Table::default();
        let lists = [
            ("allowed-origins", "origin", "allowed_origins"),
            ("allowed-methods", "method", "allowed_methods"),
            ("allowed-headers", "header", "allowed_headers"),
            ("expose-headers", "header", "expose_headers"),
        ];
        for (attribute, name) in
            [("allow-credentials", "allow_credentials"), ("terminate-unmatched-request", "terminate_unmatched_request")]
        {
            if node.has_attribute(attribute) {
                match self.attribute(node, attribute).map(|text| text.to_ascii_lowercase()).as_deref() {
                    Some("true") => table.set(name, true),
                    Some("false") => {}
                    Some(_) => return self.leave(node, format!("`{attribute}` is neither `true` nor `false`")),
                    None => return,
                }
            }
        }
        let credentials = node.attribute("allow-credentials").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        for (list, each, name) in lists {
            let Some(mut all) = self.whole_list(node, list, each) else { return };
            if all.iter().any(|text| text == "*") {
                if credentials && matches!(name, "allowed_origins" | "expose_headers") {
                    let why =
                        "`*` beside `allow-credentials` lets every site act as the user; name the origins and fields";
                    return self.leave(node, why);
                }
                all = vec!["*".to_owned()];
            }
            if all.is_empty() && name == "allowed_origins" {
                return self.leave(node, "it names no origin");
            }
            table.set_list(name, all);
        }
        let methods = node.children().find(|child| child.has_tag_name("allowed-methods"));
        if let Some(methods) = methods.filter(|list| list.has_attribute("preflight-result-max-age")) {
            match self.attribute(methods, "preflight-result-max-age").and_then(|text| text.parse::<u32>().ok()) {
                Some(seconds) => table.set("preflight_result_max_age", i64::from(seconds)),
                None => {
                    self.leave(methods, "`preflight-result-max-age` is no number of seconds; preflights are not kept");
                }
            }
        }
        self.parts.once.push(("cors", table));
    }

    /// A list of which every item is known; of half a list nothing is carried over.
    pub(super) fn whole_list(&mut self, node: Element<'a>, list: &str, each: &str) -> Option<Vec<String>> {
        let lists = node.children().filter(|child| child.has_tag_name(list));
        let items: Vec<Element<'a>> = lists.flat_map(|list| list.children()).filter(Node::is_element).collect();
        let items = items.into_iter().filter(|item| item.has_tag_name(each));
        items.map(|item| self.text(item)).collect()
    }
}
