//! The selected frame: its layers as a tree, and its bytes.

use std::collections::HashSet;
use std::ops::Range;

use packhorse_transfer::Escaped;
use packhorse_watch::Limits;
use packhorse_watch::dissect::{Bytes, Context, Dissection, Field, Layer, dissect};
use ratatui::Frame as Drawing;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::cursor::Cursor;
use super::keyboard::Key;
use super::packets::selected;
use super::store::{Entry, Store};
use crate::watch::layers;

/// Pieces of a packet that are looked for before the frame that completes it: 64 KiB in pieces of 576 bytes.
const PIECES: usize = 128;

/// A frame, taken apart.
#[derive(Debug, Default)]
pub(super) struct Detail {
    /// The id of the frame, and its bytes.
    of: Option<u64>,
    data: Vec<u8>,
    dissection: Dissection,
    /// Layers that are open though they are not the innermost, or closed though they are.
    toggled: HashSet<&'static str>,
    tree: Cursor,
    bytes: Cursor,
}

/// A row of the tree.
struct Row {
    text: String,
    bytes: Range<usize>,
    of: Bytes,
    /// The layer that it opens and closes.
    layer: Option<&'static str>,
}

impl Detail {
    /// Takes a frame apart, unless it is the one that was.
    pub(super) fn show(&mut self, selected: Option<(u64, &Entry)>, store: &Store) {
        let Some((id, entry)) = selected else {
            *self = Self {
                toggled: std::mem::take(&mut self.toggled),
                ..Self::default()
            };
            return;
        };
        if self.of == Some(id) {
            return;
        }
        let mut context = Context::new(&Limits::default());
        if entry.is_piece() {
            for piece in store.pieces_before(id, PIECES) {
                dissect(&store.frame(piece, &mut self.data), &mut context);
            }
        }
        let frame = store.frame(entry, &mut self.data);
        self.dissection = dissect(&frame, &mut context);
        self.of = Some(id);
        self.tree.selected = 0;
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let layers = &self.dissection.layers;
        for (index, layer) in layers.iter().enumerate() {
            let open = (index + 1 == layers.len()) != self.toggled.contains(layer.protocol);
            let mark = if open { "▾" } else { "▸" };
            rows.push(Row {
                text: format!("{mark} {}", title(layer)),
                bytes: layer.header.clone(),
                of: layer.of,
                layer: Some(layer.protocol),
            });
            if open {
                fields(&layer.fields, layer.of, 4, &mut rows);
                rows.extend(layer.notes.iter().map(|note| Row {
                    text: format!("    ({})", Escaped(note.as_bytes())),
                    bytes: 0..0,
                    of: layer.of,
                    layer: None,
                }));
            }
        }
        rows
    }

    /// Moves in the tree, opens and closes.
    pub(super) fn tree_key(&mut self, key: Key) -> bool {
        let rows = self.rows();
        let sideways = matches!(key, Key::Left | Key::Right | Key::Char('h' | 'l'));
        if !sideways && self.tree.key(key, rows.len()) {
            return true;
        }
        // From a field to its layer.
        let upto = rows.get(..=self.tree.selected).unwrap_or_default();
        let title = upto.iter().rposition(|row| row.layer.is_some());
        let Some((at, layer)) = title.and_then(|at| Some((at, rows.get(at)?.layer?))) else {
            return false;
        };
        let next = rows.get(at + 1);
        let open = rows.get(at).is_some_and(|row| row.text.starts_with('▾')) && next.is_some();
        let toggle = match key {
            Key::Enter => true,
            Key::Left | Key::Char('h') => open,
            Key::Right | Key::Char('l') => !open,
            _ => return false,
        };
        if toggle {
            if !self.toggled.remove(layer) {
                self.toggled.insert(layer);
            }
            self.tree.selected = at;
        }
        true
    }

    /// Moves in the bytes.
    pub(super) fn bytes_key(&mut self, key: Key) -> bool {
        self.bytes.key(key, self.data.len().div_ceil(ROW))
    }

    pub(super) fn draw_tree(&mut self, drawing: &mut Drawing<'_>, area: Rect, focus: bool) {
        let rows = self.rows();
        let window = self.tree.window(rows.len(), usize::from(area.height));
        let lines = rows
            .iter()
            .enumerate()
            .skip(window.start)
            .take(window.len());
        let lines = lines.map(|(index, row)| {
            let mut style = match row.layer {
                Some(_) => Style::new().add_modifier(Modifier::BOLD),
                None => Style::new(),
            };
            if index == self.tree.selected {
                style = selected(style, focus);
            }
            Line::styled(row.text.as_str(), style)
        });
        drawing.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
    }

    /// The bytes, with those of the tree's row marked.
    pub(super) fn draw_bytes(&mut self, drawing: &mut Drawing<'_>, area: Rect, focus: bool) {
        let rows = self.rows();
        let marked = rows.get(self.tree.selected);
        let whole = marked.is_some_and(|row| row.of == Bytes::Whole);
        let data = match &self.dissection.whole {
            Some(data) if whole => data,
            _ => &self.data,
        };
        let marks = marked.map(|row| row.bytes.clone()).unwrap_or_default();
        if !focus {
            self.bytes.selected = marks.start / ROW;
        }
        let window = self
            .bytes
            .window(data.len().div_ceil(ROW), usize::from(area.height));
        let lines = window.map(|row| {
            let from = row * ROW;
            let bytes = data
                .get(from..data.len().min(from + ROW))
                .unwrap_or_default();
            hex_row(from, bytes, &marks)
        });
        drawing.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
    }
}

/// What a layer is, in half a screen.
fn title(layer: &Layer) -> String {
    let level = layer.level;
    let protocol = Escaped(layer.protocol.as_bytes()).to_string();
    let (header, sdu) = (layer.header.len(), layer.sdu.len());
    format!(
        "{} {protocol} {}: header {header}, SDU {sdu}",
        level.osi(),
        level.pdu()
    )
}

fn fields(from: &[Field], of: Bytes, indent: usize, rows: &mut Vec<Row>) {
    for field in from {
        rows.push(Row {
            text: format!("{:indent$}{}", "", layers::told(field)),
            bytes: field.bytes.clone(),
            of,
            layer: None,
        });
        fields(&field.parts, of, indent + 2, rows);
    }
}

/// Bytes of a row: with offset, digits and text they fit beside the tree on a screen of 80 columns.
pub(super) const PER_ROW: u16 = 8;

const ROW: usize = PER_ROW as usize;

fn hex_row(from: usize, bytes: &[u8], marks: &Range<usize>) -> Line<'static> {
    let marked = Style::new()
        .fg(Color::Cyan)
        .add_modifier(Modifier::REVERSED);
    let style = |index: usize| {
        if marks.contains(&(from + index)) {
            marked
        } else {
            Style::new()
        }
    };
    let mut spans = vec![Span::raw(format!("{from:04x} "))];
    for (index, byte) in bytes.iter().enumerate() {
        spans.push(Span::raw(" "));
        spans.push(Span::styled(format!("{byte:02x}"), style(index)));
    }
    spans.push(Span::raw(" ".repeat(3 * (ROW - bytes.len()) + 1)));
    for (index, byte) in bytes.iter().enumerate() {
        let shown = match byte {
            b' '..=b'~' => char::from(*byte).to_string(),
            _ => ".".to_owned(),
        };
        spans.push(Span::styled(shown, style(index)));
    }
    Line::from(spans)
}
