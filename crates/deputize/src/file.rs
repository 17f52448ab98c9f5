//! Reading files that people write: what is wrong is said with file and line.
use crate::failure::{Failure, to_read, why};
use deputize_core::estate::nearest;
use serde::de::DeserializeOwned;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

/// The largest file that is read, in bytes.
const LONGEST: u64 = 16 << 20;

/// A text and where it came from.
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) content: String,
}

impl Text {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let unread = |error: std::io::Error| {
            let problem = format!("`{}` cannot be read: {}", path.display(), why(&error));
            Failure::new(problem, to_read(&error))
        };
        let mut content = String::new();
        let file = std::fs::File::open(path).map_err(unread)?;
        let read = file.take(LONGEST + 1).read_to_string(&mut content).map_err(unread)?;
        if u64::try_from(read).is_ok_and(|read| read > LONGEST) {
            let hint = "give the path of a file that people write";
            return Err(Failure::new(format!("`{}` is larger than {} MiB", path.display(), LONGEST >> 20), hint));
        }
        Ok(Self { name: path.display().to_string(), content })
    }

    /// Parses it.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        toml::from_str(&self.content).map_err(|error| self.misread(&error))
    }

    /// A problem at a place of this text.
    pub(crate) fn fault(&self, at: &Range<usize>, problem: &str, hint: &str) -> Failure {
        Failure::new(format!("{}: {problem}", self.place(at)), hint)
    }

    fn place(&self, at: &Range<usize>) -> String {
        if at.is_empty() {
            return format!("`{}`", self.name);
        }
        let line = self.content.bytes().take(at.start).filter(|byte| *byte == b'\n').count() + 1;
        format!("`{}` line {line}", self.name)
    }

    /// What stands in the line of this place, from its beginning.
    fn line(&self, at: usize) -> &str {
        let (before, after) = self.content.split_at_checked(at).unwrap_or((&self.content, ""));
        let begins = before.rfind('\n').map_or(0, |end| end + 1);
        let ends = after.find('\n').map_or(self.content.len(), |end| at + end);
        self.content.get(begins..ends).unwrap_or_default()
    }

    fn misread(&self, error: &toml::de::Error) -> Failure {
        let message = error.message().trim().replace('\n', "; ");
        let at = error.span().unwrap_or_default();
        // An empty span at the end of the file has a line too.
        let at = if at.is_empty() && error.span().is_some() { at.start..at.start + 1 } else { at };
        let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let (problem, hint) = match quoted.split_first() {
            Some((field, known)) if message.starts_with("unknown field") => {
                let hint = match nearest(field, known.iter().copied()) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None if known.is_empty() => "remove it".to_owned(),
                    None => format!("expected one of: {}", known.join(", ")),
                };
                (format!("there is no property `{field}` here"), hint)
            }
            Some((variant, known)) if message.starts_with("unknown variant") => {
                (format!("`{variant}` is no value for this"), format!("expected one of: {}", known.join(", ")))
            }
            Some((field, _)) if message.starts_with("missing field") => {
                (format!("`{field}` is missing"), format!("add `{field}`"))
            }
            // The text may be a secret that was written where its source is named.
            _ if message.starts_with("invalid type: string ") => {
                let expected = message.rsplit_once(", expected ").map_or("another", |(_, expected)| expected);
                (format!("invalid type: string, expected {expected}"), form(expected).to_owned())
            }
            // The reader takes one table of several for a list of what is in one, and says what should stand first.
            _ if message.starts_with("invalid type: map, ") && self.line(at.start).starts_with("[[") => {
                let line = self.line(at.start).trim();
                let once = line.replace("[[", "[").replace("]]", "]");
                ("a table that is written once is written as one of several".to_owned(), format!("write `{once}`"))
            }
            _ => {
                let hint = message.rsplit_once(", expected ").map_or("mend the line", |(_, expected)| form(expected));
                (message.clone(), hint.to_owned())
            }
        };
        self.fault(&at, &problem, &hint)
    }
}

/// How something is written of which the reader says what it expected.
fn form(expected: &str) -> &'static str {
    match expected {
        "a sequence" => "write a list: `[…]`, or `[[…]]` before a table of several",
        "a boolean" => "write `true` or `false`, without quotes",
        "a string" | "path string" => "write a text in quotes",
        number if number.strip_prefix(['u', 'i']).is_some_and(|size| size == "size" || size.parse::<u8>().is_ok()) => {
            "write a whole number, without quotes and unit"
        }
        table if table == "a map" || table.starts_with("struct ") => {
            "write a table: `{ … }`, or `[…]` before its lines"
        }
        _ => "write it as the reference says",
    }
}
