//! The command line.
use crate::failure::Failure;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Lets one API call another on behalf of a user, and lets every party see why.
#[derive(Debug, Parser)]
#[command(name = "deputize", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the whole chain on this machine: an authority, two APIs, a user, and what is refused
    Demo(crate::demo::Options),
    /// Runs a command against a local authority that answers for Microsoft's sign-in hosts, inside that command only
    Run(crate::run::Options),
    /// What `run` starts inside
    #[cfg(target_os = "linux")]
    #[command(name = "run-inside", hide = true)]
    RunInside(crate::run::linux::inside::Options),
    /// What `run` starts last
    #[cfg(target_os = "linux")]
    #[command(name = "run-start", hide = true)]
    RunStart(crate::run::linux::start::Options),
    /// Runs the identity platform
    Authority(crate::authority::Options),
    /// Stands before APIs: checks who calls, gets the credential that the service is sent, and forwards
    Gateway(crate::gateway::Options),
    /// Gives the application beside it tokens, from any identity provider, and judges those that it receives
    Sidecar(crate::sidecar::Options),
    /// Prints the variables that NAIS and Azure put into the environment of an application, for one that is registered here
    Env(crate::env::Options),
    /// Brings the directory to the state that an estate file declares, after showing the difference
    Apply(crate::estate::Options),
    /// Turns application manifests of Microsoft Entra ID into an estate file
    Import(crate::import::Options),
    /// Says which checks a token passes and fails at an API, and what to change
    Explain(crate::explain::Options),
    /// Looks after the audit trail
    #[command(subcommand)]
    Audit(crate::audit::Command),
    /// Writes the reference of endpoints and checks, as this version has them
    Reference(crate::reference::Options),
    /// Makes a certificate authority for development on this machine, and a certificate for localhost
    DevCa(crate::dev_ca::Options),
}

/// Reads the command line and does what it says. Wrong usage ends here, with code 2.
pub(crate) fn run() -> Result<ExitCode, Failure> {
    match Cli::parse().command {
        Command::Demo(options) => crate::demo::run(options),
        Command::Run(options) => Ok(crate::run::run(options)),
        #[cfg(target_os = "linux")]
        Command::RunInside(options) => crate::run::linux::inside::run(options),
        #[cfg(target_os = "linux")]
        Command::RunStart(options) => Ok(crate::run::linux::start::run(options)),
        Command::Authority(options) => crate::authority::run(options),
        Command::Gateway(options) => crate::gateway::run(options),
        Command::Sidecar(options) => crate::sidecar::run(options),
        Command::Env(options) => crate::env::run(options),
        Command::Apply(options) => crate::estate::run(options),
        Command::Import(options) => crate::import::run(options),
        Command::Explain(options) => crate::explain::run(options),
        Command::Audit(command) => crate::audit::run(command),
        Command::Reference(options) => crate::reference::run(&options),
        Command::DevCa(options) => crate::dev_ca::run(options),
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
