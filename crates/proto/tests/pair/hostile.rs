//! Bytes of an attacker: no panic, and no memory that grows with what it sends.

use packhorse_proto::entry::Metadata;
use packhorse_proto::extent::{EXTENT_SIZE, Subtree};
use packhorse_proto::limits::Limits;
use packhorse_proto::message::{
    AbortCode, Assurance, Counters, Failure, FailureClass, Message, Text, Times, Totals, WindowSize,
};
use packhorse_proto::receiver::Authentication;

use crate::by_hand::{Side, bytes, receiving, sender_config};
use crate::dice::{Dice, play_seeds};
use crate::link::Lane;
use crate::play::{Pair, Setup};
use crate::receiving_side::ReceivingSide;
use crate::sending_side::SendingSide;
use crate::tree::{SIZES, metadata, random_tree};

fn limits() -> Limits {
    Limits {
        window_entries: 8,
        message: 1 << 10,
        ..Limits::default()
    }
}

/// What each side said in a session that went well: to the receiver, to the sender.
fn recorded(dice: &mut Dice) -> [Vec<u8>; 2] {
    let mut pair = Pair::new(Setup {
        limits: Limits {
            window_entries: 8,
            ..Limits::default()
        },
        authentication: *dice.pick(&[Authentication::Code, Authentication::None]),
        tree: random_tree(dice, 12),
        resumes: dice.percent(50),
        ..Setup::default()
    });
    pair.play(dice);
    pair.recorded()
}

fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..dice.within(1..6) {
        let at = dice.within(0..bytes.len().max(1)).min(bytes.len());
        match dice.within(0..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.within(0..8),
            1 if at < bytes.len() => bytes[at] = *dice.pick(&[0, 0xff, 0x1b, 0x5f, 0x9f, 0xbf]),
            2 => bytes.truncate(at),
            3 => {
                let piece = bytes[at..(at + 40).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let noise = dice.bytes(3);
                bytes.splice(at..at, noise);
            }
        }
    }
}

/// Feeds a receiver with a driver around it; whatever comes, it answers or refuses.
fn feed_receiver(bytes: &[u8], authentication: Authentication, dice: &mut Dice) {
    let mut side = ReceivingSide::new(limits(), authentication, dice.percent(50));
    for piece in bytes.chunks(dice.within(1..200)) {
        let refused = side
            .machine
            .handle_bytes(piece, Default::default())
            .is_err();
        side.drain(Default::default());
        for _ in 0..3 {
            side.act(dice);
        }
        if refused {
            assert!(matches!(
                side.machine.said()[..],
                [.., Message::Abort { .. }]
            ));
            return;
        }
        side.machine.take();
    }
}

fn feed_sender(bytes: &[u8], coded: bool, dice: &mut Dice) {
    let mut config = sender_config();
    if coded {
        (config.suites, config.share) = (vec![1, 2], Some([9; 32]));
    }
    let mut side = SendingSide::new(config, random_tree(dice, 12), 0);
    for piece in bytes.chunks(dice.within(1..200)) {
        let refused = side
            .machine
            .handle_bytes(piece, Default::default())
            .is_err();
        side.drain(Default::default());
        for _ in 0..3 {
            side.act(dice, &mut [Lane::default()]);
        }
        side.machine.take();
        if refused {
            return;
        }
    }
}

#[test]
fn any_bytes_are_refused_or_waited_on() {
    play_seeds(2000, |dice| {
        let mut noise = dice.bytes(300);
        // A small length, so that more than one message comes of it.
        noise[1..3].fill(0);
        feed_receiver(&noise, Authentication::None, dice);
        feed_sender(&noise, false, dice);
    });
}

#[test]
fn sessions_with_faults_in_them_never_panic() {
    play_seeds(60, |dice| {
        let [to_receiver, to_sender] = recorded(dice);
        for _ in 0..40 {
            let (mut one, mut other) = (to_receiver.clone(), to_sender.clone());
            mutate(&mut one, dice);
            mutate(&mut other, dice);
            let authentication = *dice.pick(&[Authentication::Code, Authentication::None]);
            feed_receiver(&one, authentication, dice);
            feed_sender(&other, authentication == Authentication::Code, dice);
        }
    });
}

/// A message that is well formed and need not make sense.
fn any_message(dice: &mut Dice) -> Message {
    let number = *dice.pick(&[0, 0, 1, 2, 3, 7, u64::MAX - 1, u64::MAX]);
    let failure = Failure::new(FailureClass::from_code(dice.bytes(1)[0]), "x");
    let (size, metadata): (_, Metadata) = (*dice.pick(&SIZES), metadata(dice));
    let (root, times) = ([0; 32], Times::default());
    match dice.within(0..19) {
        0 => Message::Entries {
            first: dice.within(0..9) as u64,
            entries: random_tree(dice, 4),
        },
        1 => Message::EntriesEnd { count: number },
        2 | 3 => Message::Revise {
            number,
            attempt: dice.bytes(1)[0] % 4,
            size,
            metadata,
        },
        4 => Message::Withdraw { number, failure },
        5 | 6 => Message::Settled {
            runs: vec![(number, *dice.pick(&[1, 2, 5, u64::MAX]))],
        },
        7 | 8 => Message::Kept { number },
        9 => Message::Failed { number, failure },
        10 => Message::Progress(Counters::default()),
        11 => Message::Close {
            root,
            unlisted: number,
            times,
        },
        12 => Message::Receipt {
            root,
            totals: Totals::default(),
            elapsed: number,
            sender: times,
            receiver: times,
            given: Assurance::default(),
        },
        13 => Message::Abort {
            code: AbortCode::from_code(dice.bytes(1)[0]),
            text: Text::new("x"),
        },
        14 => Message::Flawed {
            path: crate::tree::path(b"x"),
            failure,
        },
        15 => Message::Held {
            files: vec![(number, [7; 32])],
        },
        16 => Message::Partial {
            number,
            subtrees: vec![Subtree {
                offset: *dice.pick(&[0, EXTENT_SIZE, 4 * EXTENT_SIZE, u64::MAX]),
                length: *dice.pick(&[0, 5, EXTENT_SIZE, 2 * EXTENT_SIZE, u64::MAX]),
                value: [7; 32],
            }],
        },
        17 => Message::Missing {
            runs: vec![(number, *dice.pick(&[1, 2, 5, u64::MAX]))],
        },
        _ => Message::Bye,
    }
}

#[test]
fn messages_in_any_order_never_panic() {
    let window = WindowSize {
        entries: u32::MAX,
        bytes: u32::MAX,
    };
    play_seeds(4000, |dice| {
        let session = [0; 16];
        let mut to_receiver = bytes(&crate::by_hand::hello());
        to_receiver.extend(bytes(&Message::Offer {
            subdirectory: None,
            source: None,
            wanted: Assurance::default(),
        }));
        let mut to_sender = crate::by_hand::welcome(0, None);
        to_sender.extend(bytes(&Message::Accept {
            session,
            window,
            lanes: u16::MAX,
            resumes: dice.percent(50),
        }));
        for _ in 0..30 {
            let message = bytes(&any_message(dice));
            to_receiver.extend(&message);
            to_sender.extend(&message);
        }
        feed_receiver(&to_receiver, Authentication::None, dice);
        feed_sender(&to_sender, false, dice);
    });
}

#[test]
fn a_flood_of_what_may_be_skipped_leaves_nothing_behind() {
    let mut receiver = receiving(Limits::default());
    let flood = crate::by_hand::raw(200, &[0; 1000]);
    for _ in 0..10_000 {
        receiver.hear(&flood).unwrap();
    }
    assert_eq!(receiver.poll_event(), None);
    assert_eq!(receiver.said(), []);
}
