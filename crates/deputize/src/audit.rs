//! `deputize audit`: walks the whole audit trail, or shows its newest records.
use crate::authority::DATA;
use crate::data::Data;
use crate::failure::Failure;
use crate::keys::MasterKey;
use crate::output::{printable, say};
use deputize_core::audit::AuditRecord;
use deputize_core::model::Digest;
use std::path::{Path, PathBuf};
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
    /// Shows the newest records, oldest first
    List {
        /// The folder of the store
        #[arg(long, value_name = "FOLDER", default_value = DATA)]
        data: PathBuf,
        /// Only records with this text: the trace id of an error, the id of a user, an application or a token
        #[arg(long, value_name = "TEXT")]
        holding: Option<String>,
        /// How many at most
        #[arg(long, value_name = "NUMBER", default_value_t = 50)]
        limit: u32,
        /// As JSON, a record a line, with all that it holds
        #[arg(long)]
        json: bool,
    },
}

/// `deputize audit`.
pub(crate) fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Verify { data, witness } => verify(&data, witness),
        Command::List { data, holding, limit, json } => {
            let records = store::audit_records(&existing(&data)?.store(), holding.as_deref(), limit);
            for (number, record) in records.map_err(Failure::told)? {
                say(if json { whole(number, &record)? } else { line(number, &record) });
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A folder with a store in it; none is made where there is none.
fn existing(folder: &Path) -> Result<Data, Failure> {
    if !folder.join("store.db").exists() {
        let error = format!("there is no store in `{}`", folder.display());
        return Err(Failure::new(error, "name the folder of the authority with `--data`"));
    }
    Data::open(folder)
}

fn whole(number: u64, record: &AuditRecord) -> Result<String, Failure> {
    #[derive(serde::Serialize)]
    struct Numbered<'a> {
        sequence: u64,
        #[serde(flatten)]
        record: &'a AuditRecord,
    }
    serde_json::to_string(&Numbered { sequence: number, record }).map_err(Failure::told)
}

/// Who asked for what, for whom, and what came of it.
fn line(number: u64, record: &AuditRecord) -> String {
    let refused = record.refused.map(|check| format!("refused: {}", check.entry().id));
    let mut line = format!("{number}  {}  {}  {}", record.at, record.action, refused.as_deref().unwrap_or("allowed"));
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            line.extend(["  ", name, "=", &printable(&value)]);
        }
    };
    add("client", record.client.map(|id| id.to_string()));
    add("subject", record.subject.clone());
    add("resource", record.resource.map(|id| id.to_string()));
    add("scope", Some(record.scope.clone()));
    add("roles", Some(record.roles.join(" ")));
    add("object", record.object.clone());
    add("purpose", record.purpose.clone());
    add("token", record.token.clone());
    add("decision", Some(record.decision.clone()));
    line
}

fn verify(folder: &Path, witness: Option<AuditHead>) -> Result<ExitCode, Failure> {
    let data = existing(folder)?;
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
