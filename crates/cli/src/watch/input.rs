//! Where frames come from: a file, standard input, an interface.

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use packhorse_watch::capture::{Interface, Live, LiveConfig, LiveError, Reader, Writer};
use packhorse_watch::{Error, Filter, Frame, Limits, Packets, Source, Timestamp};

use super::args::Watch;
use crate::report::{Exit, Failure};
use crate::runtime;
use crate::ui::Ui;
use crate::units::counted;

/// What is captured is on disk after this time at the latest.
const FLUSH: Duration = Duration::from_millis(500);

/// The frames that were asked for.
pub(super) struct Input {
    kind: Kind,
    /// The file that was named.
    path: Option<PathBuf>,
    filter: Option<Filter>,
    packets: Packets,
    /// Frames that are still to be given.
    left: u64,
    writer: Option<Recorder>,
    /// The frame that was chosen.
    data: Vec<u8>,
}

enum Kind {
    File(Reader),
    Live(Box<Live>),
}

/// Keeps what is captured.
struct Recorder {
    path: PathBuf,
    writer: Writer<BufWriter<File>>,
    /// Interfaces that the file tells of.
    announced: usize,
    flushed: Instant,
}

/// Opens what was asked for. Watching an interface ends when `stop` can be read; by default at Ctrl-C or SIGTERM.
pub(super) fn open(args: &Watch, stop: Option<OwnedFd>) -> Result<Input, Failure> {
    let limits = Limits::default();
    let kind = match (&args.live.interface, &args.file) {
        (Some(interface), _) => Kind::Live(Box::new(live(interface, args.live.duration, stop)?)),
        (None, Some(file)) => Kind::File(reader(file, &limits)?),
        (None, None) => {
            return Err(Failure::usage(
                "neither a file nor an interface",
                "packhorse watch capture.pcapng, or --interface lo",
            ));
        }
    };
    let mut input = Input {
        kind,
        path: args.file.clone(),
        filter: args.filter.clone(),
        packets: Packets::new(&limits),
        left: args.live.count.unwrap_or(u64::MAX),
        writer: None,
        data: Vec::new(),
    };
    if let Some(path) = &args.live.write {
        if args.file.as_deref().is_some_and(|file| is_same(file, path)) {
            return Err(Failure::usage(
                "--write names the capture that is read",
                "name another file",
            ));
        }
        let mut recorder = Recorder::new(path)?;
        recorder
            .announce(input.interfaces())
            .and_then(|()| recorder.writer.flush())
            .map_err(|error| Failure::file("write", path, &error))?;
        input.writer = Some(recorder);
    }
    Ok(input)
}

/// Whether both names lead to one file.
fn is_same(one: &Path, other: &Path) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

fn reader(file: &Path, limits: &Limits) -> Result<Reader, Failure> {
    let reader = if file == Path::new("-") {
        Reader::new(io::stdin(), limits)
    } else {
        Reader::open(file, limits)
    };
    reader.map_err(|error| match error {
        Error::Read(error) => Failure::file("read", file, &error),
        error => failure(error),
    })
}

fn live(
    interface: &str,
    duration: Option<Duration>,
    stop: Option<OwnedFd>,
) -> Result<Live, Failure> {
    let stop = stop.map_or_else(runtime::readable_at_interrupt, Ok);
    let config = LiveConfig {
        duration,
        stop: Some(stop.map_err(|error| Failure::local("cannot wait for a signal", &error))?),
        ..LiveConfig::default()
    };
    Live::open(interface, config).map_err(|error| match error {
        LiveError::NotAllowed => Failure {
            exit: Exit::Local,
            what: error.to_string(),
            consequence: None,
            hint: Some("sudo setcap cap_net_raw+ep \"$(command -v packhorse)\"".to_owned()),
        },
        LiveError::NoInterface { .. } => Failure::usage(error.to_string(), "--interface any"),
        error => Failure {
            exit: Exit::Local,
            what: error.to_string(),
            consequence: None,
            hint: None,
        },
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
        _ => (Exit::Local, None, None),
    };
    Failure {
        exit,
        what,
        consequence: consequence.map(str::to_owned),
        hint: hint.map(str::to_owned),
    }
}

impl Recorder {
    fn new(path: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::file("write", path, &error);
        let file = File::create(path).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            writer: Writer::new(BufWriter::new(file)).map_err(failed)?,
            announced: 0,
            flushed: Instant::now(),
        })
    }

    /// Interfaces come one after the other in a file, each before its first frame.
    fn announce(&mut self, interfaces: &[Interface]) -> io::Result<()> {
        for interface in interfaces.iter().skip(self.announced) {
            self.writer.interface(interface)?;
            self.announced += 1;
        }
        Ok(())
    }

    /// Writes what is left, and of an interface the frames that it received and dropped.
    fn end(mut self, counts: Option<(u64, u64)>) -> Result<(), Failure> {
        let told = counts.map_or(Ok(()), |(received, dropped)| {
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            let now = Timestamp(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX));
            self.writer.statistics(0, now, received, dropped)
        });
        told.and_then(|()| self.writer.flush())
            .map_err(|error| Failure::file("write", &self.path, &error))
    }

    fn keep(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        self.writer.frame(frame)?;
        if self.flushed.elapsed() >= FLUSH {
            self.writer.flush()?;
            self.flushed = Instant::now();
        }
        Ok(())
    }
}

impl Input {
    /// Whether the next frame may not be there yet: what was shown before should be seen meanwhile.
    pub(super) fn waits(&self) -> bool {
        let file = self.path.as_deref().and_then(|path| path.metadata().ok());
        !file.is_some_and(|file| file.is_file())
    }

    /// The file, where the bytes of a frame can be read from it again, at [`Frame::data_offset`].
    pub(super) fn reread(&self) -> Option<File> {
        let Kind::File(reader) = &self.kind else {
            return None;
        };
        let path = self.path.as_deref()?;
        // Opening a pipe once more would wait for another writer.
        let plain = reader.compression().is_none() && path.metadata().ok()?.is_file();
        plain.then(|| File::open(path).ok()).flatten()
    }

    /// Ends a capture: what was kept is on disk, and what the kernel dropped is told.
    pub(super) fn finish(mut self, ui: &Ui) -> Result<(), Failure> {
        let counts = match &mut self.kind {
            Kind::File(_) => None,
            Kind::Live(live) => Some(
                live.statistics()
                    .map_err(|error| Failure::local("cannot ask for what was dropped", &error))?,
            ),
        };
        if let Some(recorder) = self.writer {
            recorder.end(counts)?;
        }
        let Some((received, dropped)) = counts else {
            return Ok(());
        };
        let told = format!(
            "{} received, {} dropped by the kernel",
            counted(received, "frame", "frames"),
            counted(dropped, "frame", "frames")
        );
        if dropped > 0 {
            ui.warn(told);
        } else {
            ui.say(told);
        }
        Ok(())
    }

    /// The next frame of the source that is wanted, with its data in `self.data`.
    fn choose(&mut self) -> Result<Option<Frame<'static>>, Error> {
        loop {
            let source: &mut dyn Source = match &mut self.kind {
                Kind::File(reader) => reader,
                Kind::Live(live) => &mut **live,
            };
            let Some(frame) = source.next_frame()? else {
                return Ok(None);
            };
            let filter = self.filter.as_ref();
            if !filter.is_none_or(|filter| filter.matches(&frame, &mut self.packets)) {
                continue;
            }
            self.data.clear();
            self.data.extend_from_slice(frame.data);
            let frame = Frame { data: &[], ..frame };
            if let Some(recorder) = &mut self.writer {
                let interfaces = match &self.kind {
                    Kind::File(reader) => reader.interfaces(),
                    Kind::Live(live) => live.interfaces(),
                };
                let data = &self.data;
                recorder
                    .announce(interfaces)
                    .and_then(|()| recorder.keep(&Frame { data, ..frame }))
                    .map_err(Error::Write)?;
            }
            return Ok(Some(frame));
        }
    }
}

impl Source for Input {
    fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Error> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        // The straight way, without a copy.
        let all = self.filter.is_none() && self.writer.is_none();
        if all && matches!(self.kind, Kind::File(_)) {
            let Kind::File(reader) = &mut self.kind else {
                return Ok(None);
            };
            return reader.next_frame();
        }
        let chosen = self.choose()?;
        Ok(chosen.map(|frame| Frame {
            data: &self.data,
            ..frame
        }))
    }

    fn interfaces(&self) -> &[Interface] {
        match &self.kind {
            Kind::File(reader) => reader.interfaces(),
            Kind::Live(live) => live.interfaces(),
        }
    }
}
