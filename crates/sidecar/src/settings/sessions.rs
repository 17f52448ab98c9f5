//! Work that outlives its request: where what it takes is kept, and for how long.
use super::file::{Source, fault, secret};
use super::{SettingsError, Variables};
use client::{FileSessions, MemorySessions, Random, SessionStore, Sessions};
use oauth::Secret;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;
use zeroize::Zeroizing;

/// The least and the longest that work goes on, in seconds: a minute, and as long as Entra's refresh tokens last.
const LIFE: std::ops::RangeInclusive<i64> = 60..=90 * 86_400;
/// A key that has fewer characters is a password.
const KEY: usize = 32;

/// What is kept of users' delegations (`LongRunningWebApiSessionKey`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// For how many seconds from its beginning work goes on at most.
    pub life: i64,
    /// How many bytes are kept.
    pub bytes: u64,
    /// The directory, and what its files are sealed under; otherwise it is kept in memory, under a key of this process.
    pub place: Option<(PathBuf, Secret)>,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { life: 86_400, bytes: 4 << 20, place: None }
    }
}

impl SessionSettings {
    pub(crate) fn opened(&self, random: &dyn Random) -> Sessions {
        let mut master = Zeroizing::new([0; 32]);
        let store: Arc<dyn SessionStore> = if let Some((directory, key)) = &self.place {
            master.copy_from_slice(&Sha256::digest(key.expose()));
            FileSessions::new(directory, self.bytes)
        } else {
            random.fill(master.as_mut());
            MemorySessions::new(self.bytes)
        };
        Sessions::new(store, &master, self.life)
    }
}

/// What the file says of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SessionTable {
    /// For how many seconds from its beginning work goes on at most; by default for a day.
    life_seconds: Option<Spanned<i64>>,
    /// How many bytes are kept; by default 4 MiB.
    bytes: Option<u64>,
    /// Where it is kept, so that work outlives the sidecar; by default in memory.
    directory: Option<Spanned<PathBuf>>,
    /// What the files are sealed under.
    key: Option<Spanned<Source>>,
}

impl SessionTable {
    pub(super) fn read(self, variable: Variables<'_>, beside: &Path) -> Result<SessionSettings, SettingsError> {
        let mut settings = SessionSettings::default();
        if let Some(seconds) = self.life_seconds {
            if !LIFE.contains(seconds.get_ref()) {
                return Err(fault(&seconds, "`life_seconds` is out of range", "give seconds from 60 to 7776000"));
            }
            settings.life = seconds.into_inner();
        }
        settings.bytes = self.bytes.unwrap_or(settings.bytes);
        settings.place = match (self.directory, self.key) {
            (None, None) => None,
            (Some(directory), Some(source)) => {
                let key = secret(&source, variable, beside)?;
                if key.expose().len() < KEY {
                    let hint = "give one of 32 characters or more, such as `openssl rand -base64 32` prints";
                    return Err(fault(&source, "the key could be guessed", hint));
                }
                Some((beside.join(directory.into_inner()), key))
            }
            (Some(directory), None) => {
                return Err(fault(
                    &directory,
                    "`key` is missing",
                    "set it beside: what is kept there is sealed under it",
                ));
            }
            (None, Some(key)) => return Err(fault(&key, "`directory` is missing", "set it beside, or take `key` out")),
        };
        Ok(settings)
    }
}
