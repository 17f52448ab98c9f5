//! Reads the SPDX expression of a package and says whether we may ship it.

/// Licences that ask for no more than notice.
pub(crate) const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether the expression can be satisfied with allowed licences alone; an expression that does not parse cannot.
pub(crate) fn is_allowed(expression: &str) -> bool {
    // Before SPDX, Cargo wrote `MIT/Apache-2.0` for a choice.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    matches!(either(&tokens), Some((true, [])))
}

type Parsed<'t, 's> = Option<(bool, &'t [&'s str])>;

/// `OR` binds weakest, then `AND`, then `WITH`.
fn either<'t, 's>(tokens: &'t [&'s str]) -> Parsed<'t, 's> {
    let (mut allowed, mut rest) = both(tokens)?;
    while let ["OR", tail @ ..] = rest {
        let (next, tail) = both(tail)?;
        (allowed, rest) = (allowed || next, tail);
    }
    Some((allowed, rest))
}

fn both<'t, 's>(tokens: &'t [&'s str]) -> Parsed<'t, 's> {
    let (mut allowed, mut rest) = one(tokens)?;
    while let ["AND", tail @ ..] = rest {
        let (next, tail) = one(tail)?;
        (allowed, rest) = (allowed && next, tail);
    }
    Some((allowed, rest))
}

fn one<'t, 's>(tokens: &'t [&'s str]) -> Parsed<'t, 's> {
    match tokens {
        ["(", inner @ ..] => match either(inner)? {
            (allowed, [")", rest @ ..]) => Some((allowed, rest)),
            _ => None,
        },
        [licence, "WITH", exception, rest @ ..] => {
            Some((ALLOWED.contains(&format!("{licence} WITH {exception}").as_str()), rest))
        }
        [word, ..] if ["OR", "AND", "WITH", ")"].contains(word) => None,
        [licence, rest @ ..] => Some((ALLOWED.contains(licence), rest)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn a_choice_needs_one_allowed_licence() {
        for expression in ["MIT OR GPL-3.0", "GPL-3.0/MIT", "MIT", "Apache-2.0 WITH LLVM-exception OR GPL-2.0"] {
            assert!(is_allowed(expression), "{expression}");
        }
        assert!(!is_allowed("GPL-3.0 OR AGPL-3.0"));
    }

    #[test]
    fn a_sum_needs_every_licence_allowed() {
        assert!(is_allowed("ISC AND (Apache-2.0 OR ISC) AND BSD-3-Clause"));
        assert!(!is_allowed("MIT AND GPL-2.0"));
        assert!(!is_allowed("GPL-2.0 AND MIT OR AGPL-3.0"));
    }

    #[test]
    fn an_exception_is_a_licence_of_its_own() {
        assert!(!is_allowed("GPL-2.0 WITH Classpath-exception-2.0"));
        assert!(!is_allowed("MIT WITH LLVM-exception"));
    }

    #[test]
    fn what_does_not_parse_is_refused() {
        for expression in ["", "MIT OR", "(MIT", "MIT)", "AND MIT", "MIT Apache-2.0"] {
            assert!(!is_allowed(expression), "{expression}");
        }
    }
}
