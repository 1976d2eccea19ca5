//! Work for lane threads, handed out in order by the control task.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A bounded queue: filled without blocking by a task, emptied by threads that may wait.
#[derive(Debug)]
pub(crate) struct WorkQueue<T> {
    inner: Mutex<Inner<T>>,
    filled: Condvar,
    emptied: Notify,
    capacity: usize,
}

#[derive(Debug)]
struct Inner<T> {
    jobs: VecDeque<T>,
    /// No more jobs come.
    closed: bool,
    /// What is under way is not wanted any more.
    cancelled: bool,
}

impl<T> WorkQueue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let inner = Mutex::new(Inner {
            jobs: VecDeque::with_capacity(capacity),
            closed: false,
            cancelled: false,
        });
        Self {
            inner,
            filled: Condvar::new(),
            emptied: Notify::new(),
            capacity,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // Nothing panics while it holds the lock, and a queue is whole at every moment.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many jobs it takes now.
    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.lock().jobs.len())
    }

    /// Adds jobs; whoever adds has asked for [`room`](Self::room).
    pub(crate) fn push(&self, jobs: impl IntoIterator<Item = T>) {
        let mut inner = self.lock();
        let before = inner.jobs.len();
        inner.jobs.extend(jobs);
        let added = inner.jobs.len() - before;
        drop(inner);
        match added {
            0 => {}
            1 => self.filled.notify_one(),
            _ => self.filled.notify_all(),
        }
    }

    /// Adds a job that a thread found while it did another, whether there is room or not: what waits for room is the
    /// one that fills the queue.
    pub(crate) fn share(&self, job: T) {
        self.lock().jobs.push_back(job);
        self.filled.notify_one();
    }

    /// Adds jobs before all others, whether there is room or not: they had been taken once.
    pub(crate) fn put_back(
        &self,
        jobs: impl IntoIterator<Item = T, IntoIter: DoubleEndedIterator>,
    ) {
        let mut inner = self.lock();
        for job in jobs.into_iter().rev() {
            inner.jobs.push_front(job);
        }
        drop(inner);
        self.filled.notify_all();
    }

    /// Whether there is nothing to do, now or later.
    pub(crate) fn is_done(&self) -> bool {
        let inner = self.lock();
        inner.closed && inner.jobs.is_empty()
    }

    /// Waits until half of it is free: whoever fills it does so for many jobs at once.
    pub(crate) async fn half_empty(&self) {
        while self.room() < self.capacity / 2 {
            let emptied = self.emptied.notified();
            if self.room() >= self.capacity / 2 {
                return;
            }
            emptied.await;
        }
    }

    /// No more jobs come: threads end when they have done what is there.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    /// Whether jobs wait.
    pub(crate) fn has_jobs(&self) -> bool {
        !self.lock().jobs.is_empty()
    }

    /// The sum over all jobs that there will be; `None` where some are not known yet.
    pub(crate) fn sum_of_all(&self, of: impl Fn(&T) -> u64) -> Option<u64> {
        let inner = self.lock();
        let sum = || inner.jobs.iter().map(of).fold(0, u64::saturating_add);
        inner.closed.then(sum)
    }

    /// No job that waits is done any more.
    pub(crate) fn cancel(&self) {
        let inner = &mut *self.lock();
        inner.jobs.clear();
        (inner.closed, inner.cancelled) = (true, true);
        self.filled.notify_all();
    }

    /// Whether it was [cancelled](Self::cancel).
    pub(crate) fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// The next job, where there is one at this moment.
    pub(crate) fn try_pop(&self) -> Option<T> {
        self.take_from(self.lock())
    }

    /// Has threads that wait look whether they still should.
    pub(crate) fn nudge(&self) {
        // Nobody is between looking and waiting while this holds the lock.
        drop(self.lock());
        self.filled.notify_all();
    }

    /// The next job; `None` when there will be none for this thread, or where it is to `stop`.
    pub(crate) fn pop(&self, stop: impl Fn() -> bool) -> Option<T> {
        let waiting = |inner: &mut Inner<T>| inner.jobs.is_empty() && !inner.closed && !stop();
        let guard = self.filled.wait_while(self.lock(), waiting);
        let inner = guard.unwrap_or_else(PoisonError::into_inner);
        if stop() {
            return None;
        }
        self.take_from(inner)
    }

    fn take_from(&self, mut inner: MutexGuard<'_, Inner<T>>) -> Option<T> {
        let job = inner.jobs.pop_front()?;
        let left = inner.jobs.len();
        drop(inner);
        if left == self.capacity - self.capacity / 2 {
            self.emptied.notify_one();
        }
        Some(job)
    }
}
