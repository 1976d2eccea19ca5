//! The three lanes as a picture.

use std::fmt::Write as _;

use super::{Lanes, OneWay};
use crate::Timestamp;
use crate::drawing::{self, escape};
use crate::stream::Direction;

/// Pixels: the picture's width, where the lanes begin, how wide a box is, the height of a row and of a line of
/// text.
const WIDTH: u32 = 920;
const LANES: [u32; 3] = [90, 370, 650];
const BOX: u32 = 250;
const ROW: u32 = 24;
const LINE: u32 = 18;
const TOP: u32 = 70;

/// Rows that are drawn at most: a picture with more cannot be read.
const MOST: usize = 400;

/// Characters in a line of the caption.
const CAPTION: usize = 108;

/// A box.
struct Drawn {
    time: Timestamp,
    lane: usize,
    class: &'static str,
    label: String,
    hover: String,
    /// The boxes of the lane before whose bytes it has, by their place there.
    from: Vec<usize>,
}

impl Lanes {
    /// Draws one direction as SVG, with a title above and a caption below. It needs nothing besides, and is
    /// readable on light and dark ground.
    pub fn svg(&self, direction: Direction, title: &str, caption: &str) -> String {
        let (way, writer, reader) = match direction {
            Direction::ToServer => (&self.to_server, self.client, self.server),
            Direction::ToClient => (&self.to_client, self.server, self.client),
        };
        let mut boxes = boxes(way);
        boxes.sort_by_key(|drawn| (drawn.time, drawn.lane));
        boxes.truncate(MOST);
        let caption = lines(caption);
        let below = TOP + rows(boxes.len()) * ROW + 26;
        let mut svg = drawing::open(WIDTH, below + rows(caption.len()) * LINE + 8);
        let title = escape(title);
        let _ = writeln!(
            svg,
            "<title>{title}</title>\n<text class=\"title\" x=\"16\" y=\"24\">{title}</text>"
        );
        let heads = [
            format!("written by {writer}"),
            "on the wire".to_owned(),
            format!("read by {reader}"),
        ];
        for (x, head) in LANES.into_iter().zip(&heads) {
            let head = escape(head);
            let _ = writeln!(
                svg,
                "<text class=\"faint\" x=\"{x}\" y=\"52\">{head}</text>"
            );
        }
        connect(&boxes, &mut svg);
        let begin = boxes.first().map(|first| first.time).unwrap_or_default();
        for (row, drawn) in (0..).zip(&boxes) {
            drawn.draw(row, begin, &mut svg);
        }
        for (at, line) in (0..).zip(&caption) {
            let y = below + at * LINE;
            let _ = writeln!(svg, "<text x=\"16\" y=\"{y}\">{}</text>", escape(line));
        }
        svg + "</svg>\n"
    }
}

/// A page of pictures, each under its title. It needs nothing besides.
pub fn page(title: &str, pictures: &[(String, String)]) -> String {
    let pictures: Vec<_> = pictures
        .iter()
        .map(|(title, svg)| (title.as_str(), svg.as_str()))
        .collect();
    drawing::page(title, &pictures)
}

fn rows(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX >> 8)
}

fn boxes(way: &OneWay) -> Vec<Drawn> {
    let mut boxes = Vec::new();
    boxes.extend((0..).zip(&way.writes).map(|(number, write): (usize, _)| {
        let call = &write.call;
        let flight = write
            .outstanding
            .map(|bytes| format!(", {bytes} bytes unacknowledged before it"));
        Drawn {
            time: call.time,
            lane: 0,
            class: "message",
            label: format!("write {number}: {} bytes", call.done()),
            hover: format!(
                "bytes {}..{}{}",
                call.offset,
                call.end(),
                flight.unwrap_or_default()
            ),
            from: Vec::new(),
        }
    }));
    boxes.extend(way.segments.iter().map(|segment| {
        let record = &segment.record;
        let again = if segment.is_resend() { ", again" } else { "" };
        Drawn {
            time: record.time,
            lane: 1,
            class: if segment.writes.len() > 1 {
                "glued"
            } else {
                "segment"
            },
            label: format!("frame {}: {} bytes{again}", record.frame, record.len),
            hover: format!("bytes {}..{}", record.offset, record.end()),
            from: segment.writes.clone().collect(),
        }
    }));
    boxes.extend((0..).zip(&way.reads).map(|(number, read): (usize, _)| {
        let call = &read.call;
        Drawn {
            time: call.ended(),
            lane: 2,
            class: if read.writes.len() > 1 {
                "glued"
            } else {
                "read"
            },
            label: format!("read {number}: {} bytes", call.done()),
            hover: format!(
                "bytes {}..{} of {} asked for",
                call.offset,
                call.end(),
                call.asked
            ),
            from: read.segments.clone(),
        }
    }));
    boxes
}

impl Drawn {
    fn draw(&self, row: u32, begin: Timestamp, svg: &mut String) {
        let (x, y) = (LANES[self.lane], TOP + row * ROW);
        let micros = self.time.since(begin).max(0) / 1000;
        let _ = writeln!(
            svg,
            "<g><title>{}</title>\n\
             <text class=\"time\" x=\"80\" y=\"{}\" text-anchor=\"end\">{}.{:06}</text>\n\
             <rect class=\"{}\" x=\"{x}\" y=\"{y}\" width=\"{BOX}\" height=\"{}\" rx=\"4\"/>\n\
             <text x=\"{}\" y=\"{}\">{}</text></g>",
            escape(&self.hover),
            y + 15,
            micros / 1_000_000,
            micros % 1_000_000,
            self.class,
            ROW - 4,
            x + 8,
            y + 15,
            escape(&self.label)
        );
    }
}

/// A line from each box to those whose bytes it has.
fn connect(boxes: &[Drawn], svg: &mut String) {
    // The row of each box, by its place in its lane: which is its order, but for times that are equal.
    let mut places: [Vec<u32>; 3] = Default::default();
    for (row, drawn) in (0..).zip(boxes) {
        places[drawn.lane].push(row);
    }
    for (row, drawn) in (0..).zip(boxes) {
        let Some(lane) = drawn.lane.checked_sub(1) else {
            continue;
        };
        for other in drawn
            .from
            .iter()
            .filter_map(|place| places[lane].get(*place))
        {
            let (x1, y1) = (LANES[lane] + BOX, TOP + other * ROW + 10);
            let (x2, y2) = (LANES[drawn.lane], TOP + row * ROW + 10);
            let (bend, back) = (x1 + 20, x2 - 20);
            let _ = writeln!(
                svg,
                "<path d=\"M{x1} {y1}C{bend} {y1} {back} {y2} {x2} {y2}\"/>"
            );
        }
    }
}

fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < CAPTION => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
