//! Reads every tracked text file: nothing unfinished is left behind, and no lock file of npm names the host it was
//! resolved from (whoever installs decides where packages come from).

use super::Finding;
use crate::Outcome;
use std::path::Path;
use std::process::Command;

/// Written apart so that this file passes its own rule.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("to", "do!("), "write the code, or return an error that says what is not supported"),
    (concat!("unimpl", "emented!("), "write the code, or return an error that says what is not supported"),
];

/// Every forbidden word in a tracked file below `root`.
pub(crate) fn findings(root: &Path) -> Outcome<Vec<Finding>> {
    let listing = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().map_err(|error| {
        format!("git could not be started ({error}); install it: the files to read are those it tracks")
    })?;
    if !listing.status.success() {
        return Err("`git ls-files` failed: run this in a clone of the repository".to_owned());
    }
    let names = String::from_utf8_lossy(&listing.stdout).into_owned();
    // A file that is not UTF-8 is not text; one that is tracked but deleted has nothing to say.
    let texts = names.split('\0').filter_map(|name| Some((name, std::fs::read_to_string(root.join(name)).ok()?)));
    Ok(texts.flat_map(|(name, text)| in_file(name, &text)).collect())
}

fn in_file(name: &str, text: &str) -> Vec<Finding> {
    let is_lock = name.ends_with("package-lock.json");
    let mut found = Vec::new();
    for (line, content) in (1_usize..).zip(text.lines()) {
        let place = format!("{name}:{line}");
        for (word, fix) in FORBIDDEN.iter().filter(|(word, _)| content.contains(word)) {
            found.push(Finding { place: place.clone(), problem: format!("holds `{word}`"), fix: (*fix).to_owned() });
        }
        if is_lock && content.trim_start().starts_with("\"resolved\"") {
            found.push(Finding {
                place,
                problem: "names the host a package was fetched from".to_owned(),
                fix: "delete the line; `omit-lockfile-registry-resolved=true` in .npmrc keeps it away".to_owned(),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_code_is_found_with_its_line() {
        let text = format!("fn a() {{}}\nfn b() {{ {}) }}\n", FORBIDDEN[0].0);
        let found = in_file("src/a.rs", &text);
        assert_eq!(found.iter().map(|it| it.place.as_str()).collect::<Vec<_>>(), ["src/a.rs:2"]);
        assert_eq!(in_file("src/a.rs", "fn a() {}"), []);
    }

    #[test]
    fn a_lock_file_names_no_host() {
        let text = "{\n  \"resolved\": \"https://registry.example/a.tgz\",\n";
        assert_eq!(in_file("e2e/node/package-lock.json", text).len(), 1);
        assert_eq!(in_file("e2e/node/other.json", text), []);
    }
}
