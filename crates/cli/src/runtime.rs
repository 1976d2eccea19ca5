//! What a verb runs on, and who hears Ctrl-C meanwhile.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use packhorse_transfer::Cancel;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::report::{Exit, Failure};
use crate::terminal::Terminal;
use crate::ui::Ui;

/// Runs a transfer to its end. The first Ctrl-C or SIGTERM cancels it in order, so that the other side
/// learns of it and no temporary file stays; the second ends the program at once.
pub(crate) fn transfer<F: Future>(
    ui: &Ui,
    run: impl FnOnce(Cancel) -> F,
) -> Result<F::Output, Failure> {
    let cancel = Cancel::new();
    on_runtime(async {
        // Before anything is said that somebody could answer with a signal.
        let interrupts = Interrupts::new().ok();
        let interrupts = tokio::spawn(cancel_at_interrupt(interrupts, ui.clone(), cancel.clone()));
        let output = run(cancel).await;
        interrupts.abort();
        output
    })
}

/// Runs `work` to its end, or until Ctrl-C or SIGTERM: what the caller holds is then cleaned up.
pub(crate) fn interruptible<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    on_runtime(async {
        let Ok(mut interrupts) = Interrupts::new() else {
            return tokio::task::spawn_blocking(work).await.ok();
        };
        tokio::select! {
            output = tokio::task::spawn_blocking(work) => output.ok(),
            () = interrupts.next() => None,
        }
    })?
    .ok_or_else(Failure::interrupted)
}

/// Waits for `future`, or for Ctrl-C or SIGTERM: what it holds is then cleaned up.
pub(crate) fn until_interrupted<F: Future>(future: F) -> Result<F::Output, Failure> {
    on_runtime(async {
        let Ok(mut interrupts) = Interrupts::new() else {
            return Some(future.await);
        };
        tokio::select! {
            output = future => Some(output),
            () = interrupts.next() => None,
        }
    })?
    .ok_or_else(Failure::interrupted)
}

/// What a runtime opens for itself, which panics where it cannot, and what the shortest session needs besides.
const DESCRIPTORS: usize = 16;

/// Whether there are as many descriptors as that.
fn see_to_descriptors() -> Result<(), Failure> {
    let pairs = (0..DESCRIPTORS / 2).map(|_| rustix::pipe::pipe());
    let held: Result<Vec<_>, _> = pairs.collect();
    held.map(drop).map_err(|error| {
        Failure::local("cannot start", &io::Error::from(error))
            .means("nothing was done")
            .hint(packhorse_transfer::MORE_DESCRIPTORS)
    })
}

/// Runs a server, on as many threads as the machine has processors.
pub(crate) fn serving<F: Future>(work: F) -> Result<F::Output, Failure> {
    see_to_descriptors()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local("cannot start", &error))?;
    let output = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(output)
}

/// Ends at Ctrl-C or SIGTERM. From this call on, and not only once it is awaited, they no longer end the
/// program by themselves.
pub(crate) fn interrupted() -> impl Future<Output = ()> {
    let interrupts = Interrupts::new();
    async {
        match interrupts {
            Ok(mut interrupts) => interrupts.next().await,
            // The system's own way of ending the program stays.
            Err(_) => std::future::pending().await,
        }
    }
}

/// What can be read from Ctrl-C or SIGTERM on, which do not end the program by themselves any more; the second
/// of them does.
pub(crate) fn readable_at_interrupt() -> io::Result<OwnedFd> {
    let (readable, held) = rustix::pipe::pipe()?;
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Without this thread's runtime the system's own way of ending the program stays.
        let _ = on_runtime(async {
            let interrupts = Interrupts::new();
            let _ = ready.send(());
            let Ok(mut interrupts) = interrupts else {
                return std::future::pending().await;
            };
            interrupts.next().await;
            drop(held);
            interrupts.next().await;
            std::process::exit(Exit::Interrupted.code().into());
        });
    });
    let _ = is_ready.recv();
    Ok(readable)
}

/// Ends the program `patience` after Ctrl-C or SIGTERM, or at the second, where it has not ended by itself:
/// it may be stuck in writing to somebody who does not read. The terminal is as it is now, then.
pub(crate) fn end_at_the_latest(patience: Duration) {
    let terminal = Terminal::remember();
    std::thread::spawn(move || {
        // Without this thread's runtime the other ways of ending are left.
        let _ = on_runtime(async {
            let Ok(mut interrupts) = Interrupts::new() else {
                return;
            };
            interrupts.next().await;
            let _ = tokio::time::timeout(patience, interrupts.next()).await;
            terminal.restore();
            std::process::exit(Exit::Interrupted.code().into());
        });
    });
}

fn on_runtime<F: Future>(future: F) -> Result<F::Output, Failure> {
    see_to_descriptors()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local("cannot start", &error))?;
    let output = runtime.block_on(future);
    // Not waiting for a thread that reads from a terminal nobody types at.
    runtime.shutdown_background();
    Ok(output)
}

async fn cancel_at_interrupt(interrupts: Option<Interrupts>, ui: Ui, cancel: Cancel) {
    let Some(mut interrupts) = interrupts else {
        return; // the system's own way of ending the program stays
    };
    interrupts.next().await;
    cancel.cancel();
    ui.say("Stopping; once more stops at once");
    interrupts.next().await;
    std::process::exit(Exit::Interrupted.code().into());
}

/// signal(7), on every architecture but MIPS.
const SIGXFSZ: i32 = 25;

/// The signals that ask the program to end. From the first time on that this is made, they no longer
/// end it by themselves.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal is gone.
    hangup: Signal,
    /// A file grew beyond `ulimit -f`: the write says so by itself, once this does not kill.
    _file_size: Signal,
}

impl Interrupts {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            _file_size: signal(SignalKind::from_raw(SIGXFSZ))?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
