//! What all of these tests need.

use std::io;
use std::process::{Command, Output};

use packhorse_netlab::{Conditions, Lab, Side};

/// A lab, or `None` with a reason told where the machine does not allow one.
pub(crate) fn lab(rightward: Conditions, leftward: Conditions) -> Option<Lab> {
    match Lab::new(rightward, leftward) {
        Ok(lab) => Some(lab),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("skipped: network namespaces are not allowed here: {error}");
            None
        }
        Err(error) => panic!("no lab: {error}"),
    }
}

/// Runs a program at a side until it ends.
pub(crate) fn output(side: &Side, program: &'static str, arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.into()).collect();
    side.run(move || Command::new(program).args(arguments).output())
        .expect("the program starts")
}

/// A seed nobody has seen, or that which is to be repeated. A test that fails shows it.
pub(crate) fn seed() -> u64 {
    let asked = std::env::var("NETLAB_SEED").ok();
    let asked = asked.map(|seed| seed.parse().expect("NETLAB_SEED is a number"));
    let seed = asked.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("NETLAB_SEED={seed}");
    seed
}

/// That so many of so many are a share, as far as chance goes: five standard deviations of a binomial distribution,
/// and one more for those whose outcome is known too late.
pub(crate) fn assert_share(what: &str, count: usize, trials: usize, share: f64) {
    let (count, trials) = (count as f64, trials as f64);
    let bound = 5.0 * (trials * share * (1.0 - share)).sqrt() + 1.0;
    eprintln!("{what}: {count} of {trials}, {share} was asked for, ±{bound:.0}");
    assert!(
        (count - trials * share).abs() <= bound,
        "{what}: {count} of {trials} are not {share}"
    );
}
