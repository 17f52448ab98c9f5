//! How a command fails: what is wrong, and a way out.
use crate::output::printable;
use std::fmt::{self, Write as _};
use std::process::ExitCode;

/// Problems, each with a hint. Never empty.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Failure(Vec<(String, Option<String>)>);

impl Failure {
    /// A problem and what to change.
    pub(crate) fn new(error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self(vec![(error.into(), Some(hint.into()))])
    }

    /// A problem for which there is no advice.
    pub(crate) fn plain(error: impl Into<String>) -> Self {
        Self(vec![(error.into(), None)])
    }

    /// A problem as the rooms tell them: "what is wrong: what to change".
    pub(crate) fn told(error: impl std::fmt::Display) -> Self {
        let text = error.to_string();
        match text.rsplit_once(": ").or_else(|| text.rsplit_once("; ")) {
            Some((error, hint)) => Self::new(error, hint),
            None => Self::plain(text),
        }
    }

    /// All of these.
    pub(crate) fn all(failures: impl IntoIterator<Item = Self>) -> Self {
        Self(failures.into_iter().flat_map(|failure| failure.0).collect())
    }

    /// Writes it to standard error, where nobody may be listening.
    pub(crate) fn report(&self) -> ExitCode {
        use std::io::Write as _;
        let _ = write!(std::io::stderr(), "{self}");
        ExitCode::FAILURE
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        let mut text = String::new();
        for (error, hint) in self.0.iter().take(SHOWN) {
            if !text.is_empty() {
                text.push('\n');
            }
            writeln!(text, "error: {}", printable(error))?;
            if let Some(hint) = hint {
                writeln!(text, "hint: {}", printable(hint))?;
            }
        }
        if let Some(more) = self.0.len().checked_sub(SHOWN + 1) {
            writeln!(text, "\n… and {} more", more + 1)?;
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What to change where a file that people write cannot be read.
pub(crate) fn to_read(error: &std::io::Error) -> &'static str {
    if error.kind() == std::io::ErrorKind::InvalidData {
        "save it as UTF-8: some editors and shells write UTF-16"
    } else {
        "check the path and its permissions"
    }
}

/// What a system error means, in words.
pub(crate) fn why(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission is denied".to_owned(),
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only".to_owned(),
        ErrorKind::StorageFull => "the disk is full".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        ErrorKind::AlreadyExists if error.get_ref().is_some() => error.to_string(),
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "a part of its path is a file".to_owned(),
        ErrorKind::InvalidData => "it is not text in UTF-8".to_owned(),
        ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        other => other.to_string(),
    }
}
