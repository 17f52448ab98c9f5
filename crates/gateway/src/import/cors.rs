//! Which pages of other origins may call.
use super::write::Table;
use super::{Element, Reading, Scope, Taken, known, whole};

impl<'a> Reading<'a> {
    pub(super) fn cors(&mut self, node: Element<'a>) -> Taken<'a> {
        if self.scope == Scope::Product {
            let why = "a preflight has no key, so it is never in the context of a product; write it in the API";
            return whole(node, why);
        }
        let lists = [
            ("allowed-origins", "origin", "allowed_origins"),
            ("allowed-methods", "method", "allowed_methods"),
            ("allowed-headers", "header", "allowed_headers"),
            ("expose-headers", "header", "expose_headers"),
        ];
        known(node, &["allow-credentials", "terminate-unmatched-request"], &lists.map(|(list, ..)| list))?;
        let mut table = Table::default();
        let credentials = self.flag(node, "allow-credentials")? == Some(true);
        if credentials {
            table.set("allow_credentials", true);
        }
        if self.flag(node, "terminate-unmatched-request")? == Some(true) {
            table.set("terminate_unmatched_request", true);
        }
        let mut seconds = None;
        for (list, each, name) in lists {
            let mut all = Vec::new();
            for list in node.children().filter(|child| child.has_tag_name(list)) {
                let of_list: &[&str] = if name == "allowed_methods" { &["preflight-result-max-age"] } else { &[] };
                known(list, of_list, &[each])?;
                for item in list.children().filter(|child| child.has_tag_name(each)) {
                    all.push(self.text(item)?);
                }
                if let Some(text) = self.attribute(list, "preflight-result-max-age")? {
                    seconds = text.parse::<u32>().ok();
                    if seconds.is_none() {
                        self.leave(list, "`preflight-result-max-age` is no number of seconds; preflights are not kept");
                    }
                }
            }
            if all.iter().any(|text| text == "*") {
                if credentials && matches!(name, "allowed_origins" | "expose_headers") {
                    let why =
                        "`*` beside `allow-credentials` lets every site act as the user; name the origins and fields";
                    return whole(node, why);
                }
                all = vec!["*".to_owned()];
            }
            if all.is_empty() && name == "allowed_origins" {
                return whole(node, "it names no origin");
            }
            table.set_list(name, all);
        }
        if let Some(seconds) = seconds {
            table.set("preflight_result_max_age", i64::from(seconds));
        }
        self.once(node, "cors", table)
    }
}
