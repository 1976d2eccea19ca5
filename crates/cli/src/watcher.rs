//! Follows one run: what the person sees, what `--events` gets and what goes into the receipt file, all
//! out of the one stream of events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packhorse_transfer::{Entry, Error, Escaped, Event, LaneChange, Observer, Receipt};

use crate::args::Records;
use crate::classic;
use crate::events::Events;
use crate::progress::Display;
use crate::receipt_output::ReceiptOutput;
use crate::receipt_text;
use crate::report::{Exit, Failure};
use crate::ui::{Ui, Volume};
use crate::units::{self, counted};

/// Shared between the run, which tells it of events, and the verb, which asks how it went.
#[derive(Clone)]
pub(crate) struct Watcher(Arc<Mutex<State>>);

struct State {
    ui: Ui,
    display: Display,
    events: Option<Events>,
    receipt: Option<ReceiptOutput>,
    some_failed: bool,
    /// The same of the session that goes on: one that breaks and comes again tells it again.
    failed_so_far: bool,
}

impl Watcher {
    /// Opens the files that `records` names.
    pub(crate) fn new(ui: &Ui, records: &Records) -> Result<Self, Failure> {
        let events = records.events.as_deref().map(Events::open).transpose()?;
        let receipt = records.receipt.as_deref();
        let receipt = receipt.map(ReceiptOutput::open).transpose()?;
        Ok(Self(Arc::new(Mutex::new(State {
            ui: ui.clone(),
            display: Display::new(ui),
            events,
            receipt,
            some_failed: false,
            failed_so_far: false,
        }))))
    }

    /// What the library calls. `first` sees every event before it is shown.
    pub(crate) fn observer(&self, mut first: impl FnMut(&Event) + Send + 'static) -> Observer {
        let watcher = self.clone();
        Box::new(move |event| {
            let mut state = watcher.state();
            if let Some(events) = &mut state.events {
                events.event(event);
            }
            if let Some(receipt) = &mut state.receipt {
                receipt.event(event);
            }
            // Before `first` speaks, what is drawn of a session that is over must go.
            if matches!(
                event,
                Event::Done(_)
                    | Event::Code { .. }
                    | Event::Classic(_)
                    | Event::Reconnecting { .. }
                    | Event::Waiting { .. }
            ) {
                state.display.clear();
            }
            first(event);
            state.show(event);
        })
    }

    /// How it all ends.
    pub(crate) fn finish<T>(&self, result: Result<T, Error>) -> Result<Exit, Failure> {
        let mut state = self.state();
        state.display.clear();
        match result {
            Ok(_) => state.exit(),
            Err(error) => Err(state.failed(error.into())),
        }
    }

    /// A failure that came before the run.
    pub(crate) fn fail(&self, failure: Failure) -> Failure {
        self.state().failed(failure)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn failed(&mut self, failure: Failure) -> Failure {
        if let Some(events) = &mut self.events {
            events.error(&failure);
        }
        failure
    }

    fn exit(&mut self) -> Result<Exit, Failure> {
        if let Some(failure) = self.receipt.as_ref().and_then(ReceiptOutput::failure) {
            return Err(self.failed(failure));
        }
        if let Some(error) = self.events.as_ref().and_then(Events::failure) {
            return Err(Failure::local("cannot write events any more", error)
                .means("everything else is done"));
        }
        Ok(match self.some_failed {
            true => Exit::SomeFailed,
            false => Exit::Done,
        })
    }

    fn show(&mut self, event: &Event) {
        let ui = &self.ui;
        match event {
            Event::WrongCode { peer, left: 0 } => {
                ui.warn(format_args!("wrong code from {peer}: the code is burnt"));
            }
            Event::WrongCode { peer, left } => ui.warn(format_args!(
                "wrong code from {peer}: after {left} more the code is burnt"
            )),
            Event::Refused { peer, reason } => {
                let reason = Escaped(reason.as_bytes());
                ui.at(Volume::Everything, format_args!("refused {peer}: {reason}"));
            }
            Event::Reconnecting { message, left, .. } => {
                let (message, left) = (Escaped(message.as_bytes()), units::remaining(*left));
                ui.warn(format_args!("{message}; trying again, for {left} at most"));
            }
            Event::Waiting {
                peer,
                message,
                at_most,
            } => {
                let (message, at_most) = (Escaped(message.as_bytes()), units::remaining(*at_most));
                ui.warn(format_args!(
                    "{message}; waiting for {peer} to come again with the same code, for {at_most} at most"
                ));
            }
            Event::NothingNoted { message } => ui.warn(format_args!(
                "which files are complete cannot be noted in .packhorse: {message}; if this session ends before its end, all \
                 of them are sent again"
            )),
            Event::SessionFailed { peer, message } => {
                self.some_failed |= self.failed_so_far;
                let message = Escaped(message.as_bytes());
                ui.warn(format_args!("the session with {peer} failed: {message}"));
            }
            Event::Connected {
                peer,
                name,
                protection,
            } => {
                self.failed_so_far = false;
                let (name, protection) = (Escaped(name.as_bytes()), Escaped(protection.as_bytes()));
                if name.0.is_empty() {
                    return ui.say(format_args!("Connected with {peer} ({protection})"));
                }
                ui.say(format_args!(
                    "Connected with {name} at {peer} ({protection})"
                ));
            }
            Event::Offered {
                subdirectory: Some(path),
            } => ui.say(format_args!("Into the subdirectory {path}")),
            Event::Lanes { lanes, elapsed } => ui.at(
                Volume::Verbose,
                format_args!(
                    "{} after {:.2} s",
                    counted(u64::from(*lanes), "lane", "lanes"),
                    elapsed.as_secs_f64()
                ),
            ),
            Event::Lane { lane, change } => show_lane(ui, *lane, change),
            Event::Progress(progress) => self.display.update(progress),
            Event::Stored { entry, hash, .. } => show_stored(ui, entry, hash.as_ref()),
            Event::Kept { path, .. } => {
                ui.at(
                    Volume::Verbose,
                    format_args!("kept {path}, which was there"),
                );
            }
            Event::Failed { path, message } => {
                self.failed_so_far = true;
                ui.warn(format_args!("{path}: {message}"));
            }
            Event::Done(receipt) => {
                self.some_failed |= self.failed_so_far || receipt.failed > 0;
                show_receipt(ui, receipt);
            }
            Event::Classic(event) => classic::show(ui, event),
            _ => {}
        }
    }
}

fn show_lane(ui: &Ui, lane: u16, change: &LaneChange) {
    match change {
        LaneChange::Lost { message } => ui.at(
            Volume::Verbose,
            format_args!("lane {lane} is lost: {message}"),
        ),
        LaneChange::Replaced => {
            ui.at(Volume::Verbose, format_args!("lane {lane} is in its place"));
        }
    }
}

fn show_stored(ui: &Ui, entry: &Entry, hash: Option<&[u8; 32]>) {
    let path = &entry.path;
    match hash {
        Some(hash) if ui.volume() >= Volume::Everything => {
            let hash = packhorse_transfer::receipt_file::hex(hash);
            ui.say(format_args!("{hash}  {path}"));
        }
        _ => ui.at(Volume::Verbose, path),
    }
}

/// Prints the receipt.
fn show_receipt(ui: &Ui, receipt: &Receipt) {
    let arrived = receipt.files + receipt.directories + receipt.symlinks + receipt.kept;
    let title = match receipt.failed {
        0 => "All arrived and verified",
        _ if arrived == 0 => "Nothing arrived",
        _ => "Some of it arrived and verified",
    };
    ui.titled(title, "");
    for line in receipt_text::lines(receipt) {
        ui.say(line);
    }
}
