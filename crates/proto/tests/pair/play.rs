//! Both sides, what lies between them, and the clock.

use std::time::Duration;

use packhorse_proto::control::Violation;
use packhorse_proto::entry::Entry;
use packhorse_proto::limits::Limits;
use packhorse_proto::message::Assurance;
use packhorse_proto::receiver::Authentication;
use packhorse_proto::sender::SenderConfig;

use crate::dice::Dice;
use crate::link::{Lane, Link};
use crate::receiving_side::ReceivingSide;
use crate::sending_side::SendingSide;

/// Steps in which every session here has to be over; the longest takes a tenth of them.
const MOST_STEPS: usize = 400_000;

#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) now: Duration,
    pub(crate) sender: SendingSide,
    pub(crate) receiver: ReceivingSide,
    to_receiver: Link,
    to_sender: Link,
    lanes: Vec<Lane>,
    next_lane: u16,
    /// Bytes that a link carries at once, at most.
    grain: usize,
}

/// What a pair is made with.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) authentication: Authentication,
    pub(crate) tree: Vec<Entry>,
    pub(crate) unlisted: u64,
    pub(crate) lanes: usize,
    pub(crate) grain: usize,
    /// Whether the receiver has something of an earlier session.
    pub(crate) resumes: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            authentication: Authentication::None,
            tree: Vec::new(),
            unlisted: 0,
            lanes: 1,
            grain: 10_000,
            resumes: false,
        }
    }
}

impl Pair {
    pub(crate) fn new(setup: Setup) -> Self {
        let coded = setup.authentication == Authentication::Code;
        let config = SenderConfig {
            limits: Limits::default(),
            suites: if coded { vec![1, 2] } else { Vec::new() },
            share: coded.then_some([9; 32]),
            name: "dray".to_owned(),
            subdirectory: None,
            source: None,
            wanted: Assurance::default(),
        };
        let mut sender = SendingSide::new(config, setup.tree, setup.unlisted);
        (0..setup.lanes).for_each(|lane| sender.machine.lane_opened(u16::try_from(lane).unwrap()));
        Self {
            now: Duration::ZERO,
            sender,
            receiver: ReceivingSide::new(setup.limits, setup.authentication, setup.resumes),
            to_receiver: Link::default(),
            to_sender: Link::default(),
            next_lane: u16::try_from(setup.lanes).unwrap(),
            lanes: numbered(setup.lanes),
            grain: setup.grain,
        }
    }

    /// Something happens.
    pub(crate) fn step(&mut self, dice: &mut Dice) -> Result<(), Violation> {
        match dice.within(0..10) {
            0 | 1 => self.sender.act(dice, &mut self.lanes),
            2 | 3 => self.receiver.act(dice),
            4 | 5 => self.carry_to_receiver(dice)?,
            6 | 7 => self.carry_to_sender(dice)?,
            8 if dice.percent(3) && self.next_lane < 50 => self.lose_lane(dice),
            8 => {
                let lane = dice.within(0..self.lanes.len());
                self.receiver.handle_lane(&mut self.lanes[lane]);
            }
            _ => self.pass_time(Duration::from_millis(dice.within(0..120) as u64))?,
        }
        self.drain();
        Ok(())
    }

    /// What is on its way on a lane is gone, and another is opened in its place.
    fn lose_lane(&mut self, dice: &mut Dice) {
        let slot = dice.within(0..self.lanes.len());
        let number = self.next_lane;
        let lost = std::mem::replace(
            &mut self.lanes[slot],
            Lane {
                number,
                ..Lane::default()
            },
        );
        self.next_lane += 1;
        self.sender.machine.lane_opened(number);
        if dice.percent(70) {
            self.sender.lose_lane(lost.number);
        }
        if dice.percent(70) {
            self.receiver.lose_lane(lost.number);
        } else {
            self.sender.lose_lane(lost.number);
        }
    }

    pub(crate) fn carry_to_receiver(&mut self, dice: &mut Dice) -> Result<(), Violation> {
        let bytes = self.to_receiver.read(dice, self.grain);
        match bytes.is_empty() {
            true => Ok(()),
            false => self.receiver.machine.handle_bytes(&bytes, self.now),
        }
    }

    pub(crate) fn carry_to_sender(&mut self, dice: &mut Dice) -> Result<(), Violation> {
        let bytes = self.to_sender.read(dice, self.grain);
        match bytes.is_empty() {
            true => Ok(()),
            false => self.sender.machine.handle_bytes(&bytes, self.now),
        }
    }

    /// Advances the clock, and calls whom it may concern.
    pub(crate) fn pass_time(&mut self, time: Duration) -> Result<(), Violation> {
        self.now += time;
        let due = |at: Option<Duration>| at.is_some_and(|at| at <= self.now);
        if due(self.sender.machine.poll_timeout()) {
            self.sender.machine.handle_timeout(self.now)?;
        }
        if due(self.receiver.machine.poll_timeout()) {
            self.receiver.machine.handle_timeout(self.now)?;
        }
        Ok(())
    }

    /// What a caller does after every call: events, then bytes.
    pub(crate) fn drain(&mut self) {
        self.sender.drain(self.now);
        self.receiver.drain(self.now);
        let mut out = Vec::new();
        if self.sender.machine.poll_transmit(&mut out) {
            self.to_receiver.write(&out);
        }
        out.clear();
        if self.receiver.machine.poll_transmit(&mut out) {
            self.to_sender.write(&out);
        }
    }

    /// Plays until both sides are done.
    pub(crate) fn play(&mut self, dice: &mut Dice) {
        for _ in 0..MOST_STEPS {
            self.step(dice)
                .unwrap_or_else(|error| panic!("{error}: {self:?}"));
            if self.sender.is_done() && self.receiver.is_done() {
                return;
            }
        }
        panic!("no end in sight: {self:?}");
    }

    /// Carries whatever is on its way, both ways, without letting time pass or files move.
    pub(crate) fn settle_links(&mut self, dice: &mut Dice) -> Result<(), Violation> {
        self.drain();
        while !self.to_receiver.is_empty() || !self.to_sender.is_empty() {
            self.carry_to_receiver(dice)?;
            self.carry_to_sender(dice)?;
            self.drain();
        }
        Ok(())
    }

    /// What went to the receiver and to the sender.
    pub(crate) fn recorded(self) -> [Vec<u8>; 2] {
        [self.to_receiver.recorded, self.to_sender.recorded]
    }

    /// Plays until the receiver has accepted and the sender knows.
    pub(crate) fn open(&mut self, dice: &mut Dice) {
        for _ in 0..100 {
            self.settle_links(dice).unwrap();
            self.receiver.act(dice);
        }
        assert!(self.sender.machine.can_offer());
    }
}

fn numbered(lanes: usize) -> Vec<Lane> {
    let lanes = (0..lanes).map(|number| Lane {
        number: u16::try_from(number).unwrap(),
        ..Lane::default()
    });
    lanes.collect()
}
