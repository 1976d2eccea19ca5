//! A server in a page: `serve ENDPOINT HANDLER FRAME`, until SIGTERM or Ctrl-C.
//!
//! ```text
//! cargo run --release -p packhorse-server --example serve -- tcp://127.0.0.1:9090 echo u32be
//! ```
//!
//! Standard output tells where it listens, then one line for each connection that ended.

use std::error::Error;
use std::fmt;
use std::io::Write as _;

use packhorse_endpoint::{Endpoint, bind};
use packhorse_server::{Builtin, Event, Framing, Limits, Server};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("serve ENDPOINT HANDLER FRAME");
    let endpoint: Endpoint = next()?.parse()?;
    let handler: Builtin = next()?.parse()?;
    let framing = Framing {
        spec: next()?.parse()?,
        ..Framing::default()
    };

    // Each connection is a descriptor: as many as this user may have.
    let mut descriptors = getrlimit(Resource::Nofile);
    descriptors.current = descriptors.maximum;
    setrlimit(Resource::Nofile, descriptors)?;

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let served = Server::new(bind(&endpoint).await?)
        .framing(framing)
        .limits(Limits::default())
        .observer(tell)
        .serve(handler, stop)
        .await;
    say(format_args!("served {}", served.connections));
    Ok(())
}

/// Nobody who listens is no reason to stop serving.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn tell(event: Event) {
    match event {
        Event::Listening { address, .. } => say(format_args!("listening {address}")),
        Event::Ended(record) => say(format_args!(
            "{}: {} messages in, {} out, {}",
            record.peer, record.received.messages, record.sent.messages, record.end
        )),
        Event::OutOfDescriptors { error, pause } => {
            say(format_args!("waiting {pause:?}: {error}"));
        }
        _ => {}
    }
}
