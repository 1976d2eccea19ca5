//! `packhorse pack`, `unpack` and `calcsize`: values to bytes and back, as Python's struct does it.

pub(crate) mod args;
mod notation;
mod output;

use std::io::{self, Read as _};

use packhorse_frame::pack::{Format, FormatError, PackError, UnpackError, Value};
use packhorse_transfer::Escaped;

use self::args::{Calcsize, Pack, Unpack};
use self::notation::ValueError;
use self::output::Output;
use crate::report::{Exit, Failure, after_data};
use crate::ui::Ui;

/// What lists codes and values.
const HELP: &str = "packhorse pack --help, which lists the codes and how values are written";

pub(crate) fn pack(ui: &Ui, args: &Pack) -> Result<Exit, Failure> {
    let (text, values) = args.format_and_values.split_first().ok_or_else(|| {
        // The definition of the arguments asks for it.
        Failure::usage("there is no format", "packhorse pack '<i' 1024")
    })?;
    let format = parse(text)?;
    format.check_count(values.len()).map_err(bad_values)?;
    let values: Vec<Value> = format
        .fields()
        .zip(values.iter().zip(1..))
        .map(|(field, (text, index))| notation::read(field, index, text))
        .collect::<Result<_, ValueError>>()
        .map_err(|error| Failure::usage(error.to_string(), HELP).means("nothing was packed"))?;
    let bytes = format.pack(&values).map_err(bad_values)?;
    let mut output = Output::new(ui);
    let written = match args.raw {
        true => output.put(&bytes),
        false => output::hex_line(&mut output, &bytes),
    };
    after_data(written.and_then(|()| output.finish()), Exit::Done)
}

pub(crate) fn unpack(ui: &Ui, args: &Unpack) -> Result<Exit, Failure> {
    let format = parse(&args.format)?;
    let (source, bytes) = match args.hex.as_deref() {
        None | Some("-") => (Source::Input, read_input(&format)?),
        Some(digits) => (Source::Argument, read_argument(digits)?),
    };
    let values = format
        .values(&bytes)
        .map_err(|error| does_not_fit(&args.format, source, error))?;
    let mut output = Output::new(ui);
    let written = match args.json {
        true => output::json_array(&mut output, values),
        false => output::lines(&mut output, values),
    };
    after_data(written.and_then(|()| output.finish()), Exit::Done)
}

pub(crate) fn calcsize(ui: &Ui, args: &Calcsize) -> Result<Exit, Failure> {
    let size = parse(&args.format)?.size();
    after_data(ui.data(size), Exit::Done)
}

/// Where the bytes to unpack come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Argument,
    /// Standard input, of which no more is read than shows that it is too much.
    Input,
}

fn parse(text: &str) -> Result<Format, Failure> {
    text.parse().map_err(|error: FormatError| {
        let what = format!("'{}' is no format: {error}", Escaped(text.as_bytes()));
        Failure::usage(what, HELP)
    })
}

fn bad_values(error: PackError) -> Failure {
    let hint = match error {
        PackError::OutOfRange { .. } => {
            "a wider code: 'q' takes integers of 64 bits with a sign, 'Q' without"
        }
        PackError::FloatTooLarge { .. } => "a wider code: 'd' takes floats of 64 bits",
        PackError::NotOneByte { .. } => {
            "the code 's' with a count, as in 4s, for more bytes than one"
        }
        _ => HELP,
    };
    Failure::usage(error.to_string(), hint).means("nothing was packed")
}

fn read_input(format: &Format) -> Result<Vec<u8>, Failure> {
    let enough = u64::try_from(format.size())
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(enough)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::local("cannot read standard input", &error))?;
    Ok(bytes)
}

fn read_argument(digits: &str) -> Result<Vec<u8>, Failure> {
    crate::hex::read(digits).map_err(|error| {
        let hint = "digits such as '00 ff 7a', or '-' for bytes from standard input";
        Failure::usage(
            format!("the bytes are not hexadecimal digits: {error}"),
            hint,
        )
    })
}

fn does_not_fit(format: &str, source: Source, error: UnpackError) -> Failure {
    let what = match (error, source) {
        (UnpackError::TooLong { needed, .. }, Source::Input) => {
            format!("wrong number of bytes: the format needs {needed} and got more")
        }
        _ => error.to_string(),
    };
    Failure {
        exit: Exit::Protocol,
        what,
        consequence: Some("nothing was unpacked".to_owned()),
        hint: Some(format!(
            "packhorse calcsize '{}', which says how many bytes there have to be",
            Escaped(format.as_bytes())
        )),
    }
}
