//! From an estate's text to one commit.
use super::materials::Files;
use crate::failure::Failure;
use crate::file::Text;
use crate::keys::MasterKey;
use crate::system;
use decision::Timestamp;
use deputize_core::audit::AuditRecord;
use deputize_core::estate::{Declared, Difference, Item, NewSecret, Sign, difference, resolve};
use std::path::Path;
use store::{ApplyError, Change, Object, Store};

/// What applying would do.
pub(crate) struct Plan {
    pub(crate) difference: Difference,
    /// Everything that is declared.
    pub(crate) items: Vec<Item>,
    /// Secrets that were made, to be shown once they are stored.
    pub(crate) secrets: Vec<NewSecret>,
}

/// What the store holds.
pub(crate) fn held(store: &Store) -> Result<Vec<Item>, Failure> {
    let objects = store.objects().map_err(|_| unavailable())?;
    Ok(objects.into_iter().map(Item::from).collect())
}

/// Reads an estate and compares it with what is held. `base` is the folder of its relative paths.
pub(crate) fn plan(
    text: &Text,
    base: &Path,
    held: &[Item],
    master: &MasterKey,
    now: Timestamp,
    prune: bool,
) -> Result<Plan, Failure> {
    let declared: Declared = text.parse()?;
    let files = Files { base, master };
    let resolved = resolve(&declared, held, &files, now, prune).map_err(|faults| {
        Failure::all(faults.iter().map(|fault| text.fault(&fault.at, &fault.problem, &fault.hint)))
    })?;
    let difference = difference(held, &resolved.items, prune);
    Ok(Plan { difference, items: resolved.items, secrets: resolved.secrets })
}

impl Plan {
    /// All of it in one commit, or nothing.
    pub(crate) async fn apply(&self, store: &Store, now: Timestamp) -> Result<(), Failure> {
        let steps = &self.difference.steps;
        // What ends goes first: its name may be taken by what comes.
        let removed = steps.iter().filter(|step| step.sign == Sign::Removed);
        let put = steps.iter().filter(|step| step.sign != Sign::Removed);
        let removed = removed.map(|step| Change::Delete(Object::from(step.item.clone()).key()));
        let changes = removed.chain(put.map(|step| Change::from(Object::from(step.item.clone())))).collect();
        match store.apply(changes, record(now, "apply")).await {
            Ok(_) => Ok(()),
            Err(ApplyError::NameTaken) => Err(Failure::told(ApplyError::NameTaken)),
            Err(ApplyError::Unavailable) => Err(unavailable()),
        }
    }
}

/// Puts items as they are, in one commit.
pub(crate) async fn put(store: &Store, items: Vec<Item>, now: Timestamp, action: &str) -> Result<(), Failure> {
    let changes = items.into_iter().map(|item| Change::from(Object::from(item))).collect();
    store.apply(changes, record(now, action)).await.map(drop).map_err(|_| unavailable())
}

/// What the audit trail says of a change to the directory.
fn record(now: Timestamp, action: &str) -> AuditRecord {
    AuditRecord::new(now, system::random_id().to_string(), action)
}

fn unavailable() -> Failure {
    let hint = "check that its disk is writable and not full, and that no other process holds it";
    Failure::new("the store does not answer, and nothing was changed", hint)
}
