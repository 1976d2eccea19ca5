//! `packhorse recv`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use packhorse_transfer::classic::ClassicLimits;
use packhorse_transfer::{
    CodeReason, DEFAULT_PORT, Disk, Escaped, Event, Existing, Limits, ReceiveOptions,
    ReceiveSecurity, Sessions, local_addresses, receive,
};

use crate::args::{Classic, Insecure, Recv};
use crate::ledger::{self, Ledger};
use crate::report::{Exit, Failure, shown};
use crate::trace::{self, Side, Trace};
use crate::ui::Ui;
use crate::watcher::Watcher;
use crate::{classic, code, runtime};

pub(crate) fn run(ui: &Ui, args: Recv) -> Result<Exit, Failure> {
    if args.classic == Some(Classic::Only) {
        return classic::recv(ui, args);
    }
    let security = match args.insecure {
        Some(Insecure::Loopback) => ReceiveSecurity::Insecure,
        Some(Insecure::Anywhere) => ReceiveSecurity::InsecureAnywhere,
        None => match code::given(args.code_file.as_deref())? {
            Some(code) => ReceiveSecurity::Given(code),
            None => ReceiveSecurity::Generate,
        },
    };
    let watcher = Watcher::new(ui, &args.records)?;
    let ledger = Ledger::open(ui, args.records.ledger.as_deref())?;
    let trace = Trace::open(ui, args.records.trace.as_deref(), Side::Receiver)?;
    let invitation = Invitation::new(ui, &args, &security);
    let options = ReceiveOptions {
        directory: args.dir.clone(),
        listen: args.listen,
        security,
        sessions: sessions(&args),
        existing: existing(&args),
        assurance: args.assurance.into(),
        limits: Limits::default(),
        retry_for: args.retry_for.into(),
        classic: args.classic.map(|_| ClassicLimits::default()),
        calls: ledger::observer(ledger.as_ref()),
        stages: trace::observer(trace.as_ref()),
        storage: Arc::new(Disk),
    };
    let observer = watcher.observer(move |event| invitation.show(event));
    let result = runtime::transfer(ui, |cancel| receive(options, observer, cancel))?;
    watcher.finish(result)
}

pub(crate) fn sessions(args: &Recv) -> Sessions {
    if args.keep {
        Sessions::Many
    } else {
        Sessions::One
    }
}

pub(crate) fn existing(args: &Recv) -> Existing {
    if args.keep_existing {
        Existing::Keep
    } else {
        Existing::Replace
    }
}

/// What a person needs to know to send here.
struct Invitation {
    ui: Ui,
    directory: String,
    kind: Kind,
    classic: Option<Classic>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    NewCode,
    GivenCode,
    Insecure,
}

impl Invitation {
    fn new(ui: &Ui, args: &Recv, security: &ReceiveSecurity) -> Self {
        Self {
            ui: ui.clone(),
            directory: absolute(&args.dir),
            classic: args.classic,
            kind: match security {
                ReceiveSecurity::Generate => Kind::NewCode,
                ReceiveSecurity::Given(_) => Kind::GivenCode,
                ReceiveSecurity::Insecure | ReceiveSecurity::InsecureAnywhere => Kind::Insecure,
            },
        }
    }

    fn show(&self, event: &Event) {
        match event {
            Event::Listening { addresses } => self.show_addresses(addresses),
            Event::Code { code, reason } if self.kind == Kind::NewCode => {
                match reason {
                    CodeReason::First => {}
                    CodeReason::Burnt => self.ui.always("The last code is burnt. A new one:"),
                    CodeReason::NextSession => self.ui.say("For the next session:"),
                }
                let code = Escaped(code.reveal().as_bytes());
                self.ui.always(format_args!("Code: {code}"));
            }
            _ => {}
        }
    }

    fn show_addresses(&self, bound: &[SocketAddr]) {
        let ui = &self.ui;
        let reachable: Vec<SocketAddr> = bound.iter().copied().flat_map(local_addresses).collect();
        ui.titled("Receiving into ", &self.directory);
        let listed: Vec<String> = reachable.iter().map(ToString::to_string).collect();
        ui.titled("Listening on   ", listed.join(", "));
        if let Some(first) = reachable.first() {
            ui.titled("To send here:  ", command(*first, self.kind));
        }
        match self.kind {
            Kind::NewCode => {}
            Kind::GivenCode => ui.say("The code is the one given."),
            Kind::Insecure => ui
                .warn("no encryption and no authentication: whoever reaches this address can send"),
        }
        if self.classic.is_some() {
            classic::warn(ui);
        }
    }
}

/// A directory as a person finds it from anywhere.
pub(crate) fn absolute(directory: &Path) -> String {
    shown(
        std::path::absolute(directory)
            .as_deref()
            .unwrap_or(directory),
    )
}

/// The exact command for the other side.
fn command(address: SocketAddr, kind: Kind) -> String {
    let insecure = if kind == Kind::Insecure {
        "--insecure "
    } else {
        ""
    };
    format!("packhorse send {insecure}PATH... {}", destination(address))
}

/// The shortest that names this address on a command line.
pub(crate) fn destination(address: SocketAddr) -> String {
    match (address, address.port()) {
        (SocketAddr::V4(address), DEFAULT_PORT) => address.ip().to_string(),
        (SocketAddr::V6(address), DEFAULT_PORT) if address.scope_id() == 0 => {
            format!("[{}]", address.ip())
        }
        _ => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use packhorse_transfer::Destination;

    use super::*;

    #[test]
    fn the_command_can_be_pasted() {
        for (address, to) in [
            ("192.0.2.1:7225", "192.0.2.1"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[2001:db8::1]:7225", "[2001:db8::1]"),
            ("[fe80::1%2]:7225", "[fe80::1%2]:7225"),
        ] {
            let address = address.parse().unwrap();
            let pasted = command(address, Kind::NewCode);
            assert_eq!(pasted, format!("packhorse send PATH... {to}"));
            let read_back: Destination = to.parse().unwrap();
            assert_eq!(read_back.port, address.port());
        }
        let insecure = command("127.0.0.1:7225".parse().unwrap(), Kind::Insecure);
        assert_eq!(insecure, "packhorse send --insecure PATH... 127.0.0.1");
    }
}
