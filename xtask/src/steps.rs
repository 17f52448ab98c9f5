//! Steps of a task: each under a heading, timed, and the first failure ends the task with how to run that step again.

use crate::{Outcome, root};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// One named piece of work.
pub(crate) struct Step {
    name: &'static str,
    work: Box<dyn Fn() -> Outcome>,
}

impl Step {
    pub(crate) fn new(name: &'static str, work: impl Fn() -> Outcome + 'static) -> Self {
        Self { name, work: Box::new(work) }
    }
}

/// Runs the steps in order, or only the named one, and prints how long each took.
pub(crate) fn run(task: &str, steps: &[Step], only: Option<&str>) -> Outcome {
    let chosen: Vec<&Step> = steps.iter().filter(|step| only.is_none_or(|name| name == step.name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
        return Err(format!("`{}` is no step of {task}; say one of: {}", only.unwrap_or(""), names.join(", ")));
    }
    let began = Instant::now();
    let mut took = Vec::new();
    for step in &chosen {
        println!("\n== {}", step.name);
        let started = Instant::now();
        (step.work)().map_err(|reason| {
            let after = seconds(started.elapsed());
            format!(
                "{task}: step `{}` failed after {after}: {reason}\nrerun: cargo xtask {task} --only {}",
                step.name, step.name
            )
        })?;
        println!("-- {}: passed in {}", step.name, seconds(started.elapsed()));
        took.push((step.name, started.elapsed()));
    }
    println!();
    for (name, duration) in &took {
        println!("{:>9}  {name}", seconds(*duration));
    }
    println!("xtask {task}: {} step(s) passed in {}", chosen.len(), seconds(began.elapsed()));
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// A command that will run in the root of the workspace.
pub(crate) fn command(program: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command with the terminal's own input and output; anything but success is an error that shows the command.
pub(crate) fn call(mut command: Command) -> Outcome {
    let shown = shown(&command);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` ended with {status}")),
        Err(error) => Err(format!("`{shown}` could not be started: {error}")),
    }
}

/// What a command prints on its standard output.
pub(crate) fn printed(mut command: Command) -> Outcome<String> {
    let shown = shown(&command);
    let output = command.output().map_err(|error| format!("`{shown}` could not be started: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("`{shown}` ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Whether a program of this name is on the path.
pub(crate) fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}
