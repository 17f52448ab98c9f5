//! Lists in parts, with Graph's `$top`, `$skiptoken` and `@odata.nextLink`.
use crate::denial::Denial;
use decision::CheckId;
use oauth::Form;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// How many objects there are in a part, unless it is said.
const USUAL: u32 = 100;
/// How many at most.
const MOST: u32 = 999;
/// The longest place.
const LONGEST: usize = 128;

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) top: u32,
    pub(super) after: Vec<u8>,
}

impl Part {
    /// Reads the query options. One that would narrow the list and is not understood is refused: leaving it out would
    /// answer another question.
    pub(super) fn read(query: &Form) -> Result<Self, Denial> {
        let known = ["$top", "$skiptoken", "$select", "$count"];
        if let Some((name, _)) = query.iter().find(|(name, _)| name.starts_with('$') && !known.contains(name)) {
            return Err(wrong(name));
        }
        let top = match query.value("$top") {
            Some(text) => text.parse().ok().filter(|top| (1..=MOST).contains(top)).ok_or_else(|| wrong("$top"))?,
            None => USUAL,
        };
        let after = match query.value("$skiptoken") {
            Some(text) => place(text).ok_or_else(|| wrong("$skiptoken"))?,
            None => Vec::new(),
        };
        Ok(Self { top, after })
    }

    /// A list that is held whole, in the order of its places.
    pub(super) fn of(&self, mut all: Vec<(Vec<u8>, Option<Value>)>) -> Vec<(Vec<u8>, Option<Value>)> {
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        let rest = all.into_iter().filter(|(place, _)| self.after.is_empty() || *place > self.after);
        rest.take(self.limit() as usize).collect()
    }

    /// How many are read: one more says that there are more.
    pub(super) fn limit(&self) -> u32 {
        self.top.saturating_add(1)
    }

    /// What is answered. A place without an object is one that is not shown.
    pub(super) fn answer(&self, url: &str, mut objects: Vec<(Vec<u8>, Option<Value>)>) -> Value {
        let more = objects.len() > self.top as usize;
        objects.truncate(self.top as usize);
        let next = objects.last().filter(|_| more).map(|(place, _)| {
            let hex = place.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            });
            format!("{url}?$top={}&$skiptoken={hex}", self.top)
        });
        let mut answer = json!({"value": objects.into_iter().filter_map(|(_, shown)| shown).collect::<Vec<_>>()});
        if let (Some(next), Some(members)) = (next, answer.as_object_mut()) {
            members.insert("@odata.nextLink".to_owned(), next.into());
        }
        answer
    }
}

fn place(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || text.len() > LONGEST || text.len() % 2 == 1 || !text.is_ascii() {
        return None;
    }
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

fn wrong(name: &str) -> Denial {
    let shown: String = name.chars().filter(char::is_ascii_graphic).take(40).collect();
    Denial::new(CheckId::DirectoryQuery, format!("`$top` of 1 to {MOST}, and `$skiptoken` from a list before"), shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Form {
        pairs.iter().fold(Form::default(), |form, (name, value)| form.with(name, value))
    }

    #[test]
    fn a_list_is_read_part_by_part_and_each_object_once() {
        let all: Vec<_> = (0..7_u8).map(|n| (vec![n], (n != 4).then(|| json!(n)))).collect();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let mut pairs = vec![("$top", "3")];
            pairs.extend(after.as_deref().map(|after| ("$skiptoken", after)));
            let part = Part::read(&query(&pairs)).unwrap();
            let answer = part.answer("https://x/list", part.of(all.clone()));
            seen.extend(answer["value"].as_array().unwrap().clone());
            let Some(next) = answer["@odata.nextLink"].as_str() else { break };
            after = next.rsplit_once('=').map(|(_, token)| token.to_owned());
        }
        assert_eq!(seen, [0, 1, 2, 3, 5, 6].map(|n| json!(n)));
    }

    #[test]
    fn options_that_would_narrow_a_list_are_not_left_out_silently() {
        for (name, value) in [
            ("$filter", "x"),
            ("$top", "0"),
            ("$top", "1000"),
            ("$top", "x"),
            ("$skiptoken", "é"),
            ("$skiptoken", "abc"),
        ] {
            assert!(Part::read(&query(&[(name, value)])).is_err(), "{name}={value}");
        }
        assert!(Part::read(&query(&[("$select", "id"), ("api-version", "1")])).is_ok());
    }
}
