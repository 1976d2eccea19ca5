//! `packhorse connect`.

use std::time::{Duration, Instant};

use packhorse_endpoint::{Kind, connect_observed};
use packhorse_server::{Connection, Record};

use super::args::Connect;
use super::converse::{self, Plan, converse};
use super::ending::exit_of;
use super::input::Input;
use super::show::{Show, Tags};
use super::{cut_of, framing_of, style_of};
use crate::ledger::{self, Ledger};
use crate::report::{Exit, Failure};
use crate::runtime;
use crate::ui::Ui;

/// How long the end may take once it was asked for.
const GRACE: Duration = Duration::from_secs(1);

pub(crate) fn run(ui: &Ui, args: &Connect) -> Result<Exit, Failure> {
    runtime::end_at_the_latest(GRACE);
    runtime::until_interrupted(talk(ui, args))?
}

async fn talk(ui: &Ui, args: &Connect) -> Result<Exit, Failure> {
    let kind = args.endpoint.kind;
    let framing = framing_of(&args.manners);
    let show = Show::new(ui, style_of(&args.manners, &[kind], Tags::None), Tags::None);
    let ledger = Ledger::open(ui, args.manners.ledger.as_deref())?;
    let observer = ledger::observer(ledger.as_ref());
    let connected = connect_observed(&args.endpoint, observer.as_ref()).await?;
    let mut connection = Connection::of_client(connected, &framing);
    let _ = show.arrived(connection.peer());
    let plan = Plan::new(&args.manners, kind);
    let mut input = Input::open(ui, cut_of(&args.manners, kind));
    hint_at_goodbye(&show, &input, kind);
    let start = Instant::now();
    let outcome = converse(&mut connection, &mut input, &plan, &show).await;
    if outcome.is_ok() {
        // What was sent arrives, whatever the peer still says.
        let _ = connection.close().await;
    }
    drop(input);
    let _ = show.ended(&Record {
        peer: connection.peer().clone(),
        received: connection.received(),
        sent: connection.sent(),
        dropped: 0,
        duration: start.elapsed(),
        end: converse::end_of(&outcome),
    });
    exit_of(outcome)
}

fn hint_at_goodbye(show: &Show, input: &Input, kind: Kind) {
    if input.is_interactive() {
        show.tell(match kind {
            Kind::Udp => "Ctrl-D or 'q' ends it",
            _ => "Ctrl-D ends it",
        });
    }
}
