//! Points at which a test has a process die, or stop, so that every state of a session is one that a session has ended in.
//!
//! Only with the feature `faults`, which no release is built with. Without it [`reach`] is nothing.

/// The process is at the point of this name.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn reach(_: &str) {}

#[cfg(feature = "faults")]
pub(crate) use armed::reach;
#[cfg(feature = "faults")]
pub use armed::{POINTS, arm, strike};

#[cfg(feature = "faults")]
mod armed {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Mutex, OnceLock};

    use rustix::process::{Signal, getpid, kill_process};

    /// The points of this crate: all of them are a receiver's.
    pub const POINTS: &[&str] = &[
        "partial.made",
        "partial.begun",
        "reserve.before",
        "reserve.after",
        "write.after",
        "note.before",
        "note.after",
        "checkpoint.before",
        "checkpoint.noted",
        "checkpoint.after",
        "name.before",
        "name.after",
        "journal.removed",
        "link.before",
        "link.temporary",
        "link.after",
        "symlink.temporary",
        "directory.before",
        "rewrite.before",
        "rewrite.after",
        "roll.begun",
        "flush.before",
        "flush.after",
    ];

    /// What happens at a point.
    #[derive(Debug)]
    struct Fault {
        point: String,
        /// How often it is still passed before that.
        passes: AtomicU64,
        what: What,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum What {
        Signal(Signal),
        /// A bit of the bytes at hand is another one.
        Flip,
    }

    static PLAN: OnceLock<Vec<Fault>> = OnceLock::new();

    /// Two threads that come to a point at once are counted one by one.
    static TURN: Mutex<()> = Mutex::new(());

    /// Takes what is to happen: `NAME[:NTH[:stop|:flip]]`, several of them with commas between. Nth is 1 unless it is said,
    /// and dying is what happens unless it is to stop (SIGSTOP), or a bit of what is handed on is to be another one.
    ///
    /// # Panics
    /// The plan cannot be read: a test is wrong.
    pub fn arm(plan: &str) {
        let fault = |text: &str| {
            let mut words = text.split(':');
            let point = words.next().unwrap_or_default().to_owned();
            let nth = words.next().map_or(1, |nth| nth.parse().expect("a number"));
            let what = match words.next() {
                None => What::Signal(Signal::KILL),
                Some("stop") => What::Signal(Signal::STOP),
                Some("flip") => What::Flip,
                Some(other) => panic!("no fault is called {other}"),
            };
            Fault {
                point,
                passes: AtomicU64::new(nth - 1),
                what,
            }
        };
        let plan = plan.split(',').map(fault).collect();
        PLAN.set(plan).expect("it is armed once");
    }

    /// The process is at a point of this crate.
    pub(crate) fn reach(point: &str) {
        assert!(POINTS.contains(&point), "{point} is not in POINTS");
        strike(point);
    }

    /// The process is at a point that somebody has looked up. Answers whether a bit is to be another one.
    pub fn strike(point: &str) -> bool {
        let plan = PLAN.get().map_or(&[][..], Vec::as_slice);
        let mut flips = false;
        for fault in plan.iter().filter(|fault| fault.point == point) {
            let _turn = TURN.lock();
            match fault.passes.load(Ordering::Relaxed) {
                // Once: a process that was stopped goes on.
                u64::MAX => {}
                passes => {
                    fault
                        .passes
                        .store(passes.wrapping_sub(1), Ordering::Relaxed);
                    match fault.what {
                        // The kernel delivers it before this call returns.
                        What::Signal(signal) if passes == 0 => {
                            let _ = kill_process(getpid(), signal);
                        }
                        what => flips |= passes == 0 && what == What::Flip,
                    }
                }
            }
        }
        flips
    }
}
