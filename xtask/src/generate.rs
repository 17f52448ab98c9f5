//! `cargo xtask generate`: pages that are written from the code; `check` fails where a committed one is another.

use crate::check::Finding;
use crate::steps::{command, printed};
use crate::{Outcome, root};
use std::collections::BTreeSet;
use std::path::Path;

const PAGES: &str = "docs/reference";

/// Writes them where they are committed.
pub(crate) fn run() -> Outcome {
    write(PAGES)?;
    println!("wrote {PAGES}");
    Ok(())
}

/// Every committed page that the code would write otherwise, or not at all.
pub(crate) fn findings() -> Outcome<Vec<Finding>> {
    let fresh = "target/reference";
    let _ = std::fs::remove_dir_all(root().join(fresh));
    write(fresh)?;
    let names = |folder: &str| -> Outcome<BTreeSet<String>> { names(&root().join(folder)) };
    let all: BTreeSet<String> = names(fresh)?.union(&names(PAGES)?).cloned().collect();
    let read = |folder: &str, name: &str| std::fs::read_to_string(root().join(folder).join(name)).ok();
    let differs = all.into_iter().filter(|name| read(fresh, name) != read(PAGES, name));
    Ok(differs.map(|name| finding(&name)).collect())
}

fn finding(name: &str) -> Finding {
    Finding {
        place: format!("{PAGES}/{name}"),
        problem: "is not what the code says".to_owned(),
        fix: "run `cargo xtask generate` and commit what it writes".to_owned(),
    }
}

fn write(folder: &str) -> Outcome {
    printed(command("cargo", &["run", "--quiet", "-p", "deputize", "--", "reference", folder])).map(drop)
}

/// The files of a folder; none if it is not there.
fn names(folder: &Path) -> Outcome<BTreeSet<String>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(BTreeSet::new()) };
    let name =
        |entry: std::io::Result<std::fs::DirEntry>| entry.map(|entry| entry.file_name().to_string_lossy().into_owned());
    entries.map(name).collect::<Result<_, _>>().map_err(|error| format!("{} cannot be read: {error}", folder.display()))
}
