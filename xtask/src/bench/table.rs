//! Medians, and what they are beside the others'.

use super::peers::{Moved, Peer};
use super::sets::Set;
use crate::measure::Spread;

/// One run.
pub(crate) struct Row {
    pub(crate) peer: Peer,
    pub(crate) moved: Moved,
    /// What did not arrive.
    pub(crate) lost: Vec<&'static str>,
}

/// What the others are compared with, in the columns of the table.
const BESIDE: [Peer; 5] = [
    Peer::Scp,
    Peer::ScpGcm,
    Peer::RsyncSsh,
    Peer::RsyncDaemon,
    Peer::Cp,
];

impl Row {
    /// What did not arrive, and what the program said of it, for a line; nothing where all is well.
    pub(crate) fn told(&self) -> String {
        let mut told = Vec::new();
        if !self.lost.is_empty() {
            told.push(format!("lost {}", self.lost.join(", ")));
        }
        told.extend(self.moved.complaint.map(|status| status.to_string()));
        told.join("; ")
    }

    /// Seconds of processor, both ends.
    fn processor(&self) -> f64 {
        let receiver = self.moved.receiver.map(|usage| usage.processor);
        (self.moved.sender.processor + receiver.unwrap_or_default()).as_secs_f64()
    }
}

/// Prints one set's table, and the commands.
pub(crate) fn print(set: Set, peers: &[Peer], rows: &[Row]) {
    let beside: Vec<Peer> = BESIDE
        .into_iter()
        .filter(|peer| peers.contains(peer))
        .collect();
    let of = |peer: Peer| rows.iter().filter(move |row| row.peer == peer);
    let wall = |peer: Peer| Spread::of(of(peer).map(|row| row.moved.wall.as_secs_f64()));
    let names: Vec<String> = beside
        .iter()
        .map(|peer| format!(" {} ÷ this |", peer.title()))
        .collect();
    println!(
        "\n| {set:?} | seconds: median (min to max) | CPU seconds, both ends | peak MiB, sender / receiver |{} shortcomings |",
        names.concat()
    );
    println!("|---|---|---|---|{}---|", "---|".repeat(beside.len()));
    for &peer in peers {
        let (Some(time), Some(processor)) = (wall(peer), Spread::of(of(peer).map(Row::processor)))
        else {
            continue;
        };
        let ratios = beside.iter().map(|&other| {
            let ratio = wall(other).map_or(f64::NAN, |other| other.median / time.median);
            format!(" {ratio:.2} |")
        });
        let shortcomings = of(peer).next().map(Row::told);
        println!(
            "| {} | {:.3} ({:.3} to {:.3}) | {:.2} ({:.2} to {:.2}) | {} |{} {} |",
            peer.title(),
            time.median,
            time.min,
            time.max,
            processor.median,
            processor.min,
            processor.max,
            memory(of(peer)),
            ratios.collect::<String>(),
            shortcomings.unwrap_or_default(),
        );
    }
    println!("\nCommands, with paths shortened:\n");
    for &peer in peers {
        for command in of(peer)
            .next()
            .into_iter()
            .flat_map(|row| &row.moved.commands)
        {
            println!("    {command}");
        }
    }
    println!();
}

fn memory<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let (mut sender, mut receiver) = (0, None);
    for row in rows {
        sender = sender.max(row.moved.sender.peak_memory);
        receiver = receiver.max(row.moved.receiver.map(|usage| usage.peak_memory));
    }
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20).to_string();
    let receiver = receiver.map_or_else(|| "-".to_owned(), mebibytes);
    format!("{} / {receiver}", mebibytes(sender))
}
