//! The guard's tests, in one program.
#[cfg(test)]
mod common;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod dpop;
#[cfg(test)]
mod events;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod layer;
#[cfg(test)]
mod mutations;
