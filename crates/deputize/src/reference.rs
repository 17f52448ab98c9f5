//! `deputize reference`: what this version serves and refuses, as pages to read.
use crate::failure::{Failure, why};
use crate::output::say;
use std::path::PathBuf;
use std::process::ExitCode;

/// `deputize reference`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The folder to write the pages to, in Markdown
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Writes every page, over what is there.
pub(crate) fn run(Options { folder }: &Options) -> Result<ExitCode, Failure> {
    let unwritten = |error: std::io::Error| {
        let error = format!("`{}` cannot be written: {}", folder.display(), why(&error));
        Failure::new(error, "name a folder that you may write to")
    };
    std::fs::create_dir_all(folder).map_err(unwritten)?;
    for (name, text) in authority::reference()
        .into_iter()
        .chain([
            ("sidecar.json", document(&sidecar::openapi())),
            ("gateway-management.json", document(&gateway::openapi())),
        ])
        .chain(gateway::reference())
    {
        let file = folder.join(name);
        std::fs::write(&file, text).map_err(unwritten)?;
        say(file.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// An API, for generators of clients.
fn document(api: &serde_json::Value) -> String {
    format!("{api:#}\n")
}
