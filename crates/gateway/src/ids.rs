//! Names for decisions: unique, and of no other use.
use client::Random;
use data_encoding::HEXLOWER;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where they come from.
pub struct Ids {
    /// In digits.
    process: String,
    next: AtomicU64,
}

impl Ids {
    /// Those of one process.
    pub fn new(random: &dyn Random) -> Self {
        let mut process = [0; 8];
        random.fill(&mut process);
        Self { process: HEXLOWER.encode(&process), next: AtomicU64::new(0) }
    }

    /// The next one.
    pub fn next(&self) -> String {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(2 * self.process.len());
        id.push_str(&self.process);
        HEXLOWER.encode_append(&next.to_be_bytes(), &mut id);
        id
    }
}
