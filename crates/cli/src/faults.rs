//! What a test wants to happen to this process: only with the feature `faults`, see docs/faults.md.

#[cfg(feature = "faults")]
pub(crate) use packhorse_transfer::faults::reach;

#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn reach(_: &str) {}

#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn arm() {}

/// Takes PACKHORSE_FAULT: `list` prints every point with its side and ends, anything else is what is to happen. And
/// PACKHORSE_CHECKPOINTS: the milliseconds from one checkpoint to the next.
#[cfg(feature = "faults")]
#[allow(
    clippy::print_stdout,
    reason = "data for a test, before there is anything else"
)]
pub(crate) fn arm() {
    use packhorse_transfer::faults;
    if let Ok(milliseconds) = std::env::var("PACKHORSE_CHECKPOINTS") {
        let milliseconds = milliseconds.parse().expect("milliseconds");
        faults::checkpoint_every(std::time::Duration::from_millis(milliseconds));
    }
    match std::env::var("PACKHORSE_FAULT").as_deref() {
        Err(_) => {}
        Ok("list") => {
            for (side, point) in faults::points() {
                println!("{side} {point}");
            }
            std::process::exit(0);
        }
        Ok(plan) => faults::arm(plan),
    }
}
