//! `deputize apply`: shows what an estate file changes, and changes it in one commit.
mod materials;
pub(crate) mod plan;
#[cfg(test)]
mod tests;

use plan::{Plan, plan};

use crate::authority::{DATA, runtime};
use crate::data::Data;
use crate::failure::Failure;
use crate::file::Text;
use crate::instance::open_store;
use crate::keys::MasterKey;
use crate::output::{Paint, say};
use crate::system::{StoreClock, SystemClock};
use decision::Clock;
use deputize_core::estate::{Item, Sign};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Options of `deputize apply`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The estate file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The folder of the store; an authority that runs on it sees the change within a second
    #[arg(long, value_name = "FOLDER", default_value = DATA)]
    data: PathBuf,
    /// Shows the difference and changes nothing
    #[arg(long)]
    dry_run: bool,
    /// Removes what the declared tenants hold beyond the file
    #[arg(long)]
    prune: bool,
    /// The master key's file, if it is not in the data folder
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
}

/// `deputize apply`.
pub(crate) fn run(options: Options) -> Result<ExitCode, Failure> {
    crate::log::start("warn")?;
    let text = Text::read(&options.file)?;
    let base = options.file.parent().unwrap_or(Path::new("")).to_owned();
    if options.dry_run && !options.data.join("store.db").exists() {
        // What does not exist yet is not made for the sake of a look.
        let master = MasterKey::passing();
        show(&plan(&text, &base, &[], &master, SystemClock.now(), options.prune)?, options.prune);
        return Ok(ExitCode::SUCCESS);
    }
    let data = Data::open(&options.data)?;
    let master = MasterKey::load(&data, options.master_key.as_deref())?;
    let store = open_store(&data, &master)?;
    let now = StoreClock(Arc::clone(&store)).now();
    let held = plan::held(&store)?;
    let plan = plan(&text, &base, &held, &master, now, options.prune)?;
    show(&plan, options.prune);
    if options.dry_run || plan.difference.steps.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    runtime()?.block_on(plan.apply(&store, now))?;
    say("applied");
    for new in &plan.secrets {
        say(format_args!("secret \"{}\" of {}, shown only now: {}", new.name, new.application, new.secret.expose()));
    }
    Ok(ExitCode::SUCCESS)
}

fn show(plan: &Plan, prune: bool) {
    let paint = Paint::detect();
    let steps = &plan.difference.steps;
    let counted = |sign| {
        steps.iter().filter(|step| step.sign == sign && !goes_with_its_application(&step.item, step.sign)).count()
    };
    for step in steps.iter().filter(|step| !goes_with_its_application(&step.item, step.sign)) {
        say(match step.sign {
            Sign::Added => paint.green(step),
            Sign::Changed => paint.yellow(step),
            Sign::Removed => paint.red(step),
        });
    }
    if steps.is_empty() {
        say("nothing to change");
    } else {
        let (added, changed, removed) = (counted(Sign::Added), counted(Sign::Changed), counted(Sign::Removed));
        say(format_args!("{added} added, {changed} changed, {removed} removed"));
    }
    if plan.difference.undeclared > 0 && !prune {
        let many = plan.difference.undeclared;
        say(paint.dim(format_args!(
            "{many} more in these tenants, not in the file; `--prune` removes what is not declared"
        )));
    }
}

/// A service principal comes and goes with its application: one line is enough.
fn goes_with_its_application(item: &Item, sign: Sign) -> bool {
    matches!(item, Item::ServicePrincipal(_)) && sign != Sign::Changed
}
