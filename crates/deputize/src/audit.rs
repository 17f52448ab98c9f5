//! `deputize audit verify`: walks the whole audit trail.
use crate::authority::DATA;
use crate::data::Data;
use crate::failure::Failure;
use crate::keys::MasterKey;
use crate::output::say;
use deputize_core::model::Digest;
use std::path::PathBuf;
use std::process::ExitCode;
use store::{AuditHead, StoreKeys};

/// What can be done with the audit trail.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Finds altered, missing, replaced and, with a witness, rolled back records
    Verify {
        /// The folder of the store
        #[arg(long, value_name = "FOLDER", default_value = DATA)]
        data: PathBuf,
        /// The head that an earlier run printed, kept elsewhere: only with it is an old copy of the whole file found
        #[arg(long, value_name = "NUMBER:HASH", value_parser = witness)]
        witness: Option<AuditHead>,
    },
}

/// `deputize audit`.
pub(crate) fn run(command: Command) -> Result<ExitCode, Failure> {
    let Command::Verify { data: folder, witness } = command;
    if !folder.join("store.db").exists() {
        let error = format!("there is no store in `{}`", folder.display());
        return Err(Failure::new(error, "name the folder of the authority with `--data`"));
    }
    let data = Data::open(&folder)?;
    let keys = StoreKeys::new(MasterKey::load(&data, None)?.derive("audit"));
    // Not through an open store: one whose head was tampered with refuses to open, and is just what is asked about.
    let verified = store::audit_verify(&data.store(), &keys, witness).map_err(Failure::told)?;
    let head = verified.map_err(|fault| {
        let hint = "keep a copy of the store for inquiry, and restore a backup that verifies";
        Failure::new(format!("the audit trail of `{}`: {fault}", folder.display()), hint)
    })?;
    say(format_args!("the audit trail holds together: {} records", head.sequence));
    say(format_args!(
        "head {}:{}  (keep it elsewhere, and give it to the next run with `--witness`)",
        head.sequence,
        String::from(head.hash)
    ));
    Ok(ExitCode::SUCCESS)
}

fn witness(text: &str) -> Result<AuditHead, String> {
    let parse = || {
        let (sequence, hash) = text.split_once(':')?;
        let hash: Digest = serde_json::from_value(serde_json::Value::String(hash.to_owned())).ok()?;
        Some(AuditHead { sequence: sequence.parse().ok()?, hash })
    };
    parse().ok_or_else(|| "a head is a number, a colon and 64 hexadecimal digits, as `audit verify` prints it".into())
}
