//! From arguments to an exit code: which verb runs, on what runtime, and who hears Ctrl-C.

use std::future::Future;
use std::process::ExitCode;

use clap::Parser as _;
use packhorse_transfer::Cancel;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Args, Verb};
use crate::report::{Exit, Failure, report};
use crate::ui::Ui;
use crate::{completions, demo, recv, send, verify};

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are 'errors' too, with exit code 0. A closed pipe ends quietly.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code()));
        }
    };
    let ui = Ui::new(&args.talk);
    let result = match args.verb {
        Verb::Recv(recv) => recv::run(&ui, recv),
        Verb::Send(send) => send::run(&ui, send),
        Verb::Verify(verify) => verify::run(&ui, &verify),
        Verb::Demo(demo) => demo::run(&ui, demo),
        Verb::Completions(completions) => completions::run(&ui, completions.shell),
    };
    let exit = result.unwrap_or_else(|failure| report(&ui, &failure));
    ExitCode::from(exit.code())
}

/// Runs a transfer to its end. The first Ctrl-C or SIGTERM cancels it in order, so that the other side
/// learns of it and no temporary file stays; the second ends the program at once.
pub(crate) fn transfer<F: Future>(run: impl FnOnce(Cancel) -> F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local("cannot start", &error))?;
    let cancel = Cancel::new();
    let output = runtime.block_on(async {
        let interrupts = tokio::spawn(interrupts(cancel.clone()));
        let output = run(cancel).await;
        interrupts.abort();
        output
    });
    // Not waiting for a thread that reads from a terminal nobody types at.
    runtime.shutdown_background();
    Ok(output)
}

async fn interrupts(cancel: Cancel) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return; // the system's own way of ending the program stays
    };
    for again in [false, true] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if again {
            std::process::exit(Exit::Interrupted.code().into());
        }
        cancel.cancel();
    }
}
