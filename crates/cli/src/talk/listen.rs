//! `packhorse listen`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use packhorse_endpoint::{Bound, CallObserver, Kind, bind};
use packhorse_server::{Connection, Event, Handler, HandlerError, Limits, Served, Server};
use tokio::sync::{Notify, mpsc};

use super::args::Listen;
use super::chat::{Chat, Over};
use super::converse::{self, Broken, Ending, Plan, converse};
use super::ending::exit_of;
use super::input::{Cut, Input};
use super::show::{Show, Tags};
use super::{cut_of, framing_of, style_of};
use crate::ledger::{self, Ledger};
use crate::report::{Exit, Failure};
use crate::runtime;
use crate::ui::Ui;

/// How long the end may take when connections have drained.
const GRACE: Duration = Duration::from_secs(1);

pub(crate) fn run(ui: &Ui, args: &Listen) -> Result<Exit, Failure> {
    let builtin = args.builtin().map_err(|error| {
        Failure::usage(
            error.to_string(),
            "packhorse listen tcp://127.0.0.1:9090 --handler echo",
        )
    })?;
    let frame = args.manners.frame;
    if let Some(builtin) = builtin.as_ref().filter(|builtin| builtin.sends_any_bytes())
        && !frame.carries_any_bytes()
    {
        return Err(Failure::usage(
            format!("--frame {frame} cannot carry whatever bytes the handler {builtin} sends"),
            "leave --frame out, so that bytes cross as they are, or use one with a length, as u32be",
        ));
    }
    packhorse_endpoint::raise_descriptor_limit();
    runtime::end_at_the_latest(args.drain.saturating_add(GRACE));
    let ledger = Ledger::open(ui, args.manners.ledger.as_deref())?;
    let calls = ledger::observer(ledger.as_ref());
    let calls = calls.as_ref();
    runtime::serving(async {
        match builtin {
            Some(builtin) if args.once => once(ui, args, Some(builtin), calls).await,
            Some(builtin) => {
                let show = show_of(ui, args, Tags::Peers);
                let bound = bind_all(args, calls).await?;
                let observer = move |event: Event| show.event(&event);
                serve(args, bound, observer, builtin, runtime::interrupted()).await;
                Ok(Exit::Done)
            }
            None if args.once => once(ui, args, None, calls).await,
            None => chat(ui, args, calls).await,
        }
    })?
}

/// Who is told of calls on sockets.
type Calls<'a> = Option<&'a Arc<dyn CallObserver>>;

fn kinds(args: &Listen) -> Vec<Kind> {
    args.endpoints
        .iter()
        .map(|endpoint| endpoint.kind)
        .collect()
}

fn show_of(ui: &Ui, args: &Listen, tags: Tags) -> Show {
    Show::new(ui, style_of(&args.manners, &kinds(args), tags), tags)
}

async fn bind_all(args: &Listen, calls: Calls<'_>) -> Result<Vec<Bound>, Failure> {
    let mut bound = Vec::new();
    for endpoint in &args.endpoints {
        bound.extend(bind(endpoint).await?);
    }
    if let Some(calls) = calls {
        bound
            .iter_mut()
            .for_each(|bound: &mut Bound| bound.observe(calls));
    }
    Ok(bound)
}

async fn serve(
    args: &Listen,
    bound: Vec<Bound>,
    observer: impl Fn(Event) + Send + Sync + 'static,
    handler: impl Handler,
    stop: impl Future<Output = ()>,
) -> Served {
    let limit = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let limits = Limits {
        connections: if args.once {
            1
        } else {
            limit(args.max_connections)
        },
        per_address: limit(args.max_per_address),
        idle: args.manners.idle_timeout,
        message: args.message_timeout,
        drain: args.drain,
    };
    Server::new(bound)
        .framing(framing_of(&args.manners))
        .limits(limits)
        .observer(observer)
        .serve(handler, stop)
        .await
}

/// Everybody who comes, and one keyboard.
async fn chat(ui: &Ui, args: &Listen, calls: Calls<'_>) -> Result<Exit, Failure> {
    let show = show_of(ui, args, Tags::Peers);
    let bound = bind_all(args, calls).await?;
    let greeting = args.greet.clone().map(Into::into);
    let chat = Chat::new(args.manners.clone(), show.clone(), greeting);
    let input = Input::open(ui, Cut::Lines(args.manners.max_message));
    let keyboard = {
        let chat = chat.clone();
        async move {
            match chat.keyboard(input).await {
                Over::Quit => None,
                Over::EndOfInput => std::future::pending().await,
                Over::Failed(error) => Some(Failure::local("cannot read standard input", &error)),
            }
        }
    };
    let (failed, mut failure) = mpsc::channel(1);
    let interrupted = runtime::interrupted();
    let stop = async {
        tokio::select! {
            ended = keyboard => if let Some(ended) = ended {
                let _ = failed.try_send(ended);
            },
            () = interrupted => {}
        }
    };
    let observer = move |event: Event| show.event(&event);
    serve(args, bound, observer, chat, stop).await;
    failure.try_recv().map_or(Ok(Exit::Done), Err)
}

/// One connection, then the end.
async fn once(
    ui: &Ui,
    args: &Listen,
    builtin: Option<packhorse_server::Builtin>,
    calls: Calls<'_>,
) -> Result<Exit, Failure> {
    let show = show_of(ui, args, Tags::None);
    let bound = bind_all(args, calls).await?;
    let outcome = Outcome::default();
    let once = Once {
        args: OnceArgs {
            manners: args.manners.clone(),
            greet: args.greet.clone(),
            ui: ui.clone(),
            show: show.clone(),
        },
        builtin,
        outcome: Arc::clone(&outcome),
    };
    // Not before the connection's record is written: a server that is told to end drains.
    let over = Arc::new(Notify::new());
    let ended = Arc::clone(&over);
    let observer = move |event: Event| {
        show.event(&event);
        if matches!(event, Event::Ended(_)) {
            ended.notify_one();
        }
    };
    let interrupted = runtime::interrupted();
    let stop = async {
        tokio::select! {
            () = over.notified() => {}
            () = interrupted => {}
        }
    };
    serve(args, bound, observer, once, stop).await;
    let outcome = outcome.lock().ok().and_then(|mut outcome| outcome.take());
    outcome.map_or_else(|| Err(Failure::interrupted()), exit_of)
}

/// How the one conversation ended, once it has.
type Outcome = Arc<Mutex<Option<Result<Ending, Broken>>>>;

/// Serves the first who comes, and says how that ended.
struct Once {
    args: OnceArgs,
    builtin: Option<packhorse_server::Builtin>,
    outcome: Outcome,
}

struct OnceArgs {
    manners: super::args::Manners,
    greet: Option<String>,
    ui: Ui,
    show: Show,
}

impl Handler for Once {
    async fn handle(&self, connection: &mut Connection) -> Result<(), HandlerError> {
        if self.outcome.lock().is_ok_and(|outcome| outcome.is_some()) {
            return Ok(());
        }
        let outcome = match &self.builtin {
            Some(builtin) => by_handler(builtin, connection).await,
            None => self.args.by_hand(connection).await,
        };
        let result = outcome
            .as_ref()
            .map_or_else(converse::as_handler, |_| Ok(()));
        if let Ok(mut kept) = self.outcome.lock() {
            *kept = Some(outcome);
        }
        result
    }
}

async fn by_handler(
    builtin: &packhorse_server::Builtin,
    connection: &mut Connection,
) -> Result<Ending, Broken> {
    match builtin.handle(connection).await {
        Ok(()) => Ok(Ending::Here),
        Err(HandlerError::Connection(error)) => Err(error.into()),
        Err(error) => Err(Broken::Connection(packhorse_server::ConnectionError::Io(
            std::io::Error::other(error.to_string()),
        ))),
    }
}

impl OnceArgs {
    async fn by_hand(&self, connection: &mut Connection) -> Result<Ending, Broken> {
        let kind = connection.peer().kind;
        let plan = Plan::new(&self.manners, kind);
        if let Some(greeting) = &self.greet {
            connection.send(greeting.clone().into()).await?;
            let sent = self.show.sent(connection.peer(), 0, greeting.as_bytes());
            sent.map_err(Broken::Output)?;
        }
        let mut input = Input::open(&self.ui, cut_of(&self.manners, kind));
        converse(connection, &mut input, &plan, &self.show).await
    }
}
