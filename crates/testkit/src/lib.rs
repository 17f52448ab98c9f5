//! For tests only: a fixed clock, seeded randomness, test keys, a fake issuer.
