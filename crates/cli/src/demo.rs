//! `packhorse demo`: both sides on this machine, over loopback, through everything a real transfer
//! goes through.

use std::fs::File;
use std::io::BufReader;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use packhorse_transfer::{
    Assurance, Cancel, Code, Destination, Disk, Error, ErrorClass, Event, Existing, Kind, Limits,
    Observer, Receipt, ReceiveOptions, ReceiveSecurity, SendOptions, SendSecurity, Sessions,
    Source, list, receive, send,
};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::args::{Demo, Records};
use crate::report::{Exit, Failure, shown};
use crate::ui::Ui;
use crate::watcher::Watcher;
use crate::{runtime, units, verify};

/// A tree that nobody named is copied only up to this size, in bytes: some working directories are
/// larger than the temporary directory's disk.
const UNASKED: u64 = 8_000_000_000;

pub(crate) fn run(ui: &Ui, args: Demo) -> Result<Exit, Failure> {
    let source = what_to_send(&args)?;
    announce(ui, &args, &source)?;
    let temporary = tempfile::Builder::new()
        .prefix("packhorse-demo-")
        .tempdir()
        .map_err(|error| Failure::local("cannot make a temporary directory", &error))?;
    let exit = transfer(ui, &source, &temporary)?;
    let verified = verify_all(ui, &temporary)?;
    let place = shown(temporary.path());
    temporary
        .close()
        .map_err(|error| Failure::local(format!("cannot remove '{place}'"), &error))?;
    ui.titled("5. Cleaned up: ", place);
    ui.say("Between two machines: 'packhorse recv' there, 'packhorse send PATH... HOST' here.");
    Ok(if verified { exit } else { Exit::Protocol })
}

fn what_to_send(args: &Demo) -> Result<PathBuf, Failure> {
    let path = args.path.as_deref().unwrap_or(Path::new("."));
    let whole = path
        .canonicalize()
        .map_err(|error| Failure::file("send", path, &error))?;
    let receiver = std::env::temp_dir().canonicalize();
    if receiver.is_ok_and(|receiver| receiver.starts_with(&whole)) {
        return Err(Failure::usage(
            format!(
                "the demo's receiver would lie inside '{}' itself",
                shown(&whole)
            ),
            "choose a smaller tree with --path, or another place with TMPDIR",
        ));
    }
    Ok(whole)
}

/// Counts first: a person wants to know what will be copied.
fn announce(ui: &Ui, args: &Demo, source: &Path) -> Result<(), Failure> {
    let (mut files, mut bytes) = (0, 0);
    list(&[Source::Path(source.to_owned())], &mut |found| {
        if let Ok(entry) = found
            && let Kind::File { size } = entry.kind
        {
            files += 1;
            bytes += size.unwrap_or(0);
        }
    })?;
    let (files, size) = (units::counted(files, "file", "files"), units::bytes(bytes));
    if args.path.is_none() && bytes > UNASKED {
        let what = format!("the working directory holds {size}, which is much for a demo");
        return Err(
            Failure::usage(what, "packhorse demo --path SMALLER").means("nothing was copied")
        );
    }
    ui.titled(
        "1. The tree: ",
        format_args!("{} ({files}, {size})", shown(source)),
    );
    Ok(())
}

fn transfer(ui: &Ui, source: &Path, temporary: &TempDir) -> Result<Exit, Failure> {
    let code = Code::generate().map_err(|error| Failure::local("cannot make a code", &error))?;
    let shown_code = code.reveal().to_owned();
    ui.titled(
        "2. A receiver",
        format_args!(" starts, and makes the code {shown_code}"),
    );
    ui.say("   A sender that knows the code connects over TCP, inside TLS 1.3. Each side proves");
    ui.say("   that it knows the code without showing it; a wrong guess is noticed at once.");
    ui.titled(
        "3. The tree crosses,",
        " encrypted, hashed on both sides while it moves",
    );
    let records = Records {
        events: None,
        receipt: Some(receipt_of(temporary)),
        ledger: None,
        trace: None,
    };
    let watcher = Watcher::new(ui, &records)?;
    let directory = temporary.path().join("received");
    let given = Code::given(&shown_code)
        .map_err(|error| Failure::local("cannot use its own code", &error))?;
    let received = receive_options(directory, given);
    let observer = watcher.observer(|_| ());
    let result = runtime::transfer(ui, |cancel| {
        both(received, source.to_owned(), code, observer, cancel)
    })?;
    watcher.finish(result)
}

fn receive_options(directory: PathBuf, code: Code) -> ReceiveOptions {
    ReceiveOptions {
        directory,
        listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        security: ReceiveSecurity::Given(code),
        sessions: Sessions::One,
        existing: Existing::Replace,
        limits: Limits::default(),
        assurance: Assurance::default(),
        retry_for: Duration::ZERO,
        classic: None,
        calls: None,
        stages: None,
        storage: Arc::new(Disk),
    }
}

/// Runs the receiver and, once it listens, the sender. The sender's side is shown.
async fn both(
    received: ReceiveOptions,
    source: PathBuf,
    code: Code,
    observer: Observer,
    cancel: Cancel,
) -> Result<Option<Receipt>, Error> {
    let (bound, listening) = oneshot::channel();
    let mut bound = Some(bound);
    let quiet: Observer = Box::new(move |event| {
        if let Event::Listening { addresses } = event
            && let (Some(bound), Some(address)) = (bound.take(), addresses.first())
        {
            // Nobody waits for it any more only when everything is over.
            let _ = bound.send(*address);
        }
    });
    let receiving = receive(received, quiet, cancel.clone());
    let sending = async {
        // The receiver ended before it listened: its own error tells why.
        let Ok(address) = listening.await else {
            return Ok(None);
        };
        let sent = send(
            send_options(source, address, code),
            observer,
            cancel.clone(),
        )
        .await;
        if sent.is_err() {
            // Or the receiver would wait for another sender.
            cancel.cancel();
        }
        sent.map(Some)
    };
    let (received, sent) = tokio::join!(receiving, sending);
    match (received, sent) {
        // Where both failed, the receiver knows best, unless it only stopped for the sender's sake.
        (Err(error), _) if error.class() != ErrorClass::Interrupted => Err(error),
        (_, Err(error)) | (Err(error), _) => Err(error),
        (Ok(_), Ok(sent)) => Ok(sent),
    }
}

fn send_options(source: PathBuf, address: SocketAddr, code: Code) -> SendOptions {
    SendOptions {
        sources: vec![Source::Path(source)],
        to: Destination {
            host: address.ip().into(),
            port: address.port(),
            subdirectory: None,
        },
        security: SendSecurity::Code(code),
        limits: Limits::default(),
        assurance: Assurance::default(),
        retry_for: Duration::ZERO,
        calls: None,
        stages: None,
    }
}

fn receipt_of(temporary: &TempDir) -> PathBuf {
    temporary.path().join("receipt.json")
}

/// Whether what was received is what the receipt says.
fn verify_all(ui: &Ui, temporary: &TempDir) -> Result<bool, Failure> {
    ui.titled(
        "4. Verify:",
        " everything received is read again and held against the receipt",
    );
    let (directory, receipt) = (temporary.path().join("received"), receipt_of(temporary));
    let narrator = ui.clone();
    let summary = runtime::interruptible(move || {
        let file = File::open(&receipt)
            .map_err(|error| Failure::file("open the receipt", &receipt, &error))?;
        let mut report = |difference| narrator.warn(verify::text_line(&difference));
        packhorse_transfer::verify(&directory, &mut BufReader::new(file), &mut report)
            .map_err(|error| verify::failure(&error, &directory, &receipt))
    })??;
    verify::show_summary(ui, &summary);
    Ok(summary.is_same())
}
