//! Reading while somebody looks at what was read so far.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use packhorse_watch::packet::{Packet, Transport};
use packhorse_watch::stream::Streams;
use packhorse_watch::{Error, Limits, Packets, Source};

use super::store::Store;
use crate::watch::input::Input;

/// Conversations that are listed at most.
const STREAMS: usize = 1 << 16;

/// What was read so far.
pub(super) struct Loaded {
    pub(super) store: Store,
    pub(super) streams: Streams,
    pub(super) state: State,
    /// Grows with each frame.
    pub(super) frames: u64,
}

/// How far reading has come.
#[derive(Debug)]
pub(super) enum State {
    Reading,
    Done,
    /// There is no room for more.
    Full,
    Failed(Error),
}

/// The thread that reads.
pub(super) struct Loader {
    loaded: Arc<Mutex<Loaded>>,
    /// Somebody waits for the lock: the thread lets go for a moment.
    wanted: Arc<AtomicBool>,
    thread: JoinHandle<Input>,
}

impl Loader {
    /// Begins to read.
    pub(super) fn start(mut input: Input, store: Store) -> io::Result<Self> {
        let limits = Limits {
            streams: STREAMS,
            ..Limits::default()
        };
        let loaded = Arc::new(Mutex::new(Loaded {
            store,
            streams: Streams::new(&limits),
            state: State::Reading,
            frames: 0,
        }));
        let wanted = Arc::new(AtomicBool::new(false));
        let (shared, yields) = (loaded.clone(), wanted.clone());
        let thread = thread::Builder::new()
            .name("loader".to_owned())
            .spawn(move || {
                let end = load(&mut input, &shared, &yields, &limits);
                lock(&shared).state = end;
                input
            })?;
        Ok(Self {
            loaded,
            wanted,
            thread,
        })
    }

    /// What was read so far.
    pub(super) fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.wanted.store(true, Ordering::Relaxed);
        let guard = lock(&self.loaded);
        self.wanted.store(false, Ordering::Relaxed);
        guard
    }

    /// Whether the thread has ended, for whatever reason.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread's end. `None`: it has panicked.
    pub(super) fn join(self) -> (Option<Input>, State) {
        let input = self.thread.join().ok();
        let state = std::mem::replace(&mut lock(&self.loaded).state, State::Done);
        (input, state)
    }
}

fn lock(loaded: &Mutex<Loaded>) -> MutexGuard<'_, Loaded> {
    loaded.lock().unwrap_or_else(PoisonError::into_inner)
}

fn load(input: &mut Input, shared: &Mutex<Loaded>, wanted: &AtomicBool, limits: &Limits) -> State {
    let mut packets = Packets::new(limits);
    loop {
        let frame = match input.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => return State::Done,
            Err(error) => return State::Failed(error),
        };
        let piece = Packet::parse(&frame)
            .is_some_and(|packet| matches!(packet.transport, Transport::Fragment(_)));
        let packet = packets.read(&frame);
        let mut loaded = lock(shared);
        let Loaded { store, streams, .. } = &mut *loaded;
        let seen = packet.and_then(|packet| streams.handle(&frame, &packet));
        // What makes room is not listed any more.
        drop(streams.ended());
        if !store.push(&frame, seen, piece) {
            return State::Full;
        }
        loaded.frames += 1;
        drop(loaded);
        while wanted.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_micros(50));
        }
    }
}
