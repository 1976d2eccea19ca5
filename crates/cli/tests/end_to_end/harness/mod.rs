//! What the tests stand on: processes with deadlines, trees with every oddity, and other people's
//! programs to judge by.

pub(crate) mod classic;
pub(crate) mod compare;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod surroundings;
pub(crate) mod tree;

pub(crate) use compare::{assert_same_file, assert_same_tree, assert_untouched};
pub(crate) use process::{CODE, Ended, Packhorse, Running};
pub(crate) use surroundings::{Ground, not_shown};

use std::path::Path;

/// Sends `sources` into `destination` with the code both know, and gives (sender, receiver).
pub(crate) fn transfer(sources: &[&Path], destination: &Path) -> (Ended, Ended) {
    let mut receiver = Packhorse::recv(destination).start();
    let sender = Packhorse::send(sources, &receiver.address()).run();
    (sender, receiver.wait())
}

/// Sends one tree and expects that all of it arrives.
#[track_caller]
pub(crate) fn transfer_whole(source: &Path, destination: &Path) -> (Ended, Ended) {
    let (sender, receiver) = transfer(&[source], destination);
    sender.expect_code(0);
    receiver.expect_code(0);
    (sender, receiver)
}
