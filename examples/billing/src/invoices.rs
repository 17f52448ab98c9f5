//! The books: three invoices for everyone, the same ones every time.
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// One invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Invoice {
    pub(crate) id: String,
    pub(crate) cents: u32,
    pub(crate) currency: &'static str,
    pub(crate) approved: bool,
}

/// Who an invoice is for: tenant and object id. Never a name or an address, which somebody else may have tomorrow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) tid: &'a str,
    pub(crate) oid: &'a str,
}

impl Owner<'_> {
    fn approval(self, invoice: &str) -> Approval {
        Approval { tid: self.tid.to_owned(), oid: self.oid.to_owned(), invoice: invoice.to_owned() }
    }
}

/// An approved invoice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Approval {
    tid: String,
    oid: String,
    invoice: String,
}

/// What has been approved since the start.
#[derive(Debug, Default)]
pub(crate) struct Books {
    approved: Mutex<BTreeSet<Approval>>,
}

impl Books {
    /// The owner's own invoices.
    pub(crate) fn of(&self, owner: Owner<'_>) -> Vec<Invoice> {
        let approved = self.approved.lock().unwrap_or_else(PoisonError::into_inner);
        let invoice = |n: u8| {
            let hash = Sha256::digest(format!("{}/{}/{n}", owner.tid, owner.oid));
            let word = |at: usize| hash.iter().skip(at).take(4).fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
            let id = format!("INV-{:08X}", word(0));
            let approved = approved.contains(&owner.approval(&id));
            Invoice { id, cents: 1_000 + word(4) % 99_000, currency: "EUR", approved }
        };
        (1..=3).map(invoice).collect()
    }

    /// Approves one of the owner's own invoices; `None` if it is not theirs, or not at all.
    pub(crate) fn approve(&self, owner: Owner<'_>, id: &str) -> Option<Invoice> {
        let invoice = self.of(owner).into_iter().find(|invoice| invoice.id == id)?;
        self.approved.lock().unwrap_or_else(PoisonError::into_inner).insert(owner.approval(&invoice.id));
        Some(Invoice { approved: true, ..invoice })
    }

    /// Everything that has been approved.
    pub(crate) fn approvals(&self) -> Vec<Approval> {
        self.approved.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
