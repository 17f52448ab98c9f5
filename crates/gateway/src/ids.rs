//! Names for decisions: unique, and of no other use.
use client::Random;
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
        Self { process: format!("{:016x}", u64::from_ne_bytes(process)), next: AtomicU64::new(0) }
    }

    /// The next one.
    pub fn next(&self) -> String {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(2 * self.process.len());
        id.push_str(&self.process);
        let digits =
            (0..u64::BITS).step_by(4).rev().map(|shift| u32::try_from(next >> shift & 0xf).unwrap_or_default());
        id.extend(digits.filter_map(|digit| char::from_digit(digit, 16)));
        id
    }
}
