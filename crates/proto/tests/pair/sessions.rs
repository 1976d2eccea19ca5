//! Whole sessions.

use packhorse_proto::entry::Kind;
use packhorse_proto::limits::Limits;
use packhorse_proto::manifest::ManifestRoot;
use packhorse_proto::message::Totals;
use packhorse_proto::receiver::Authentication;
use packhorse_proto::window::{Finished, Outcome};

use crate::dice::{Dice, play_seeds};
use crate::play::{Pair, Setup};
use crate::sending_side::TIMES;
use crate::tree::{file, random_tree};

fn random_limits(dice: &mut Dice) -> Limits {
    let mut limits = Limits::default();
    if dice.percent(70) {
        limits.window_entries = dice.within(1..6);
    }
    if dice.percent(50) {
        limits.window_bytes = *dice.pick(&[1, 60, 200, 5000]);
    }
    limits
}

fn random_setup(dice: &mut Dice, most_entries: usize) -> Setup {
    let most = dice.within(0..most_entries);
    Setup {
        limits: random_limits(dice),
        authentication: *dice.pick(&[Authentication::Code, Authentication::None]),
        tree: random_tree(dice, most),
        unlisted: dice.within(0..3) as u64,
        lanes: dice.within(1..5),
        grain: *dice.pick(&[3, 50, 1000, 100_000]),
        resumes: dice.percent(50),
    }
}

/// What the totals have to be, counted from what each entry became.
fn count(finished: &[Finished], failed: u64, resumed: u64) -> Totals {
    let mut totals = Totals {
        failed,
        resumed,
        ..Totals::default()
    };
    for entry in finished {
        match (&entry.outcome, &entry.entry.kind) {
            (Outcome::Kept, _) => totals.kept += 1,
            (Outcome::Failed(_), _) => totals.failed += 1,
            (Outcome::Stored, Kind::Directory) => totals.directories += 1,
            (Outcome::Stored, Kind::Symlink { .. }) => totals.symlinks += 1,
            (Outcome::Stored, Kind::File { size }) => {
                totals.files += 1;
                totals.bytes = totals.bytes.saturating_add(size.unwrap());
            }
        }
    }
    totals
}

fn root(finished: &[Finished]) -> [u8; 32] {
    let mut root = ManifestRoot::new();
    for entry in finished.iter().filter(|f| f.outcome == Outcome::Stored) {
        root.add(&entry.entry, entry.hash.as_ref());
    }
    root.finish()
}

/// Both lists are in order and tell the same, but for what crossed a withdrawal on its way.
fn compare(pair: &Pair, entries: usize) {
    let (sent, received) = (&pair.sender.finished, &pair.receiver.finished);
    assert_eq!((sent.len(), received.len()), (entries, entries));
    for (number, (sent, received)) in (0u64..).zip(sent.iter().zip(received)) {
        assert_eq!((sent.number, received.number), (number, number));
        assert_eq!(sent.entry.path, received.entry.path);
        assert_eq!(
            received.hash.is_some(),
            received.outcome == Outcome::Stored && matches!(received.entry.kind, Kind::File { .. })
        );
        match (&sent.outcome, &received.outcome) {
            (Outcome::Stored, _) | (_, Outcome::Stored) => assert_eq!(sent, received),
            (sent, received) if sent == received => {}
            _ => assert!(pair.sender.withdrawn.contains(&number)),
        }
    }
}

fn check(pair: &Pair, entries: usize, unlisted: u64) {
    compare(pair, entries);
    assert!(pair.receiver.manifest_ended);
    let handover = pair.receiver.handover.unwrap();
    assert_eq!(
        pair.sender.receipt,
        Some((handover.root, handover.totals, TIMES))
    );
    assert_eq!(handover.root, root(&pair.receiver.finished));
    let failed = unlisted + pair.receiver.flawed.len() as u64;
    let resumed = pair.receiver.resumed;
    assert_eq!(
        handover.totals,
        count(&pair.receiver.finished, failed, resumed)
    );
    assert!(pair.sender.resumed <= resumed);
    assert_eq!(pair.sender.flawed, pair.receiver.flawed);
    assert_eq!(pair.sender.aborted, None);
    assert_eq!(pair.receiver.aborted, None);
}

#[test]
fn both_sides_agree_however_the_session_is_cut_and_ordered() {
    play_seeds(1500, |dice| {
        let setup = random_setup(dice, 40);
        let (entries, unlisted) = (setup.tree.len(), setup.unlisted);
        let mut pair = Pair::new(setup);
        pair.play(dice);
        check(&pair, entries, unlisted);
    });
}

#[test]
fn a_large_tree_passes_windows_of_every_size() {
    play_seeds(12, |dice| {
        let mut setup = random_setup(dice, 10);
        setup.tree = (0..2000)
            .map(|n| file(&format!("file-{n:05}"), Some(n)))
            .collect();
        setup.grain = 100_000;
        let (entries, unlisted) = (setup.tree.len(), setup.unlisted);
        let mut pair = Pair::new(setup);
        pair.play(dice);
        check(&pair, entries, unlisted);
    });
}

#[test]
fn an_empty_tree_is_a_session_too() {
    let mut dice = Dice::new(1);
    let mut pair = Pair::new(Setup::default());
    pair.play(&mut dice);
    check(&pair, 0, 0);
    let (found, totals, _) = pair.sender.receipt.unwrap();
    assert_eq!((found, totals), (root(&[]), Totals::default()));
}

#[test]
fn the_root_does_not_depend_on_the_session() {
    let tree: Vec<_> = (0..9).map(|n| file(&format!("{n}"), Some(0))).collect();
    let roots = std::cell::RefCell::new(Vec::new());
    play_seeds(40, |dice| {
        let mut setup = random_setup(dice, 2);
        setup.tree = tree.clone();
        let mut pair = Pair::new(setup);
        pair.play(dice);
        if pair.receiver.count(|outcome| *outcome == Outcome::Stored) == 9 {
            roots.borrow_mut().push(pair.sender.receipt.unwrap().0);
        }
    });
    let mut roots = roots.into_inner();
    assert!(roots.len() > 3);
    roots.dedup();
    assert_eq!(roots.len(), 1);
}
