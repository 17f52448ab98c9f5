//! R18.
fn main() {}
