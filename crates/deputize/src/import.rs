//! `deputize import`: application manifests of Microsoft Entra ID as an estate file, and what could not be carried over.
//!
//! Both forms are read: the one that the portal downloads (Azure AD Graph's names) and Microsoft Graph's, as
//! `az ad app show` and `az ad app list` print it. Ids are kept, so that clients and APIs need no change.
mod carried;
mod manifest;
#[cfg(test)]
mod tests;

use crate::failure::Failure;
use crate::file::Text;
use crate::output::say;
use carried::Carried;
use manifest::Manifest;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `deputize import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Manifests (JSON), of one application or a list: those of an API and of its clients belong together
    #[arg(value_name = "MANIFEST", required = true)]
    files: Vec<PathBuf>,
    /// The domain of the tenant that the applications will belong to
    #[arg(long, value_name = "DOMAIN")]
    tenant: String,
}

/// `deputize import`: the estate goes to standard output.
pub(crate) fn run(options: Options) -> Result<ExitCode, Failure> {
    let mut manifests = Vec::new();
    for path in &options.files {
        manifests.extend(read(&Text::read(path)?)?);
    }
    let carried = Carried::of(&manifests);
    say(carried.estate(&options.tenant)?.trim_end());
    let left = carried.left_out.len();
    if left > 0 {
        let _ = writeln!(std::io::stderr(), "not everything could be carried over: see the {left} comments at the top");
    }
    Ok(ExitCode::SUCCESS)
}

/// The applications of one file.
fn read(text: &Text) -> Result<Vec<Manifest>, Failure> {
    let json = text.content.strip_prefix('\u{feff}').unwrap_or(&text.content);
    let list = json.trim_start().starts_with('[');
    let read = if list { serde_json::from_str(json) } else { serde_json::from_str(json).map(|one| vec![one]) };
    read.map_err(|error: serde_json::Error| {
        let whole = error.to_string();
        let problem = whole.split(" at line ").next().unwrap_or_default();
        let hint = "give an application's manifest, as the portal downloads it or `az ad app show` prints it";
        Failure::new(format!("`{}` line {}: {problem}", text.name, error.line()), hint)
    })
}
