//! Where frames come from: a file, standard input, an interface.

use std::io;
use std::path::Path;

use packhorse_watch::capture::Reader;
use packhorse_watch::{Error, Limits, Source};

use super::args::Watch;
use crate::report::{Exit, Failure};

/// Opens what was asked for.
pub(super) fn open(args: &Watch) -> Result<Box<dyn Source>, Failure> {
    let Some(file) = &args.file else {
        return Err(Failure::usage("not built yet", "a file"));
    };
    let reader = if file == Path::new("-") {
        Reader::new(io::stdin(), &Limits::default())
    } else {
        Reader::open(file, &Limits::default())
    };
    Ok(Box::new(reader.map_err(failure)?))
}

/// What ends reading, for a person.
pub(super) fn failure(error: Error) -> Failure {
    let exit = match error {
        Error::Damaged { .. } | Error::NotACapture => Exit::Protocol,
        _ => Exit::Local,
    };
    Failure {
        exit,
        what: error.to_string(),
        consequence: None,
        hint: None,
    }
}
