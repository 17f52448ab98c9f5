//! Names and texts that others chose, on a page that people must be able to trust.
use std::fmt::{self, Display, Write};

/// A text without characters that change how its neighbours read. Overrides of direction, invisible characters and
/// controls show as `U+FFFD`, so that `Payroll‹override›gnihsihp` cannot pass for another name. Escaping is the
/// template's work and still needed; wrap it in `<bdi>` where it stands in a sentence.
#[derive(Clone, Copy)]
pub struct Plain<'a>(pub &'a str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| f.write_char(if misleading(c) { char::REPLACEMENT_CHARACTER } else { c }))
    }
}

/// Zero-width joiners (U+200C, U+200D) stay: Persian and emoji need them.
fn misleading(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::Plain;

    #[test]
    fn what_misleads_is_shown() {
        for hostile in ["\u{202e}", "\u{2066}", "\u{200f}", "\u{200b}", "\n", "\0", "\u{feff}", "\u{e0041}"] {
            assert_eq!(Plain(&format!("a{hostile}b")).to_string(), "a\u{fffd}b", "{hostile:?}");
        }
    }

    #[test]
    fn names_of_all_languages_stay() {
        for name in ["Ada Lovelace", "عمر", "می\u{200c}خواهم", "Åse Ø", "山田", "👩\u{200d}💻"] {
            assert_eq!(Plain(name).to_string(), name);
        }
    }
}
