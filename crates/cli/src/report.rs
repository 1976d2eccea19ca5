//! How things end: one type for what went wrong, one place that prints it, one table of exit codes.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

use packhorse_endpoint::{Fault, OpenError};
use packhorse_transfer::{Error, ErrorClass, Escaped};

use crate::ui::Ui;

/// How the program ends. `packhorse --help` lists what the numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All done and verified.
    Done,
    /// Some entries failed, the rest arrived.
    SomeFailed,
    /// The command line makes no sense.
    Usage,
    /// The network failed, or the other side is gone.
    Network,
    /// Refused, or not authenticated.
    Refused,
    /// Local input or output failed.
    Local,
    /// The other side broke the protocol, or data did not verify.
    Protocol,
    /// By Ctrl-C or SIGTERM.
    Interrupted,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::SomeFailed => 1,
            Self::Usage => 2,
            Self::Network => 3,
            Self::Refused => 4,
            Self::Local => 5,
            Self::Protocol => 6,
            Self::Interrupted => 130,
        }
    }

    /// What programs call it, in `--events`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::SomeFailed => "some_failed",
            Self::Usage => "usage",
            Self::Network => "network",
            Self::Refused => "refused",
            Self::Local => "local",
            Self::Protocol => "protocol",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<ErrorClass> for Exit {
    fn from(class: ErrorClass) -> Self {
        match class {
            ErrorClass::Usage => Self::Usage,
            ErrorClass::Network => Self::Network,
            ErrorClass::Refused => Self::Refused,
            ErrorClass::Storage => Self::Local,
            ErrorClass::Protocol => Self::Protocol,
            ErrorClass::Interrupted => Self::Interrupted,
        }
    }
}

/// Why the program ends early: what happened, what it means for the data, what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) what: String,
    pub(crate) consequence: Option<String>,
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// The command line asks for something that cannot be.
    pub(crate) fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            what: what.into(),
            consequence: None,
            hint: Some(hint.into()),
        }
    }

    /// Somebody ended the program.
    pub(crate) fn interrupted() -> Self {
        Self {
            exit: Exit::Interrupted,
            what: "interrupted".to_owned(),
            consequence: None,
            hint: None,
        }
    }

    /// Something on this machine failed.
    pub(crate) fn local(what: impl Into<String>, error: &(dyn StdError + 'static)) -> Self {
        Self {
            exit: Exit::Local,
            what: format!("{}: {}", what.into(), chain(error)),
            consequence: None,
            hint: None,
        }
    }

    /// A file of the user's cannot be used.
    pub(crate) fn file(action: &str, path: &Path, error: &io::Error) -> Self {
        Self::local(format!("cannot {action} '{}'", shown(path)), error)
    }

    pub(crate) fn means(mut self, consequence: impl Into<String>) -> Self {
        self.consequence = Some(consequence.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            exit: error.class().into(),
            what: chain(&error),
            consequence: Some(error.consequence().to_owned()),
            hint: error.hint(),
        }
    }
}

impl From<Fault> for Exit {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Usage => Self::Usage,
            Fault::Network => Self::Network,
            Fault::Untrusted => Self::Refused,
            Fault::Local => Self::Local,
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self {
            exit: error.fault().into(),
            what: Escaped(chain(&error).as_bytes()).to_string(),
            consequence: Some("nothing was sent or received".to_owned()),
            hint: error.advice(),
        }
    }
}

/// An error and its causes on one line, each said once.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

/// A path of the user's, safe for a terminal.
pub(crate) fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_encoded_bytes()).to_string()
}

/// Prints the failure: the only place that does.
pub(crate) fn report(ui: &Ui, failure: &Failure) -> Exit {
    ui.error(&failure.what);
    if let Some(consequence) = failure.consequence.as_ref().filter(|text| !text.is_empty()) {
        ui.always(format_args!("  {consequence}"));
    }
    if let Some(hint) = &failure.hint {
        ui.hint(hint);
    }
    failure.exit
}

/// How a command ends that wrote data to standard output: a reader that has enough is no failure.
pub(crate) fn after_data(written: io::Result<()>, exit: Exit) -> Result<Exit, Failure> {
    match written {
        Ok(()) => Ok(exit),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit),
        Err(error) => Err(Failure::local("cannot write to standard output", &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_the_documented_exit_code() {
        for (class, code) in [
            (ErrorClass::Usage, 2),
            (ErrorClass::Network, 3),
            (ErrorClass::Refused, 4),
            (ErrorClass::Storage, 5),
            (ErrorClass::Protocol, 6),
            (ErrorClass::Interrupted, 130),
        ] {
            assert_eq!(Exit::from(class).code(), code, "{class:?}");
        }
        assert_eq!((Exit::Done.code(), Exit::SomeFailed.code()), (0, 1));
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open 'x'")]
        struct Outer(#[source] io::Error);
        let error = Outer(io::Error::other("disk on fire"));
        assert_eq!(chain(&error), "cannot open 'x': disk on fire");
        let failure = Failure::local("cannot start", &io::Error::other("no"));
        assert_eq!(
            (failure.exit, &*failure.what),
            (Exit::Local, "cannot start: no")
        );
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let closed = Err(io::ErrorKind::BrokenPipe.into());
        assert_eq!(after_data(closed, Exit::SomeFailed), Ok(Exit::SomeFailed));
        let full = Err(io::ErrorKind::StorageFull.into());
        assert_eq!(after_data(full, Exit::Done).unwrap_err().exit, Exit::Local);
    }

    #[test]
    fn paths_cannot_steer_the_terminal() {
        assert_eq!(shown(Path::new("a\x1b[2J")), "a\\u{1b}[2J");
    }
}
