//! The client against an authority in the same process.
#[cfg(test)]
mod asking;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod files;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod introspection;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod long_running;
#[cfg(test)]
mod managed_identity;
#[cfg(test)]
mod managed_identity_used;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod renewal;
#[cfg(test)]
mod support;
#[cfg(test)]
mod work_orders;
