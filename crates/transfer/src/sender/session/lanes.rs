//! A sender's lanes as its control task sees them: how many there are, and what becomes of those that are lost.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use packhorse_endpoint as endpoint;
use packhorse_proto::message::{Failure, FailureClass};
use tokio::time::Instant;

use super::super::growth::{self, Bounds, Decision, Standing};
use super::super::losses::Next;
use super::super::outbox::{LaneReport, Task};
use super::super::pulse::ALIVE;
use super::super::sent::{Lost, SentList, What};
use super::super::shared::SendAgain;
use super::super::tail::Tail;
use super::{Session, proof};
use crate::error::Error;
use crate::event::{Event, LaneChange, Observer};

impl Session {
    pub(super) fn handle_report(
        &mut self,
        report: LaneReport,
        observer: &mut Observer,
    ) -> Result<(), Error> {
        match report {
            LaneReport::Contents(contents) => {
                for (number, content) in contents {
                    self.proto.content(number, content);
                }
            }
            LaneReport::Revised {
                number,
                attempt,
                size,
                before,
                metadata,
            } => {
                let known = &mut self.known.bytes_known;
                *known = known.saturating_sub(before).saturating_add(size);
                self.proto.revise(number, attempt, Some(size), metadata);
            }
            LaneReport::Withdrawn { number, failure } => self.proto.withdraw(number, failure),
            LaneReport::Opened(lane) => {
                self.lanes.one_opened();
                if self.losses.take_opening(lane).is_some() {
                    let change = LaneChange::Replaced;
                    observer(&Event::Lane { lane, change });
                }
            }
            LaneReport::NotOpened(lane, error) => self.handle_not_opened(lane, error)?,
            LaneReport::Ended {
                lane,
                outcome,
                sent,
            } => self.handle_ended(lane, outcome, *sent, observer)?,
        }
        Ok(())
    }

    fn handle_ended(
        &mut self,
        lane: u16,
        outcome: io::Result<()>,
        sent: SentList,
        observer: &mut Observer,
    ) -> Result<(), Error> {
        self.lanes.thread_ended(lane);
        let closed = self.losses.take_closed(lane);
        match (outcome, closed) {
            (Ok(()), None) => {
                self.losses.keep(lane, sent);
                self.lanes.one_ended();
                self.note_lanes_ended()
            }
            (outcome, Some(taken)) => {
                let error = outcome.err().unwrap_or(io::ErrorKind::UnexpectedEof.into());
                self.settle_lane(lane, sent, taken, error)
            }
            (Err(error), None) => {
                tell_lost(lane, &error, observer);
                self.proto.lane_lost(lane);
                self.losses.wait_for_answer(lane, sent, error);
                Ok(())
            }
        }
    }

    /// The receiver took so many values and ends of a lane, and takes no more.
    pub(super) fn handle_closed(
        &mut self,
        lane: u16,
        taken: u64,
        observer: &mut Observer,
    ) -> Result<(), Error> {
        if let Some(unanswered) = self.losses.take_unanswered(lane) {
            return self.settle_lane(lane, unanswered.sent, taken, unanswered.error);
        }
        let error: io::Error = io::ErrorKind::UnexpectedEof.into();
        if self.lanes.has_thread(lane) {
            tell_lost(lane, &error, observer);
            self.losses.note_closed(lane, taken);
            self.lanes.give_up(lane);
        } else if let Some(sent) = self.losses.take_ended(lane) {
            tell_lost(lane, &error, observer);
            // It was counted as ended.
            self.lanes.one_returned();
            return self.settle_lane(lane, sent, taken, error);
        }
        // Of others all has arrived.
        Ok(())
    }

    /// It is known of a lost lane what it carried: the rest is sent again, by another in its place where that is needed.
    fn settle_lane(
        &mut self,
        lane: u16,
        sent: SentList,
        taken: u64,
        error: io::Error,
    ) -> Result<(), Error> {
        self.proto.lane_carried(sent.sent(), taken)?;
        let Some(lost) = sent.lost(taken) else {
            return Err(Error::Lost(error));
        };
        let tasks = self.tasks_again(lost);
        self.outbox.queue.put_back(tasks);
        self.lanes.one_ended();
        if self.outbox.queue.is_done() {
            return self.note_lanes_ended();
        }
        match self.losses.vacate(lane, taken > 0) {
            Next::Later => Ok(()),
            Next::Never => self.go_on_with_fewer(error),
        }
    }

    /// What there is to do for what was lost.
    fn tasks_again(&mut self, lost: Vec<Lost>) -> Vec<Task> {
        let finished = self.outbox.finished();
        let mut tasks = Vec::new();
        for Lost {
            what,
            bytes,
            complete,
        } in lost
        {
            let whole = match what {
                What::File { job, .. } if job.number < finished => continue,
                What::File { job, tries } => {
                    tasks.push(Task::Again(job, tries));
                    complete
                }
                What::Extent { file, start, value } => match file.lose(start, value) {
                    SendAgain::Unwanted => {
                        // Of extents that were complete, nothing counts any more.
                        if value.is_none() {
                            self.outbox.bytes.fetch_sub(bytes, Ordering::Relaxed);
                        }
                        continue;
                    }
                    wanted => {
                        let same = |task: &Task| matches!(task, Task::Extents(other) if Arc::ptr_eq(other, &file));
                        if !tasks.last().is_some_and(same) {
                            tasks.push(Task::Extents(file));
                        }
                        wanted == SendAgain::WantedOfWhole
                    }
                },
                What::Stdin(number) => {
                    let text = "the connection that carried it broke, and what was read from standard input \
                                cannot be read again";
                    let failure = Failure::new(FailureClass::Unreadable, text);
                    self.proto.withdraw(number, failure);
                    continue;
                }
            };
            self.outbox.bytes.fetch_sub(bytes, Ordering::Relaxed);
            if whole {
                self.outbox.files.fetch_sub(1, Ordering::Relaxed);
            }
        }
        tasks
    }

    fn handle_not_opened(&mut self, lane: u16, error: io::Error) -> Result<(), Error> {
        self.lanes.thread_ended(lane);
        self.losses.take_closed(lane);
        self.lanes.one_opened();
        self.lanes.one_ended();
        let place = self.losses.take_opening(lane);
        if place.is_none() && self.lanes.has_running() {
            if let Some(growth) = &mut self.growth {
                growth.refused(Instant::now());
            }
            return Ok(());
        }
        if self.outbox.queue.is_done() {
            return self.note_lanes_ended();
        }
        match self.losses.vacate(place.unwrap_or(lane), false) {
            Next::Later => Ok(()),
            Next::Never => self.go_on_with_fewer(error),
        }
    }

    /// No lane can be had in the place of one that was lost.
    fn go_on_with_fewer(&mut self, error: io::Error) -> Result<(), Error> {
        if !self.lanes.has_running() {
            if !self.losses.take_place_of_ended() {
                return Err(Error::Lost(error));
            }
            self.open_lane()?;
            return Ok(());
        }
        if let Some(growth) = &mut self.growth {
            growth.refused(Instant::now());
        }
        Ok(())
    }

    /// Where no lane is left, all content is sent, or there is to be one for what is not: it may have come back from a lane
    /// that was lost when the others had ended.
    fn note_lanes_ended(&mut self) -> Result<(), Error> {
        if self.lanes.has_running() || self.losses.has_vacant() {
            return Ok(());
        }
        if self.outbox.queue.is_done() {
            self.proto.all_content_sent()?;
        } else {
            self.open_lane()?;
        }
        Ok(())
    }

    /// Opens lanes in the place of lost ones, and gives the session up where the receiver does not account for one.
    pub(super) fn look_at_losses(&mut self) -> Result<(), Error> {
        if let Some(error) = self.losses.overdue() {
            return Err(Error::Lost(error));
        }
        for lost in self.losses.take_vacant() {
            if self.lanes.room(self.most_lanes) == 0 {
                continue;
            }
            let lane = self.open_lane()?;
            self.losses.opening(lane, lost);
        }
        Ok(())
    }

    fn open_lane(&mut self) -> Result<u16, Error> {
        let another = proof(&mut self.keys, self.suite, self.session);
        let lane = self.lanes.open_another(another)?;
        self.proto.lane_opened(lane);
        Ok(lane)
    }

    /// Gives up lanes on which nothing moves while the control connection does.
    pub(super) fn look_for_standing_still(&mut self) {
        let now = Instant::now();
        if now < self.next_pulse {
            return;
        }
        self.next_pulse = now + Duration::from_secs(1);
        self.losses.forget(self.outbox.finished());
        let still = self.lanes.standing_still(now);
        if now.duration_since(self.heard_at) < ALIVE {
            still.into_iter().for_each(|lane| self.lanes.give_up(lane));
        }
    }

    /// Has lanes take no more that others will be done before.
    pub(super) fn look_at_tail(&mut self) {
        let Some(tail) = &mut self.tail else {
            return;
        };
        let now = Instant::now();
        let late = tail.look(now, &self.lanes.progress(), self.outbox.left());
        if let (Some(growth), false) = (&mut self.growth, late.is_empty()) {
            growth.some_retired(now);
        }
        late.into_iter().for_each(|lane| self.lanes.retire(lane));
    }

    /// What bounds the number of lanes, where the peer takes so many.
    pub(super) fn bounds(&self, peer: u16) -> Bounds {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Bounds {
            peer,
            cores: u16::try_from(cores).unwrap_or(u16::MAX),
            round_trip: self.round_trip,
            send_buffer: endpoint::largest_send_buffer(),
        }
    }

    /// Has lanes more, or less, as what was moved since the last look says.
    pub(super) fn look_at_lanes(&mut self, observer: &mut Observer) -> Result<(), Error> {
        let Some(growth) = &mut self.growth else {
            return Ok(());
        };
        // What only fills the buffer of a new connection is not moved yet.
        let bytes = self.outbox.bytes.load(Ordering::Relaxed);
        let bytes = bytes.saturating_sub(self.lanes.queued());
        let files = self.outbox.files.load(Ordering::Relaxed);
        // One that is on its way may yet fail: until then nobody knows how many there are.
        if self.lanes.is_opening() {
            growth.postpone(Instant::now());
            return Ok(());
        }
        let left = self.tail.as_ref().and_then(Tail::rest);
        let late = left.is_some_and(|left| growth.is_too_late(left));
        let standing = Standing {
            now: Instant::now(),
            work: growth::work(bytes, files),
            processor: Duration::from_nanos(self.outbox.stages.times().processor),
            lanes: self.lanes.taking(),
            waiting: self.outbox.queue.has_jobs() && !late,
            takes: self.lanes.room(self.most_lanes),
        };
        let decision = growth.look(standing);
        let lanes = growth.lanes();
        match decision {
            Decision::Stay => return Ok(()),
            Decision::Add(more) => {
                for _ in 0..more {
                    self.open_lane()?;
                }
            }
            Decision::Drop(less) => self.lanes.retire_some(less),
        }
        observer(&Event::Lanes {
            lanes,
            elapsed: self.authenticated_at.elapsed(),
        });
        Ok(())
    }
}

fn tell_lost(lane: u16, error: &io::Error, observer: &mut Observer) {
    let message = match error.kind() {
        io::ErrorKind::TimedOut => "it stood still: nothing came back on it".to_owned(),
        io::ErrorKind::UnexpectedEof => "it ended before its end".to_owned(),
        _ => error.to_string(),
    };
    let change = LaneChange::Lost { message };
    observer(&Event::Lane { lane, change });
}
