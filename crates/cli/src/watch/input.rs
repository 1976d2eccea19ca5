//! Where frames come from: a file, standard input, an interface.

use std::io;
use std::path::Path;

use packhorse_watch::capture::{Interface, Reader};
use packhorse_watch::{Error, Frame, Limits, Source};

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
    let source: Box<dyn Source> = Box::new(reader.map_err(|error| match error {
        Error::Read(error) => Failure::file("read", file, &error),
        error => failure(error),
    })?);
    Ok(match args.live.count {
        Some(left) => Box::new(Counted { source, left }),
        None => source,
    })
}

/// What ends reading, for a person.
pub(super) fn failure(error: Error) -> Failure {
    let what = error.to_string();
    let (exit, consequence, hint) = match error {
        Error::Damaged { .. } => (
            Exit::Protocol,
            Some("what is before that was shown; what is behind it is not known"),
            None,
        ),
        Error::NotACapture => (
            Exit::Protocol,
            None,
            Some("a file that tcpdump -w, dumpcap or packhorse watch --write made"),
        ),
        Error::Read(_) => (Exit::Local, None, None),
        _ => (Exit::Local, None, None),
    };
    Failure {
        exit,
        what,
        consequence: consequence.map(str::to_owned),
        hint: hint.map(str::to_owned),
    }
}

/// Ends after so many frames.
struct Counted {
    source: Box<dyn Source>,
    left: u64,
}

impl Source for Counted {
    fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Error> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        self.source.next_frame()
    }

    fn interfaces(&self) -> &[Interface] {
        self.source.interfaces()
    }
}
