//! How a conversation's end becomes the program's.

use std::io;

use packhorse_server::ConnectionError;

use super::converse::{Broken, Ending};
use crate::report::{Exit, Failure, chain};

/// The exit code of a conversation, and what is said where it broke off.
pub(crate) fn exit_of(outcome: Result<Ending, Broken>) -> Result<Exit, Failure> {
    let broken = match outcome {
        Ok(_) => return Ok(Exit::Done),
        Err(broken) => broken,
    };
    let failure = |exit, what: String, hint: &str| Failure {
        exit,
        what,
        consequence: Some("what was sent before may not have arrived".into()),
        hint: Some(hint.into()),
    };
    Err(match broken {
        // A reader that has enough is no failure.
        Broken::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            return Ok(Exit::Done);
        }
        Broken::Output(error) => Failure::local("cannot write to standard output", &error),
        Broken::Input(error) if error.kind() == io::ErrorKind::Interrupted => {
            Failure::interrupted()
        }
        Broken::Input(error) if error.kind() == io::ErrorKind::InvalidInput => Failure::usage(
            error.to_string(),
            "with --hex, a line is digits such as '00 ff 7a'",
        ),
        Broken::Input(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Failure::usage(error.to_string(), "a longer one takes --max-message BYTES")
                .means("what was sent before may not have arrived")
        }
        Broken::Input(error) => Failure::local("cannot read standard input", &error),
        Broken::Connection(error) => match &error {
            ConnectionError::Reset => failure(
                Exit::Network,
                error.to_string(),
                "look at the other side: it gave up, or was ended",
            ),
            ConnectionError::Frame(_) => failure(
                Exit::Protocol,
                format!("what came is not framed as --frame says: {}", chain(&error)),
                "use the --frame that the other side uses; --hex shows the bytes as they are",
            ),
            ConnectionError::Encode(_) | ConnectionError::TooLong(_) => failure(
                Exit::Usage,
                format!("a message cannot be sent: {}", chain(&error)),
                "send it in parts, or use another --frame or --max-message",
            ),
            _ => failure(
                Exit::Network,
                format!("the connection failed: {}", chain(&error)),
                "see whether the other side still runs",
            ),
        },
    })
}
