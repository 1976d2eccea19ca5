//! What a server knows of a connection while its handler runs: whether it moves, and why it ends.
//!
//! The connection only leaves marks here, for the price of a store. The server looks at them from time to
//! time, and it alone reads a clock.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Why the server ends a connection whose handler still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cause {
    /// Nothing moved for too long.
    Idle = 1,
    /// A message began and did not get whole in time.
    Slow = 2,
    /// The server is ending.
    Drain = 3,
}

/// One connection, as it and its server see it.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Bytes moved since the server looked.
    moved: AtomicBool,
    /// A message is under way.
    begun: AtomicBool,
    /// Messages that got whole: tells the one under way from the one of the last look.
    whole: AtomicU32,
    cause: AtomicU8,
    cut: AtomicBool,
    wakers: Mutex<Wakers>,
}

/// Who hears of an end: the task that serves the connection, and whoever receives, which may be another
/// future within that task.
#[derive(Debug, Default)]
struct Wakers {
    task: Option<Waker>,
    receiver: Option<Waker>,
}

impl Watch {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Bytes moved.
    pub(crate) fn moved(&self) {
        self.moved.store(true, Ordering::Relaxed);
    }

    /// The message that is received now is not whole yet.
    pub(crate) fn begin_message(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// No message is under way.
    pub(crate) fn end_message(&self) {
        self.begun.store(false, Ordering::Relaxed);
        self.whole.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells the receiver that the connection ends, and why. The first cause stays.
    pub(crate) fn end(&self, cause: Cause) {
        let _ = self
            .cause
            .compare_exchange(0, cause as u8, Ordering::AcqRel, Ordering::Acquire);
        self.wake();
    }

    pub(crate) fn cause(&self) -> Option<Cause> {
        match self.cause.load(Ordering::Acquire) {
            1 => Some(Cause::Idle),
            2 => Some(Cause::Slow),
            3 => Some(Cause::Drain),
            _ => None,
        }
    }

    /// The handler did not heed the end: it is dropped where it is.
    fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        let wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        for waker in [&wakers.task, &wakers.receiver].into_iter().flatten() {
            waker.wake_by_ref();
        }
    }

    fn hear(&self, choose: impl FnOnce(&mut Wakers) -> &mut Option<Waker>, waker: &Waker) {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        let place = choose(&mut wakers);
        if !place.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *place = Some(waker.clone());
        }
    }

    /// Polls a handler. `None`: it was cut.
    ///
    /// Not an `async fn`, and neither is [`poll_unless_ended`](Self::poll_unless_ended): what such a
    /// function is given takes its room twice, for as long as it waits, in each of thousands of tasks.
    pub(crate) fn poll_unless_cut<T>(
        &self,
        context: &mut Context<'_>,
        handled: Pin<&mut impl Future<Output = T>>,
    ) -> Poll<Option<T>> {
        // The waker before the look, so that no cut is between them.
        self.hear(|wakers| &mut wakers.task, context.waker());
        match handled.poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if self.cut.load(Ordering::Acquire) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Polls for something to receive. `None`: there is nothing, and the server ends the connection.
    fn poll_unless_ended<T>(
        &self,
        context: &mut Context<'_>,
        something: Pin<&mut impl Future<Output = T>>,
    ) -> Poll<Option<T>> {
        if let Poll::Ready(something) = something.poll(context) {
            return Poll::Ready(Some(something));
        }
        // The waker before the look, so that no end is between them.
        self.hear(|wakers| &mut wakers.receiver, context.waker());
        match self.cause() {
            Some(_) => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// As [`Watch::poll_unless_ended`]; a client has nobody who watches it.
pub(crate) fn poll_unless_ended<T>(
    watch: Option<&Watch>,
    context: &mut Context<'_>,
    something: Pin<&mut impl Future<Output = T>>,
) -> Poll<Option<T>> {
    match watch {
        Some(watch) => watch.poll_unless_ended(context, something),
        None => something.poll(context).map(Some),
    }
}

/// How long a connection may do nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    /// Without a byte in either direction.
    pub(crate) idle: Option<Duration>,
    /// From a message's first byte to its last.
    pub(crate) message: Option<Duration>,
}

/// What the server saw of a connection, each time it looked. What happened between two looks counts from
/// the second: no deadline is ever early.
#[derive(Debug)]
pub(crate) struct Looks {
    watch: Arc<Watch>,
    deadlines: Deadlines,
    moved: Instant,
    /// Since when the message that follows so many whole ones is under way.
    begun: Option<(u32, Instant)>,
}

impl Looks {
    pub(crate) fn new(watch: Arc<Watch>, deadlines: Deadlines) -> Self {
        Self {
            watch,
            deadlines,
            moved: Instant::now(),
            begun: None,
        }
    }

    pub(crate) fn drain(&self) {
        self.watch.end(Cause::Drain);
    }

    /// Looks, and ends a connection whose time is over: first by telling its receiver, and the next time
    /// by dropping its handler.
    pub(crate) fn look(&mut self, now: Instant) {
        let overdue = self.overdue(now);
        match (self.watch.cause(), overdue) {
            (None, Some(cause)) => self.watch.end(cause),
            (Some(Cause::Idle | Cause::Slow), _) => self.watch.cut(),
            _ => {}
        }
    }

    fn overdue(&mut self, now: Instant) -> Option<Cause> {
        let over = |since: Instant, limit: Option<Duration>| {
            limit.is_some_and(|limit| now.saturating_duration_since(since) > limit)
        };
        if self.watch.moved.swap(false, Ordering::Relaxed) {
            self.moved = now;
        }
        let whole = self.watch.whole.load(Ordering::Relaxed);
        self.begun = match (self.watch.begun.load(Ordering::Relaxed), self.begun) {
            (false, _) => None,
            (true, Some((before, since))) if before == whole => Some((before, since)),
            (true, _) => Some((whole, now)),
        };
        match self.begun {
            Some((_, since)) if over(since, self.deadlines.message) => Some(Cause::Slow),
            _ => over(self.moved, self.deadlines.idle).then_some(Cause::Idle),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(idle: u64, message: u64) -> (Arc<Watch>, Looks, Instant) {
        let watch = Watch::new();
        let deadlines = Deadlines {
            idle: Some(Duration::from_secs(idle)),
            message: Some(Duration::from_secs(message)),
        };
        let looks = Looks::new(Arc::clone(&watch), deadlines);
        let start = looks.moved;
        (watch, looks, start)
    }

    #[test]
    fn what_moves_is_not_idle() {
        let (watch, mut looks, start) = looks(10, 100);
        let at = |seconds| start + Duration::from_secs(seconds);
        watch.moved();
        looks.look(at(9));
        looks.look(at(19));
        assert_eq!(watch.cause(), None);
        looks.look(at(20));
        assert_eq!(watch.cause(), Some(Cause::Idle));
        assert!(!watch.cut.load(Ordering::Acquire));
        looks.look(at(21));
        assert!(watch.cut.load(Ordering::Acquire));
    }

    #[test]
    fn one_message_is_slow_and_many_are_not() {
        let (watch, mut looks, start) = looks(100, 10);
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 0..30 {
            watch.begin_message();
            looks.look(at(second));
            watch.end_message();
            watch.begin_message();
        }
        assert_eq!(watch.cause(), None);
        looks.look(at(30));
        watch.moved();
        looks.look(at(41));
        assert_eq!(watch.cause(), Some(Cause::Slow));
    }
}
