//! From arguments to an exit code: which verb runs.

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Verb};
use crate::report::{Exit, report};
use crate::ui::Ui;
use crate::{
    completions, demo, faults, load, pack, partials, recv, send, sockopt, talk, verify, watch,
};

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    faults::arm();
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
        Verb::Partials(partials) => partials::run(&ui, &partials),
        Verb::Connect(connect) => talk::connect::run(&ui, &connect),
        Verb::Listen(listen) => talk::listen::run(&ui, &listen),
        Verb::Watch(watch) => watch::run(&ui, &watch),
        Verb::Pack(args) => pack::pack(&ui, &args),
        Verb::Unpack(args) => pack::unpack(&ui, &args),
        Verb::Calcsize(args) => pack::calcsize(&ui, &args),
        Verb::Load(load) => load::run(&ui, &load),
        Verb::Demo(demo) => demo::run(&ui, demo),
        Verb::Sockopt(sockopt) => sockopt::run(&ui, &sockopt),
        Verb::Completions(completions) => completions::run(&ui, completions.shell),
    };
    let exit = result.unwrap_or_else(|failure| report(&ui, &failure));
    ExitCode::from(exit.code())
}
