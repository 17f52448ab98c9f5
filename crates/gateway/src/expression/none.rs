//! In place of expressions, in a gateway that is built without the feature `cel`.
use crate::call::Call;
use crate::policy::{Decided, Phase, Policy};
use crate::settings::{SettingsError, Spanned, fault};

/// There is none.
pub(crate) enum Expression {}

/// What an expression over a call can look at.
pub(crate) const VARIABLES: &[&str] = &[];

impl Expression {
    pub(crate) fn read(text: &Spanned<String>, _: &[&'static str]) -> Result<Self, SettingsError> {
        Err(fault(&text.span(), "this gateway was built without expressions", "build it with the feature `cel`"))
    }

    pub(crate) fn of_answer(&self, _: u16, _: &serde_json::Value) -> Result<(), String> {
        match *self {}
    }

    pub(crate) fn uses(&self, _: &str) -> bool {
        match *self {}
    }
}

impl Policy for Expression {
    fn phase(&self) -> Phase {
        Phase::Authorize
    }

    fn decide(&self, _: &mut Call) -> Decided {
        match *self {}
    }
}
