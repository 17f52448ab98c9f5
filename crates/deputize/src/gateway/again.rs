//! Reading the configuration again, while it is used.
use super::{Read, beside, doors, share};
use crate::failure::Failure;
use crate::{log, system};
use gateway::{File, Gateway};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// What was read at the start, and counts until the end.
pub(super) struct Started {
    path: PathBuf,
    settings: Vec<(&'static str, String)>,
    trusted: Option<String>,
    /// One after the other, so that the last that was read is the one that counts.
    turn: Mutex<()>,
}

impl Started {
    pub(super) fn by(read: &Read) -> Result<Self, Failure> {
        Ok(Self {
            path: read.path.clone(),
            settings: lasting(&read.file),
            trusted: read.trusted()?,
            turn: Mutex::default(),
        })
    }

    /// Answers by the file as it is now. What a start would refuse is logged, and changes nothing; neither does what only a start takes.
    pub(super) fn read_again(&self, gateway: &Gateway) -> Result<(), Failure> {
        let changed = self.adopt(gateway);
        match &changed {
            Ok(changed) => {
                tracing::info!(operations = gateway.effective().len(), "the configuration was read again");
                if !changed.is_empty() {
                    tracing::warn!(
                        settings = changed.join(", "),
                        "settings that changed count from the next start; a listener that the file has no more lets nobody in"
                    );
                }
            }
            Err(failure) => tracing::error!(reason = %failure, "the configuration is broken; the one before goes on"),
        }
        changed.map(drop)
    }

    /// The settings that have changed and are not taken.
    fn adopt(&self, gateway: &Gateway) -> Result<Vec<&'static str>, Failure> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let read = Read::file(&self.path)?;
        let prepared =
            gateway.prepare(&read.file, &system::variable, read.beside()).map_err(|error| read.told(&error))?;
        share(&read)?;
        log::filter(read.file.log.as_deref().unwrap_or("info"), "the setting `log`")?;
        let callers = doors::addresses(&read, &prepared.are_encrypted())?;
        beside::wanted(&read, prepared.is_management_encrypted(), &callers)?;
        // With one half of the network by the old authorities, and one by the new ones, neither would hold.
        if read.trusted()? != self.trusted {
            let hint = "start the gateway again; with `handover` no caller notices";
            let problem = "the authorities that are trusted have changed, and are read at the start only";
            return Err(match &read.file.trusted_certificates {
                Some(path) => read.text.fault(&path.span(), problem, hint),
                None => Failure::new(problem, hint),
            });
        }
        if prepared.operations() == 0 && !gateway.effective().is_empty() {
            let hint = "write it whole, and have it read again; to serve nothing, end the gateway";
            return Err(Failure::new("the file has no operation any more, as if it were cut off", hint));
        }
        gateway.adopt(prepared);
        let now = lasting(&read.file);
        let of_both = self.settings.iter().zip(now);
        Ok(of_both.filter(|(before, now)| before.1 != now.1).map(|(before, _)| before.0).collect())
    }
}

/// The settings that are read at the start only.
fn lasting(file: &File) -> Vec<(&'static str, String)> {
    let addresses = file.addresses().into_iter().map(|address| address.map(|address| address.get_ref().as_str()));
    let text =
        |setting: &Option<gateway::Spanned<String>>| format!("{:?}", setting.as_ref().map(gateway::Spanned::get_ref));
    let path =
        |setting: &Option<gateway::Spanned<PathBuf>>| format!("{:?}", setting.as_ref().map(gateway::Spanned::get_ref));
    let management = file.management.as_ref().map(|table| {
        let table = table.get_ref();
        (table.listen.get_ref(), table.files(std::path::Path::new("")))
    });
    vec![
        ("listen", format!("{:?}", addresses.collect::<Vec<_>>())),
        (
            "connections_per_address",
            format!("{:?}", file.connections_per_address.as_ref().map(gateway::Spanned::get_ref)),
        ),
        ("log", format!("{:?}", file.log)),
        ("access_log", format!("{:?}", file.access_log)),
        ("status", text(&file.status)),
        ("authorizer", text(&file.authorizer)),
        ("envoy_authorizer", text(&file.envoy_authorizer)),
        ("handover", path(&file.handover)),
        ("control", path(&file.control)),
        ("management", format!("{management:?}")),
    ]
}
