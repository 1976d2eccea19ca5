//! `packhorse recv --classic` and `packhorse send --classic`.

use std::net::SocketAddr;
use std::path::PathBuf;

use packhorse_transfer::classic::{
    ClassicEvent, ClassicFile, ClassicLimits, ClassicReceiveOptions, ClassicSendOptions,
    ClassicTotals, Format, PlainName, receive_classic, send_classic,
};
use packhorse_transfer::{Event, RelativePath, local_addresses};

use crate::args::{ClassicFormat, Recv, Send};
use crate::ledger::{self, Ledger};
use crate::recv::{absolute, destination, existing, sessions};
use crate::report::{Exit, Failure, shown};
use crate::send::is_stdin;
use crate::ui::{Ui, Volume};
use crate::watcher::Watcher;
use crate::{runtime, units};

/// Receives classic files and nothing else.
pub(crate) fn recv(ui: &Ui, args: Recv) -> Result<Exit, Failure> {
    refuse_what_has_no_meaning(&args)?;
    let watcher = Watcher::new(ui, &args.records)?;
    let ledger = Ledger::open(ui, args.records.ledger.as_deref())?;
    let options = ClassicReceiveOptions {
        sessions: sessions(&args),
        existing: existing(&args),
        listen: args.listen,
        directory: args.dir,
        limits: ClassicLimits::default(),
        calls: ledger::observer(ledger.as_ref()),
    };
    let (to, directory) = (ui.clone(), absolute(&options.directory));
    let observer = watcher.observer(move |event| {
        if let Event::Listening { addresses } = event {
            invite(&to, &directory, addresses);
        }
    });
    let result = runtime::transfer(ui, |cancel| receive_classic(options, observer, cancel))?;
    watcher.finish(result)
}

fn refuse_what_has_no_meaning(args: &Recv) -> Result<(), Failure> {
    let (option, why) = if args.insecure.is_some() {
        ("--insecure", "a classic format has no encryption anyway")
    } else if args.code_file.is_some() {
        ("--code-file", "a classic format has no code")
    } else if args.records.receipt.is_some() {
        ("--receipt", "a classic format has no receipt")
    } else if args.records.trace.is_some() {
        ("--trace", "a classic file goes through no stages")
    } else {
        return Ok(());
    };
    Err(Failure::usage(
        format!("{option} does not go with --classic: {why}"),
        format!(
            "leave {option} out, or say --classic=also to take packhorse's own protocol as well"
        ),
    ))
}

fn invite(ui: &Ui, directory: &str, bound: &[SocketAddr]) {
    let reachable: Vec<SocketAddr> = bound.iter().copied().flat_map(local_addresses).collect();
    ui.titled("Receiving into ", directory);
    let listed: Vec<String> = reachable.iter().map(ToString::to_string).collect();
    ui.titled("Listening on   ", listed.join(", "));
    if let Some(first) = reachable.first() {
        let command = format_args!("packhorse send --classic md5 FILE {}", destination(*first));
        ui.titled("To send here:  ", command);
    }
    warn(ui);
}

/// What must be known of these formats.
pub(crate) fn warn(ui: &Ui) {
    ui.warn(
        "classic formats have neither secrecy nor authentication: whoever reaches this address can \
         store files",
    );
}

/// Sends one file.
pub(crate) fn send(ui: &Ui, args: Send, format: ClassicFormat) -> Result<Exit, Failure> {
    let ledger = Ledger::open(ui, args.records.ledger.as_deref())?;
    let options = ClassicSendOptions {
        path: single_file(&args)?,
        name: args.name.as_ref().map(plain_name).transpose()?,
        format: match format {
            ClassicFormat::Size => Format::Size,
            ClassicFormat::Md5 => Format::Md5,
        },
        to: args.route.to,
        limits: ClassicLimits::default(),
        calls: ledger::observer(ledger.as_ref()),
    };
    let watcher = Watcher::new(ui, &args.records)?;
    let observer = watcher.observer(|_| ());
    let result = runtime::transfer(ui, |cancel| send_classic(options, observer, cancel))?;
    watcher.finish(result)
}

fn single_file(args: &Send) -> Result<PathBuf, Failure> {
    let [path] = &args.route.paths[..] else {
        return Err(Failure::usage(
            "a classic format carries one file",
            "send one after the other, or leave --classic out",
        ));
    };
    if is_stdin(path) {
        return Err(Failure::usage(
            "a classic format tells the size first, and standard input has none",
            "write it to a file and send that; a file called '-' is './-'",
        ));
    }
    if path.is_dir() {
        return Err(Failure::usage(
            format!(
                "'{}' is a directory, and a classic format carries one file",
                shown(path)
            ),
            "send a file, an archive of it (tar), or leave --classic out",
        ));
    }
    if args.route.to.subdirectory.is_some() {
        return Err(Failure::usage(
            "a classic receiver has no subdirectories",
            format!(
                "packhorse send --classic … {}:{}",
                args.route.to.host, args.route.to.port
            ),
        ));
    }
    Ok(path.clone())
}

fn plain_name(name: &RelativePath) -> Result<PlainName, Failure> {
    let refused = |reason: String| {
        Failure::usage(
            format!("--name '{name}' cannot be in a classic header: {reason}"),
            "use one plain name in UTF-8, without '/', '\\' or a drive",
        )
    };
    let text = std::str::from_utf8(name.as_bytes()).map_err(|_| refused("not UTF-8".to_owned()))?;
    PlainName::parse(text).map_err(|error| refused(error.to_string()))
}

/// Shows what happened to a file.
pub(crate) fn show(ui: &Ui, event: &ClassicEvent) {
    match event {
        ClassicEvent::Hashing { path, size } => ui.say(format_args!(
            "Reading {path} ({}) for its MD5, which goes before it",
            units::bytes(*size)
        )),
        ClassicEvent::Sent { file, closed } => show_sent(ui, file, *closed),
        ClassicEvent::Stored { file, .. } => show_stored(ui, file),
        ClassicEvent::Kept { peer, path, .. } => ui.warn(format_args!(
            "{path}: kept the one that was there, and refused that of {peer}"
        )),
        ClassicEvent::Failed {
            peer,
            path,
            message,
        } => match path {
            Some(_) => ui.warn(format_args!("from {peer}: {message}; nothing was stored")),
            None => ui.warn(format_args!("{peer}: {message}; nothing was stored")),
        },
        ClassicEvent::Done(totals) => show_totals(ui, totals),
        _ => {}
    }
}

fn show_sent(ui: &Ui, file: &ClassicFile, closed: bool) {
    let (path, size) = (&file.path, units::bytes(file.size));
    ui.say(format_args!(
        "Sent {path} ({size}) to {}; the receiver does not confirm",
        file.peer
    ));
    if let Some(md5) = file.md5 {
        ui.say(format_args!("MD5 {md5}"));
    }
    if !closed {
        ui.warn("the receiver has not closed the connection, as it should once it has everything");
    }
}

fn show_stored(ui: &Ui, file: &ClassicFile) {
    let (path, size, peer) = (&file.path, units::bytes(file.size), file.peer);
    match file.md5 {
        Some(md5) => ui.say(format_args!(
            "Received {path} ({size}) from {peer}: MD5 {md5} agrees"
        )),
        None => ui.say(format_args!(
            "Received {path} ({size}) from {peer}: the size agrees, the format checks no more"
        )),
    }
}

fn show_totals(ui: &Ui, totals: &ClassicTotals) {
    let files = units::counted(totals.files, "file", "files");
    let (bytes, kept, failed) = (units::bytes(totals.bytes), totals.kept, totals.failed);
    ui.at(
        Volume::Verbose,
        format_args!("{files}, {bytes}; {kept} kept, {failed} not stored"),
    );
}
