//! Lanes as a picture.

use std::fmt::Write as _;

use super::{Lane, Lanes, Moment};
use crate::drawing::{self, escape};

/// Pixels: the picture's width, where the lanes begin, how wide a box is, the height of a row.
const WIDTH: u32 = 920;
const LANES: [u32; 3] = [90, 370, 650];
const BOX: u32 = 250;
const ROW: u32 = 24;
const TOP: u32 = 70;

/// Rows that are drawn at most: a picture with more cannot be read.
const MOST: usize = 400;

impl Lanes {
    /// Draws them as SVG, under a title. Needs nothing besides, is readable on light and dark ground.
    pub fn svg(&self, title: &str) -> String {
        let shown = self.moments.get(..MOST).unwrap_or(&self.moments);
        let lessons = self.lessons();
        let rows = u32::try_from(shown.len()).unwrap_or(u32::MAX);
        let notes = u32::try_from(lessons.len()).unwrap_or_default();
        let below = TOP + rows.saturating_mul(ROW) + 26;
        let mut svg = drawing::open(WIDTH, below + notes * 18 + 10);
        let _ = writeln!(
            svg,
            "<title>{0}</title>\n<text class=\"title\" x=\"16\" y=\"24\">{0}</text>",
            escape(title)
        );
        let heads = [
            format!("written by {}", self.writer),
            "on the wire".to_owned(),
            format!("read by {}", self.reader),
        ];
        for (x, head) in LANES.into_iter().zip(&heads) {
            let _ = writeln!(
                svg,
                "<text class=\"faint\" x=\"{x}\" y=\"52\">{}</text>",
                escape(head)
            );
        }
        // Lines first, so that boxes lie on them.
        for (row, moment) in (0..).zip(shown) {
            self.connect(row, moment, shown, &mut svg);
        }
        for (row, moment) in (0..).zip(shown) {
            self.draw(row, moment, &mut svg);
        }
        for (at, lesson) in (0..).zip(&lessons) {
            let y = below + at * 18;
            let _ = writeln!(svg, "<text x=\"16\" y=\"{y}\">{}</text>", escape(lesson));
        }
        svg + "</svg>\n"
    }

    fn draw(&self, row: u32, moment: &Moment, svg: &mut String) {
        let (x, y) = (LANES[moment.lane as usize], TOP + row * ROW);
        let class = match moment.lane {
            Lane::Written => "message",
            Lane::Wire if moment.writes.len() > 1 => "glued",
            Lane::Wire => "segment",
            Lane::Read if moment.writes.len() > 1 => "glued",
            Lane::Read => "read",
        };
        let micros = moment.time.since(self.begin).max(0) / 1000;
        let hover = match moment.tcp {
            Some((flight, cwnd)) => {
                format!("{flight} bytes not acknowledged, congestion window {cwnd} segments")
            }
            None => format!("{} bytes", moment.end.saturating_sub(moment.begin)),
        };
        let _ = writeln!(
            svg,
            "<g><title>{}</title>\n\
             <text class=\"time\" x=\"80\" y=\"{}\" text-anchor=\"end\">{}.{:06}</text>\n\
             <rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{BOX}\" height=\"{}\" rx=\"4\"/>\n\
             <text x=\"{}\" y=\"{}\">{}</text></g>",
            escape(&hover),
            y + 15,
            micros / 1_000_000,
            micros % 1_000_000,
            ROW - 4,
            x + 8,
            y + 15,
            escape(&moment.label())
        );
    }

    /// Lines from a segment to the writes that it has, and from a read to its segments.
    fn connect(&self, row: u32, moment: &Moment, shown: &[Moment], svg: &mut String) {
        let (from, wanted) = match moment.lane {
            Lane::Written => return,
            Lane::Wire => (Lane::Written, &moment.writes),
            Lane::Read => (Lane::Wire, &moment.carried),
        };
        for (other, source) in (0..).zip(shown) {
            if source.lane != from || !wanted.contains(&source.number) {
                continue;
            }
            let (x1, y1) = (LANES[from as usize] + BOX, TOP + other * ROW + 10);
            let (x2, y2) = (LANES[moment.lane as usize], TOP + row * ROW + 10);
            let _ = writeln!(
                svg,
                "<path d=\"M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}\"/>",
                x1 + 20,
                x2 - 20
            );
        }
    }
}

/// A page with pictures of lanes, each under its title. Needs nothing besides.
pub fn page(title: &str, pictures: &[(&str, String)]) -> String {
    let pictures: Vec<_> = pictures
        .iter()
        .map(|(title, svg)| (*title, svg.as_str()))
        .collect();
    drawing::page(title, &pictures)
}
