//! Lanes as lines of text.

use super::{Lane, Lanes};

/// Columns for the time.
const TIME: usize = 12;

/// The narrowest a lane is drawn.
const NARROWEST: usize = 22;

impl Lanes {
    /// Draws them in so many columns.
    pub fn text(&self, columns: usize) -> Vec<String> {
        let width = (columns.saturating_sub(TIME) / 3).max(NARROWEST);
        let heads = [
            format!("written by {}", self.writer),
            "on the wire".to_owned(),
            format!("read by {}", self.reader),
        ];
        let heads = heads.map(|head| cell(&head, width));
        let mut lines = vec![format!("{:>TIME$}{}", "seconds  ", heads.concat())];
        for moment in &self.moments {
            let micros = moment.time.since(self.begin).max(0) / 1000;
            let time = format!("{}.{:06}  ", micros / 1_000_000, micros % 1_000_000);
            let before = match moment.lane {
                Lane::Written => 0,
                Lane::Wire => width,
                Lane::Read => 2 * width,
            };
            let label = moment.label();
            let room = if moment.lane == Lane::Read {
                label.len()
            } else {
                3 * width - before
            };
            lines.push(format!("{time:>TIME$}{:before$}{}", "", cell(&label, room)));
        }
        for line in &mut lines {
            line.truncate(line.trim_end().len());
        }
        lines
    }
}

/// A text in exactly so many columns.
fn cell(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return format!("{text:<width$}");
    }
    let kept: String = text.chars().take(width.saturating_sub(2)).collect();
    format!("{kept}… ")
}
