//! Secrets and certificates, wherever they come from: one way to read them, to watch them, and to do without a new one.
//!
//! What stands in a file or a variable is read where it is needed. What a command or a vault has is [`Fetched`]: kept, asked for again
//! in time, and kept on where that fails.
mod command;
mod fetched;
mod key_vault;
mod kv;

pub(crate) use command::Command;
pub(crate) use fetched::{Counts, Document, Fetched, Given, Origin};
pub(crate) use key_vault::{Asks, KeyVault};
pub(crate) use kv::{Kv, Login};

use crate::rotating::content;
use client::{CredentialSource, CredentialTexts};
use oauth::Secret;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What a source holds, overwritten when it is let go.
pub(crate) type Held = Zeroizing<Vec<u8>>;

/// One place that something is read from.
#[derive(Clone)]
pub(crate) enum Place {
    File(PathBuf),
    /// A variable: its name, and what it was set to when the configuration was read.
    Variable(Arc<str>, Secret),
    /// A part of what was fetched.
    Fetched(Arc<Fetched>, Arc<str>),
}

/// The places that one thing is read from, in their order.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Material(Vec<Place>);

impl From<Place> for Material {
    fn from(place: Place) -> Self {
        Self(vec![place])
    }
}

impl Material {
    pub(crate) fn of(places: impl IntoIterator<Item = Place>) -> Self {
        Self(places.into_iter().collect())
    }

    pub(crate) fn files(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self::of(files.into_iter().map(Place::File))
    }

    /// One after the other.
    pub(crate) fn joined(all: impl IntoIterator<Item = Self>) -> Self {
        Self(all.into_iter().flat_map(|one| one.0).collect())
    }

    /// The other way round.
    pub(crate) fn turned(mut self) -> Self {
        self.0.reverse();
        self
    }

    /// What the places hold, in their order; `None` while one of them has not been fetched.
    pub(crate) fn held(&self) -> Result<Option<Vec<Held>>, String> {
        let mut all = Vec::with_capacity(self.0.len());
        for place in &self.0 {
            match place.held()? {
                Some(held) => all.push(held),
                None => return Ok(None),
            }
        }
        Ok(Some(all))
    }

    /// Whether any of it comes from a command or a vault.
    pub(crate) fn is_fetched(&self) -> bool {
        self.0.iter().any(|place| matches!(place, Place::Fetched(..)))
    }

    /// The one text that it is, without white space around it.
    pub(crate) fn text(held: &[Held]) -> Result<Secret, String> {
        let [held] = held else { return Err("one text is needed".to_owned()) };
        let text = std::str::from_utf8(held).map_err(|_| "it is no text")?.trim();
        if text.is_empty() { Err("the secret is empty".to_owned()) } else { Ok(Secret::new(text)) }
    }
}

/// Whether two are the same place.
impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(another)) => one == another,
            (Self::Variable(one, text), Self::Variable(another, other)) => one == another && text == other,
            (Self::Fetched(one, part), Self::Fetched(another, other)) => Arc::ptr_eq(one, another) && part == other,
            _ => false,
        }
    }
}

impl Eq for Place {}

impl Place {
    fn held(&self) -> Result<Option<Held>, String> {
        match self {
            Self::File(file) => content(file).map(Some).map_err(|reason| format!("`{}` {reason}", file.display())),
            Self::Variable(_, text) => Ok(Some(Zeroizing::new(text.expose().as_bytes().to_vec()))),
            Self::Fetched(fetched, part) => fetched.part(part),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "file {}", file.display()),
            Self::Variable(name, _) => write!(f, "variable {name}"),
            Self::Fetched(fetched, _) => f.write_str(fetched.name()),
        }
    }
}

/// Where it comes from; nothing of what it is.
impl fmt::Display for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told: Vec<String> = Vec::new();
        for place in self.0.iter().map(Place::to_string) {
            if !told.contains(&place) {
                told.push(place);
            }
        }
        f.write_str(&told.join(", "))
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Material({self})")
    }
}

/// A credential at an authority.
impl CredentialSource for Material {
    fn name(&self) -> String {
        let part = |place: &Place| match place {
            Place::Fetched(_, part) => format!("{place} {part}"),
            // Two variables of one name can hold two secrets, one after the other: their tokens are not the same client's.
            Place::File(_) | Place::Variable(..) => place.to_string(),
        };
        self.0.iter().map(part).collect::<Vec<_>>().join(", ")
    }

    fn read(&self) -> Result<Option<CredentialTexts>, String> {
        let Some(held) = self.held()? else { return Ok(None) };
        let texts = held.iter().map(|held| std::str::from_utf8(held).map(str::to_owned));
        let texts = texts.collect::<Result<_, _>>().map_err(|_| "it is no text".to_owned())?;
        Ok(Some(Zeroizing::new(texts)))
    }
}
