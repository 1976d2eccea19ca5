//! What to send and where to: the last of all that are no options, wherever those stand.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, ValueHint, value_parser,
};
use packhorse_transfer::Destination;

const PATH: &str = "PATH";
const USAGE: &str = "packhorse send [OPTIONS] <PATH>... <TO>";

/// Sources and a receiver. Two positional arguments of clap's, the first with any number of values, would take what stands
/// before an option for all there is of the first.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// Files, directories and links to send; '-' is standard input.
    pub(crate) paths: Vec<PathBuf>,
    /// The receiver.
    pub(crate) to: Destination,
}

impl Args for Route {
    fn augment_args(command: Command) -> Command {
        let help = "Files, directories and links to send; '-' is standard input. The last is TO, the receiver: HOST, \
                    HOST:PORT, ph://HOST/SUBDIR or ph://HOST:PORT/SUBDIR";
        let route = Arg::new(PATH)
            .value_name(PATH)
            .help(help)
            .required(true)
            .num_args(1..)
            .action(ArgAction::Append)
            .value_hint(ValueHint::AnyPath)
            .value_parser(value_parser!(OsString));
        command.override_usage(USAGE).arg(route)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Route {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let all = matches.get_many::<OsString>(PATH).unwrap_or_default();
        let mut paths: Vec<PathBuf> = all.map(PathBuf::from).collect();
        let last = paths.pop().filter(|_| !paths.is_empty());
        let Some(last) = last.map(PathBuf::into_os_string) else {
            let message = "the following required arguments were not provided:\n  <TO>";
            return Err(wrong(ErrorKind::MissingRequiredArgument, message));
        };
        let to = match last.to_str() {
            Some(text) => text.parse().map_err(|error| invalid(&text, &error))?,
            None => return Err(invalid(&last.display(), &"it is not UTF-8")),
        };
        Ok(Self { paths, to })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn invalid(value: &impl Display, error: &impl Display) -> Error {
    let message = format!("invalid value '{value}' for '<TO>': {error}");
    wrong(ErrorKind::ValueValidation, message)
}

/// As clap says it of an argument of its own.
fn wrong(kind: ErrorKind, message: impl Display) -> Error {
    Error::raw(kind, message).format(&mut Command::new("send").override_usage(USAGE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::tests::{refused, send};

    #[test]
    fn the_last_of_several_is_the_receiver() {
        let Route { paths, to } = send("packhorse send a b/ - ph://nas:80/x%20y").route;
        assert_eq!(paths, ["a", "b/", "-"].map(PathBuf::from));
        assert_eq!(to.to_string(), "ph://nas:80/x%20y");
    }

    #[test]
    fn options_stand_anywhere() {
        for line in [
            "packhorse send --durable a b nas",
            "packhorse send a --durable b nas",
            "packhorse send a b --durable nas",
            "packhorse send a b nas --durable",
            "packhorse send a --durable -- b nas",
        ] {
            let Route { paths, to } = send(line).route;
            assert_eq!(paths, ["a", "b"].map(PathBuf::from), "{line}");
            assert_eq!(to, "nas".parse().unwrap(), "{line}");
        }
    }

    #[test]
    fn refuses_half_a_send() {
        assert_eq!(
            refused("packhorse send"),
            ErrorKind::MissingRequiredArgument
        );
        assert_eq!(
            refused("packhorse send a"),
            ErrorKind::MissingRequiredArgument
        );
        assert_eq!(refused("packhorse send a b/c"), ErrorKind::ValueValidation);
        assert_eq!(
            refused("packhorse send a b:99999"),
            ErrorKind::ValueValidation
        );
    }
}
