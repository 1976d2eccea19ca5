//! Classic senders and receivers, ours and others'.

use std::path::Path;

use rustix::process::Signal;

use super::compare::{assert_nothing_left_over, assert_same_file, assert_untouched};
use super::peer::peer;
use super::process::{Ended, Packhorse, Running};
use super::surroundings::Ground;

/// A receiver of classic formats alone, which tells its events.
pub(crate) fn classic_recv(destination: &Path) -> Packhorse {
    Packhorse::recv(destination).without_code().arg("--classic")
}

/// A sender of a classic format, which tells its events.
pub(crate) fn classic_send(format: &str, file: &Path, to: &str) -> Packhorse {
    Packhorse::send(&[file], to)
        .without_code()
        .args(["--classic", format])
}

/// A client of another make; `None` where there is no Python.
pub(crate) fn python_send(test: &str, format: &str, file: &Path, to: &str) -> Option<Packhorse> {
    let python = peer(test, "classic_sender.py")?;
    Some(python.args([format, to]).arg(file))
}

/// A client that breaks rules, and how its connection ended.
pub(crate) fn hostile(test: &str, to: &str, scenario: &[&str]) -> Option<Packhorse> {
    let python = peer(test, "classic_hostile.py")?;
    Some(python.arg(to).args(scenario))
}

/// How a client of another make says that its connection ended.
pub(crate) fn how_it_ended(client: &Ended) -> String {
    client.expect_code(0);
    let ended = client.events_named("ended");
    let last = ended.last().expect("it tells how it ended");
    last["how"].as_str().expect("how is a string").to_owned()
}

/// The receiver is alive: a good file still arrives. Then nothing else is there.
#[track_caller]
pub(crate) fn assert_still_receives(
    format: &str,
    receiver: &mut Running,
    to: &str,
    ground: &Ground,
) {
    let file = ground.source_file("still good", "still good");
    let client = python_send("still receives", format, &file, to).expect("there is Python");
    client.run().expect_code(0);
    receiver.wait_for("file", |event| event["path"] == "still good");
    let arrived = ground.destination().join("still good");
    assert_same_file(&file, &arrived);
    std::fs::remove_file(arrived).expect("it is there");
    assert_untouched(&ground.destination());
}

/// Ends a receiver that goes on.
#[track_caller]
pub(crate) fn stop(receiver: Running, ground: &Ground) -> Ended {
    receiver.signal(Signal::INT);
    let ended = receiver.wait();
    ended.expect_code(0);
    assert_nothing_left_over(&ground.destination());
    ended
}
