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
}

impl<T> WorkQueue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let inner = Mutex::new(Inner {
            jobs: VecDeque::with_capacity(capacity),
            closed: false,
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

    pub(crate) fn has_room(&self) -> bool {
        self.lock().jobs.len() < self.capacity
    }

    /// Adds a job; whoever adds has asked [`has_room`](Self::has_room).
    pub(crate) fn push(&self, job: T) {
        self.lock().jobs.push_back(job);
        self.filled.notify_one();
    }

    /// Waits until [`has_room`](Self::has_room).
    pub(crate) async fn room(&self) {
        while !self.has_room() {
            let emptied = self.emptied.notified();
            if self.has_room() {
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

    /// No job that waits is done any more.
    pub(crate) fn cancel(&self) {
        self.lock().jobs.clear();
        self.close();
    }

    /// The next job, where there is one at this moment.
    pub(crate) fn try_pop(&self) -> Option<T> {
        let job = self.lock().jobs.pop_front();
        self.notify_emptied(job)
    }

    /// The next job; `None` when there will be none.
    pub(crate) fn pop(&self) -> Option<T> {
        let waiting = |inner: &mut Inner<T>| inner.jobs.is_empty() && !inner.closed;
        let guard = self.filled.wait_while(self.lock(), waiting);
        let job = guard
            .unwrap_or_else(PoisonError::into_inner)
            .jobs
            .pop_front();
        self.notify_emptied(job)
    }

    fn notify_emptied(&self, job: Option<T>) -> Option<T> {
        if job.is_some() {
            self.emptied.notify_one();
        }
        job
    }
}
