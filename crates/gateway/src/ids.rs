//! Names for decisions: unique, and of no other use.
use client::Random;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where they come from.
pub struct Ids {
    process: u64,
    next: AtomicU64,
}

impl Ids {
    /// Those of one process.
    pub fn new(random: &dyn Random) -> Self {
        let mut process = [0; 8];
        random.fill(&mut process);
        Self { process: u64::from_ne_bytes(process), next: AtomicU64::new(0) }
    }

    /// The next one.
    pub fn next(&self) -> String {
        format!("{:016x}{:016x}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}
