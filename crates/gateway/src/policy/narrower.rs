//! Limits of single APIs and operations, beside the one of all calls that they are written in.
use crate::call::Call;
use crate::settings::{SettingsError, Spanned, World, fault};
use std::sync::Arc;

/// The calls that a limit is about.
pub(super) enum About {
    All,
    /// An API's.
    Api(Arc<str>),
    /// An operation's: `orders/read`.
    Operation(Arc<str>),
}

/// So many limits of one policy can be about a call: of all, of its API and of its operation.
pub(super) const MOST: usize = 3;

impl About {
    /// This API, which the file has to have.
    pub(super) fn api(name: &Spanned<String>, world: &mut World<'_>) -> Self {
        world.expect(name, None);
        Self::Api(name.get_ref().as_str().into())
    }

    /// This operation of this API, which the file has to have.
    pub(super) fn operation(api: &Spanned<String>, name: &Spanned<String>, world: &mut World<'_>) -> Self {
        world.expect(api, Some(name));
        Self::Operation(format!("{}/{}", api.get_ref(), name.get_ref()).into())
    }

    pub(super) fn covers(&self, call: &Call) -> bool {
        match self {
            Self::All => true,
            Self::Api(name) => **name == *call.operation.api_name,
            Self::Operation(name) => **name == *call.operation.name,
        }
    }

    /// What it adds to the name of a counter.
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        match self {
            Self::All => [b"all", b""],
            Self::Api(name) => [b"api", name.as_bytes()],
            Self::Operation(name) => [b"operation", name.as_bytes()],
        }
    }
}

/// Limits of one API, or of one operation, stand in one place.
pub(super) fn once<'t>(names: impl Iterator<Item = &'t Spanned<String>> + Clone) -> Result<(), SettingsError> {
    let twice = names.clone().enumerate().find(|(at, name)| {
        let mut before = names.clone().take(*at);
        before.any(|other| other.get_ref() == name.get_ref())
    });
    match twice {
        Some((_, name)) => {
            Err(fault(&name.span(), format!("`{}` has a limit here already", name.get_ref()), "keep one"))
        }
        None => Ok(()),
    }
}
