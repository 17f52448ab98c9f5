//! Where secrets and certificates come from.
use super::World;
use crate::secrets::{Command, Fetched, Material, Place};
use crate::settings::file::{Pem, Source};
use crate::settings::vaults::{Holding, seconds, three_hundred};
use crate::settings::{SettingsError, Spanned, fault, why};
use oauth::Secret;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How the identity of what a command gives begins.
const COMMAND: &str = "command\n";

impl World<'_> {
    /// Where a file is that the configuration names.
    pub(crate) fn path(&self, file: &Path) -> PathBuf {
        self.beside.join(file)
    }

    /// Where a secret is read from.
    pub(crate) fn material(&self, source: &Spanned<Source>) -> Result<Material, SettingsError> {
        self.at(source.get_ref(), &source.span(), "value").map(Material::from)
    }

    /// A secret that is read once, with the file: it stands in a variable or a file.
    pub(crate) fn read_secret(&self, source: &Spanned<Source>) -> Result<Secret, SettingsError> {
        let at = source.span();
        let material = self.material(source)?;
        if material.is_fetched() {
            let hint = "give it by `file` or `env`";
            return Err(fault(&at, "this secret is read with the file, when nothing is fetched yet", hint));
        }
        let wrong = |reason: String| fault(&at, reason, "put it there");
        Material::text(&material.held().map_err(wrong)?.unwrap_or_default()).map_err(wrong)
    }

    /// Where a secret is read from that opens a vault.
    pub(in crate::settings) fn opens(&self, source: &Spanned<Source>) -> Result<Material, SettingsError> {
        if matches!(source.get_ref(), Source::Vault { .. }) {
            let hint = "give it by `file`, `env` or `command`";
            return Err(fault(&source.span(), "what opens a vault is in a vault itself", hint));
        }
        self.material(source)
    }

    /// Where a chain and its key are read from.
    pub(crate) fn pair(
        &self,
        certificate: &Pem,
        key: Option<&Pem>,
        at: &Range<usize>,
    ) -> Result<Material, SettingsError> {
        let chain = self.pem(certificate, at, "certificate")?;
        // Azure has both in one text.
        let beside = match certificate {
            Pem::Elsewhere(Source::Vault { vault, secret, field: None, version })
                if !self.vault(vault, at)?.has_one_text() =>
            {
                Some(Source::Vault {
                    vault: vault.clone(),
                    secret: secret.clone(),
                    field: Some("key".to_owned()),
                    version: version.clone(),
                })
            }
            _ => None,
        };
        let private = match (key, beside) {
            (Some(key), _) => self.pem(key, at, "key")?,
            (None, Some(beside)) => self.at(&beside, at, "key")?,
            (None, None) => chain.clone(),
        };
        Ok(Material::of([chain, private]))
    }

    pub(super) fn pem(&self, pem: &Pem, at: &Range<usize>, usual: &str) -> Result<Place, SettingsError> {
        match pem {
            Pem::Path(path) => Ok(Place::File(self.beside.join(path))),
            Pem::Elsewhere(source) => self.at(source, at, usual),
        }
    }

    /// A place; `usual` is the field of a vault's secret where none is named.
    fn at(&self, source: &Source, at: &Range<usize>, usual: &str) -> Result<Place, SettingsError> {
        match source {
            Source::Env { env } => {
                let text = (self.variable)(env)
                    .ok_or_else(|| fault(at, format!("the variable {env} is not set"), "set it"))?;
                Ok(Place::Variable(env.as_str().into(), Secret::new(text)))
            }
            Source::File { file } => Ok(Place::File(self.beside.join(file))),
            Source::Command { command, field, every_seconds, timeout_seconds } => {
                let Some(program) = command.first().filter(|program| !program.is_empty()) else {
                    return Err(fault(at, "the command is empty", "write `command = [\"PROGRAM\", \"ARGUMENT\"]`"));
                };
                let every = seconds("every", every_seconds.unwrap_or_else(three_hundred), at)?;
                let timeout = seconds("timeout", timeout_seconds.unwrap_or(10), at)?;
                let origin = Command {
                    words: command.clone(),
                    beside: self.beside.to_owned(),
                    timeout: Duration::from_secs(timeout.unsigned_abs()),
                    has_fields: field.is_some(),
                };
                let identity = format!("{COMMAND}{command:?}\n{}\n{timeout}", field.is_some());
                let holding = Holding { origin: Arc::new(origin), every, identity };
                let fetched = self.fetched(&format!("command `{program}`"), holding);
                Ok(Place::Fetched(fetched, field.as_deref().unwrap_or_default().into()))
            }
            Source::Vault { vault, secret, field, version } => {
                let of = self.vault(vault, at)?;
                let holding = of.holds(secret, version.as_deref(), at)?;
                let version = version.as_ref().map_or_else(String::new, |version| format!(" (version {version})"));
                let name = format!("secret `{secret}`{version} of the vault `{vault}`");
                let fetched = self.fetched(&name, holding);
                let usual = if of.has_one_text() { "value" } else { usual };
                Ok(Place::Fetched(fetched, field.as_deref().unwrap_or(usual).into()))
            }
        }
    }

    /// One for all who want the same, and the one of before if there was one. One that is asked for otherwise, or more often, begins with
    /// what was held of the same secret: a vault's name says which it is, and a command's does not.
    fn fetched(&self, name: &str, holding: Holding) -> Arc<Fetched> {
        let Holding { origin, every, identity } = holding;
        let key = format!("{identity}\n{every}");
        let mut all = self.fetched.borrow_mut();
        if let Some(known) = all.get(&key) {
            return Arc::clone(known);
        }
        let of_command = identity.starts_with(COMMAND);
        let is_taken =
            |shown: &str| all.values().chain(self.before.fetched.values()).any(|other| other.name() == shown);
        let mut shown = name.to_owned();
        let mut number = 2;
        while of_command && is_taken(&shown) {
            shown = format!("{name} ({number})");
            number += 1;
        }
        let fetched = self.before.fetched.get(&key).cloned().unwrap_or_else(|| {
            let is_same = |(key, before): &(&String, &Arc<Fetched>)| {
                // Neither how long it may take nor how often it is run says which secret it is.
                let is_run_alike = || key.split('\n').take(3).eq(identity.split('\n').take(3));
                if of_command { is_run_alike() } else { before.name() == name }
            };
            let same = self.before.fetched.iter().find(is_same).map(|(_, same)| &**same);
            Arc::new(Fetched::new(&shown, origin, every, same))
        });
        all.insert(key, Arc::clone(&fetched));
        fetched
    }

    /// A file beside the configuration.
    pub(in crate::settings) fn text(&self, file: &Path, at: &Range<usize>) -> Result<String, SettingsError> {
        std::fs::read_to_string(self.beside.join(file)).map_err(|error| {
            let problem = format!("`{}` cannot be read: {}", file.display(), why(&error));
            fault(at, problem, "check the path and its permissions")
        })
    }
}
