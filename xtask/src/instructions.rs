//! Instruction counts of the inner loops under callgrind, held against a committed baseline.
//!
//! Counts do not shake on a busy machine; times do. They do differ between processors, because hash and cipher choose
//! their code by what there is: those loops are judged only where the processor has what the baseline's had.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::run::{cargo, find_program, top};
use crate::tools;

/// In percent: this much more than the baseline is a failure, this much less asks for a new baseline.
const TOLERANCE: u64 = 5;

/// Loops whose code depends on the processor, and what it needs (flags of /proc/cpuinfo).
const NEEDS: &[(&str, &[&str])] = &[
    ("hash_extent", &["avx2"]),
    ("append_to_journal", &["avx2"]),
    ("seal", &["avx2", "aes", "pclmulqdq"]),
    ("open", &["avx2", "aes", "pclmulqdq"]),
];

/// The version of the runner has to be that of the library.
const RUNNER: &str = "gungraun-runner@0.20.0";

/// Counts, and compares or saves.
pub(crate) fn instructions(save: bool) -> Result<()> {
    tools::ensure(tools::FOR_COUNTING)?;
    if find_program("valgrind").is_none() {
        println!("  nothing was counted: there is no valgrind");
        return Ok(());
    }
    let counted = count()?;
    let path = top().join("benches/baseline.json");
    if save {
        let text = serde_json::to_string_pretty(&counted)?;
        fs::write(&path, format!("{text}\n"))?;
        println!("  saved {} counts in {}", counted.len(), path.display());
        return Ok(());
    }
    let text = fs::read_to_string(&path).context("benches/baseline.json")?;
    let baseline: BTreeMap<String, u64> = serde_json::from_str(&text)?;
    compare(&counted, &baseline, &fs::read_to_string("/proc/cpuinfo")?)
}

/// Instructions of each loop, by its name.
fn count() -> Result<BTreeMap<String, u64>> {
    let runner = tools::from_package("gungraun-runner", RUNNER, "")?;
    let mut bench = cargo(["bench", "--locked", "--package", "packhorse-benches"]);
    bench.args(["--bench", "instructions", "--", "--output-format=json"]);
    let output = bench.env("GUNGRAUN_RUNNER", runner).output()?;
    ensure!(
        output.status.success(),
        "counting failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(one).collect()
}

/// A line of the runner's output: one loop.
fn one(line: &str) -> Result<(String, u64)> {
    let summary: Value = serde_json::from_str(line)?;
    let name = summary["function_name"].as_str();
    let count = &summary["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"]["new"];
    match (name, count.as_u64()) {
        (Some(name), Some(count)) => Ok((name.to_owned(), count)),
        _ => bail!("not a summary of gungraun: {line}"),
    }
}

fn compare(
    counted: &BTreeMap<String, u64>,
    baseline: &BTreeMap<String, u64>,
    processor: &str,
) -> Result<()> {
    let has = |flag: &&str| processor.split_whitespace().any(|word| word == *flag);
    let mut worse = Vec::new();
    for (name, &before) in baseline {
        let Some(&now) = counted.get(name) else {
            bail!("{name} was not counted: if it is gone, save a new baseline");
        };
        let needs = NEEDS.iter().find(|(loops, _)| loops == name);
        let comparable = needs.is_none_or(|(_, flags)| flags.iter().all(has));
        #[allow(clippy::cast_precision_loss, reason = "to be shown in percent")]
        let change = now as f64 / before as f64 - 1.0;
        let told = if comparable {
            ""
        } else {
            "  (another processor: not judged)"
        };
        println!("  {name:<18} {now:>10}  {:+6.2}%{told}", 100.0 * change);
        if comparable && 100 * now > (100 + TOLERANCE) * before {
            worse.push(format!("{name}: {:+.1}%", 100.0 * change));
        } else if comparable && 100 * now < (100 - TOLERANCE) * before {
            println!("  {name} has become better: save the new baseline with --save-baseline");
        }
    }
    let mut names = counted.keys();
    if let Some(name) = names.find(|name| !baseline.contains_key(*name)) {
        bail!("{name} has no baseline: save one with --save-baseline");
    }
    ensure!(
        worse.is_empty(),
        "more instructions than the baseline allows: {}; where that is meant: cargo xtask bench --instructions --save-baseline",
        worse.join(", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        let owned = pairs.iter().map(|&(name, count)| (name.to_owned(), count));
        owned.collect()
    }

    #[test]
    fn five_percent_more_fail_where_the_processor_is_the_same() {
        let baseline = counts(&[("seal", 1000), ("paths", 1000)]);
        let (same, other) = ("flags : avx2 aes pclmulqdq", "flags : sse2");
        let judge = |seal, paths, processor| {
            let counted = counts(&[("seal", seal), ("paths", paths)]);
            compare(&counted, &baseline, processor)
        };
        assert!(judge(1050, 1050, same).is_ok());
        assert!(judge(1051, 1000, same).is_err());
        assert!(judge(2000, 1000, other).is_ok());
        assert!(judge(1000, 1051, other).is_err());
        assert!(judge(100, 100, same).is_ok());
    }

    #[test]
    fn loops_that_come_or_go_are_noticed() {
        let (one, two) = (counts(&[("a", 1)]), counts(&[("a", 1), ("b", 1)]));
        assert!(compare(&one, &two, "").is_err());
        assert!(compare(&two, &one, "").is_err());
    }
}
