//! A ladder as a picture.

use std::fmt::Write as _;

use super::text::{Tone, tone};
use super::{Ladder, Rung, Step};
use crate::drawing::{self, escape};
use crate::stream::Direction;

/// Pixels: the picture's width, the lifelines, the height of a step and of a remark below it.
const WIDTH: u32 = 860;
const LEFT: u32 = 110;
const RIGHT: u32 = 840;
const STEP: u32 = 34;
const REMARK: u32 = 16;
/// What an arrow falls from one side to the other.
const FALL: u32 = 8;
const TOP: u32 = 56;

impl Ladder {
    /// Draws it as SVG. Needs nothing besides, is readable on light and dark ground.
    pub fn svg(&self) -> String {
        let mut body = String::new();
        let mut y = TOP;
        for step in &self.steps {
            y += match step {
                Step::Segment(rung) => self.draw_rung(rung, y, &mut body),
                Step::Folded(fold) => {
                    let middle = (LEFT + RIGHT) / 2;
                    let label = escape(&fold.label());
                    let _ = writeln!(
                        body,
                        "<text class=\"faint\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">⋮ {label}</text>",
                        y + 12
                    );
                    STEP - 4
                }
            };
        }
        let height = y + 24;
        let mut svg = drawing::open(WIDTH, height);
        let title = format!("Stream {}: {} and {}", self.id, self.client, self.server);
        let _ = writeln!(svg, "<title>{}</title>", escape(&title));
        for (x, anchor, end) in [(LEFT, "start", &self.client), (RIGHT, "end", &self.server)] {
            let _ = writeln!(
                svg,
                "<text class=\"title\" x=\"{x}\" y=\"26\" text-anchor=\"{anchor}\">{}</text>\n\
                 <line class=\"life\" x1=\"{x}\" y1=\"38\" x2=\"{x}\" y2=\"{}\"/>",
                escape(&end.to_string()),
                height - 8
            );
        }
        svg + &body + "</svg>\n"
    }

    /// Draws one, and tells how much room it took.
    fn draw_rung(&self, rung: &Rung, y: u32, body: &mut String) -> u32 {
        let class = match tone(rung) {
            Tone::Control => "control",
            Tone::Trouble => "trouble",
            Tone::Reset => "reset",
            Tone::Title | Tone::Plain | Tone::Faint => "plain",
        };
        let micros = rung.segment.time.since(self.begin) / 1000;
        let time = format!(
            "{:.6}",
            std::time::Duration::from_micros(micros.unsigned_abs()).as_secs_f64()
        );
        let sign = if micros < 0 { "-" } else { "" };
        let (from, to) = match rung.segment.direction {
            Direction::ToServer => (LEFT, RIGHT),
            Direction::ToClient => (RIGHT, LEFT),
        };
        let (line, text) = (y + 12, y + 8);
        let middle = (LEFT + RIGHT) / 2;
        let hover = hover(rung);
        let _ = writeln!(
            body,
            "<g class=\"{class}\"><title>{hover}</title>\n\
             <text class=\"time\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{sign}{time}</text>\n\
             <line x1=\"{from}\" y1=\"{line}\" x2=\"{to}\" y2=\"{}\" marker-end=\"url(#point)\"/>\n\
             <text x=\"{middle}\" y=\"{text}\" text-anchor=\"middle\">{}</text>",
            LEFT - 10,
            line + 4,
            line + FALL,
            escape(&rung.label)
        );
        let mut room = STEP;
        for remark in rung.part.iter().chain(&rung.remarks) {
            let _ = writeln!(
                body,
                "<text class=\"remark\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                y + room,
                escape(remark)
            );
            room += REMARK;
        }
        body.push_str("</g>\n");
        room + if room > STEP { 4 } else { 0 }
    }
}

/// What a pointer that rests on it is told.
fn hover(rung: &Rung) -> String {
    let segment = &rung.segment;
    escape(&format!(
        "frame {}, seq {}, ack {}, window {}, {} bytes of payload, packet of {} bytes",
        segment.frame,
        segment.sequence,
        segment.acknowledgment,
        segment.window,
        segment.len,
        segment.packet_len
    ))
}
