//! `deputize`: one binary, and its commands. Wiring only; rules live in the rooms.
mod audit;
mod authority;
mod beside;
mod cli;
mod data;
mod demo;
mod dev_ca;
mod env;
mod estate;
mod explain;
mod failure;
mod file;
mod first_start;
mod gateway;
mod import;
mod instance;
mod issuers;
mod keys;
mod listen;
mod log;
mod managed_identity;
mod output;
mod peer;
mod reference;
mod run;
mod serve;
mod sidecar;
mod system;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    log::hook_panics();
    // However it ends.
    let told = log::Told;
    let ended = cli::run();
    drop(told);
    match ended {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
