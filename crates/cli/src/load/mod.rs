//! `packhorse load`.

pub(crate) mod args;
mod drive;
mod ledger;
mod message;
mod open;
mod pace;
mod report;
mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use packhorse_frame::FrameSpec;
use packhorse_server::{Connection, Framing};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::json;
use crate::report::{Exit, Failure, after_data};
use crate::runtime;
use crate::ui::{Ui, Volume};
use crate::units;
use args::{Load, Rate};
use drive::{Outcome, Pace, Run, drive};
use ledger::Order;
use message::Shape;
use pace::{Gate, Schedule};
use report::Report;
use tally::Tally;

/// How long messages that were due in time may still be sent: what a full machine was late for counts as
/// latency, and is not left out.
const LATE: Duration = Duration::from_secs(1);

/// From when all connections are open to when the first message is due.
const RUN_UP: Duration = Duration::from_millis(20);

pub(crate) fn run(ui: &Ui, args: &Load) -> Result<Exit, Failure> {
    let spec = frame_of(args);
    let shape = Shape::new(spec, args.size).map_err(|error| {
        Failure::usage(
            error.to_string(),
            "packhorse load tcp://127.0.0.1:9090 --frame u32be --size 64",
        )
    })?;
    packhorse_endpoint::raise_descriptor_limit();
    open::check_descriptors(args.connections.get())?;
    let report = runtime::serving(load(ui, args, spec, shape))??;
    let notes = report.notes.clone();
    let troubles = [("wrong", notes.wrong), ("broken", notes.broken)];
    for (what, note) in troubles
        .into_iter()
        .filter_map(|(what, note)| Some((what, note?)))
    {
        ui.warn(format_args!("{what}, for the first time: {note}"));
    }
    let written = match args.json {
        true => json::line(&report.json()).and_then(|line| ui.data(line)),
        false => ui.data(report.text()),
    };
    after_data(written, report.exit())
}

/// Datagrams are messages as they are.
fn frame_of(args: &Load) -> FrameSpec {
    args.frame.unwrap_or_else(|| {
        let datagrams = args.endpoint.kind.socket_type().keeps_boundaries();
        match datagrams {
            true => FrameSpec::None,
            false => FrameSpec::Length(packhorse_frame::LengthType::U32Be),
        }
    })
}

/// How the server's answers are told apart. Without a frame a stream gives bytes as they come: as many as
/// were sent are a message.
fn framing_of(args: &Load, spec: FrameSpec, shape: &Shape) -> Framing {
    let stream = !args.endpoint.kind.socket_type().keeps_boundaries();
    let size = std::num::NonZeroUsize::new(shape.size());
    let spec = match (spec, size) {
        (FrameSpec::None, Some(size)) if stream => FrameSpec::Fixed(size),
        _ => spec,
    };
    Framing {
        spec,
        ..Framing::default()
    }
}

async fn load(ui: &Ui, args: &Load, spec: FrameSpec, shape: Shape) -> Result<Report, Failure> {
    let interrupted = runtime::interrupted();
    tokio::pin!(interrupted);
    let framing = framing_of(args, spec, &shape);
    let show = Progress::new(ui);
    let opening = open::open_all(&args.endpoint, &framing, args.connections.get(), |opened| {
        show.opened(opened, args.connections.get());
    });
    let connections = tokio::select! {
        opened = opening => opened?,
        () = &mut interrupted => return Err(Failure::interrupted()),
    };
    let size = shape.size();
    let run = Arc::new(Run {
        shape,
        tally: Tally::new(),
        over: AtomicBool::new(false),
        ending: watch::Sender::new(false),
        order: match args.endpoint.kind.is_connected() {
            true => Order::Kept,
            false => Order::Loose,
        },
    });
    let mut going = Going::start(&run, args, connections);
    let early = {
        let end = end_of(&run, going.schedule, going.start + args.duration);
        let watching = show.watch(&run, going.start, args.duration);
        tokio::select! {
            () = end => false,
            () = going.all_ended() => false,
            () = &mut interrupted => true,
            never = watching => never,
        }
    };
    let sending = going.start.elapsed().min(args.duration);
    let outcome = going.finish(&run).await;
    drop(show);
    let counts = run.tally.counts();
    let due = going.due(early);
    Ok(Report {
        endpoint: args.endpoint.clone(),
        frame: spec,
        connections: args.connections.get(),
        size,
        rate: args.rate,
        sending,
        counts,
        lost: outcome.lost,
        unsent: due.saturating_sub(counts.sent),
        broken: outcome.broken,
        notes: run.tally.notes().clone(),
        latency: run.tally.latency(),
        interrupted: early,
    })
}

/// Waits until no more is to be sent.
async fn end_of(run: &Run, schedule: Option<Schedule>, end: Instant) {
    tokio::time::sleep_until(end.into()).await;
    let due = schedule.map_or(0, |schedule| schedule.messages);
    while run.tally.counts().sent < due && end.elapsed() < LATE {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The connections of a run, at work.
struct Going {
    start: Instant,
    schedule: Option<Schedule>,
    gates: Vec<Arc<Gate>>,
    tasks: JoinSet<Outcome>,
    sum: Sum,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    lost: u64,
    broken: u64,
}

impl Going {
    fn start(run: &Arc<Run>, args: &Load, connections: Vec<Connection>) -> Self {
        let start = Instant::now() + RUN_UP;
        let schedule = match args.rate {
            Rate::PerSecond(rate) => {
                Some(Schedule::new(start, rate, args.connections, args.duration))
            }
            Rate::Max => None,
        };
        let mut gates = Vec::new();
        let mut tasks = JoinSet::new();
        for (number, connection) in (0..).zip(connections) {
            let pace = match schedule {
                None => Pace::Closed,
                Some(schedule) => {
                    let gate = Arc::new(Gate::default());
                    gates.push(Arc::clone(&gate));
                    Pace::Open(schedule, gate)
                }
            };
            tasks.spawn(drive(Arc::clone(run), number, connection, pace));
        }
        if let Some(schedule) = schedule {
            let (gates, run) = (gates.clone(), Arc::clone(run));
            std::thread::spawn(move || pace::keep(&schedule, &gates, &run.over));
        }
        Self {
            start,
            schedule,
            gates,
            tasks,
            sum: Sum::default(),
        }
    }

    async fn all_ended(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            let outcome = ended.unwrap_or(Outcome {
                lost: 0,
                broken: true,
            });
            self.sum.lost += outcome.lost;
            self.sum.broken += u64::from(outcome.broken);
        }
    }

    /// Lets nothing more be sent, and waits for what is under way.
    async fn finish(&mut self, run: &Run) -> Sum {
        run.over.store(true, Ordering::Release);
        run.ending.send_replace(true);
        for gate in &self.gates {
            gate.wake();
        }
        self.all_ended().await;
        self.sum
    }

    /// Messages that were due by the end.
    fn due(&self, early: bool) -> u64 {
        match (&self.schedule, early) {
            (Some(schedule), false) => schedule.messages,
            // What was due when somebody ended it: what the gates were opened for.
            (Some(_), true) => self.gates.iter().map(|gate| gate.due()).sum(),
            (None, _) => 0,
        }
    }
}

/// How far it is, on a terminal.
struct Progress {
    ui: Ui,
    bar: Option<ProgressBar>,
}

impl Progress {
    fn new(ui: &Ui) -> Self {
        let wanted = ui.is_terminal() && ui.volume() >= Volume::Normal;
        let bar = wanted.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
            if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                bar.set_style(style);
            }
            ui.attach(Some(bar.clone()));
            bar
        });
        Self {
            ui: ui.clone(),
            bar,
        }
    }

    fn opened(&self, opened: u32, of: u32) {
        if let Some(bar) = &self.bar {
            let (opened, of) = (units::count(opened.into()), units::count(of.into()));
            bar.set_message(format!("{opened} of {of} connections"));
        }
    }

    /// Never ends.
    async fn watch(&self, run: &Run, start: Instant, duration: Duration) -> bool {
        let Some(bar) = &self.bar else {
            return std::future::pending().await;
        };
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        loop {
            ticks.tick().await;
            let counts = run.tally.counts();
            bar.set_message(format!(
                "{} of {} s: {} sent, {} answered, {} wrong",
                start.elapsed().as_secs(),
                duration.as_secs(),
                units::count(counts.sent),
                units::count(counts.answered),
                units::count(counts.wrong),
            ));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            self.ui.attach(None);
            bar.finish_and_clear();
        }
    }
}
