//! The list of packets: filtered, searched, followed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use packhorse_watch::dissect::{Context, dissect};
use packhorse_watch::packet::Packet;
use packhorse_watch::stream::{Notes, StreamId};
use packhorse_watch::{Filter, Limits, Packets};
use ratatui::Frame as Drawing;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::cursor::Cursor;
use super::keyboard::Key;
use super::store::{Entry, Store};
use crate::watch::frames;

/// How long a key waits for work that goes over all frames.
const STEP: Duration = Duration::from_millis(30);

/// The list, over the frames of a [`Store`].
#[derive(Debug)]
pub(super) struct PacketList {
    cursor: Cursor,
    /// The id of the selected frame.
    selected: u64,
    /// Whether the newest is selected as it comes.
    follow: bool,
    filter: Option<Filtering>,
    search: Option<Search>,
    data: Vec<u8>,
}

/// A filter, and what it has found so far.
#[derive(Debug)]
struct Filtering {
    text: String,
    filter: Filter,
    packets: Packets,
    next: u64,
    hits: VecDeque<u64>,
}

/// A search that goes on.
#[derive(Debug)]
struct Search {
    needle: String,
    forward: bool,
    /// Where it is, as a row of the list.
    at: u64,
}

/// How a search stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Nothing,
    Searching,
    Found,
    NotFound,
}

impl PacketList {
    pub(super) fn new(follow: bool) -> Self {
        Self {
            cursor: Cursor::default(),
            selected: 0,
            follow,
            filter: None,
            search: None,
            data: Vec::new(),
        }
    }

    /// How many rows there are.
    pub(super) fn len(&self, store: &Store) -> usize {
        match &self.filter {
            Some(filter) => filter.hits.len(),
            None => usize::try_from(store.ids().end - store.ids().start).unwrap_or(usize::MAX),
        }
    }

    fn id_at(&self, row: usize, store: &Store) -> Option<u64> {
        match &self.filter {
            Some(filter) => filter.hits.get(row).copied(),
            None => Some(store.ids().start + row as u64).filter(|id| store.ids().contains(id)),
        }
    }

    /// The row of a frame, or of the next one behind it.
    fn row_of(&self, id: u64, store: &Store) -> usize {
        match &self.filter {
            Some(filter) => filter.hits.partition_point(|hit| *hit < id),
            None => usize::try_from(id.saturating_sub(store.ids().start)).unwrap_or(usize::MAX),
        }
    }

    /// The selected frame.
    pub(super) fn selected<'a>(&self, store: &'a Store) -> Option<(u64, &'a Entry)> {
        let id = self.id_at(self.row_of(self.selected, store), store)?;
        Some((id, store.get(id)?))
    }

    /// Selects a frame by its number. `false`: it is not in the list.
    pub(super) fn select(&mut self, number: u64, store: &Store) -> bool {
        let id = store.by_number(number);
        self.follow = false;
        self.selected = id;
        let listed = self.id_at(self.row_of(id, store), store);
        listed
            .and_then(|id| store.get(id))
            .is_some_and(|e| e.number == number)
    }

    pub(super) fn key(&mut self, key: Key, store: &Store) -> bool {
        self.cursor.selected = self.row_of(self.selected, store);
        let len = self.len(store);
        if !self.cursor.key(key, len) {
            return false;
        }
        self.follow = match key {
            Key::End | Key::Char('G') => true,
            Key::Left | Key::Right | Key::Char('h' | 'l') => self.follow,
            _ => false,
        };
        if let Some(id) = self.id_at(self.cursor.selected, store) {
            self.selected = id;
        }
        true
    }

    /// Shows only what matches; `None`: everything.
    pub(super) fn filter(&mut self, text: &str, filter: Option<Filter>) {
        self.search = None;
        self.filter = filter.map(|filter| Filtering {
            text: text.to_owned(),
            filter,
            packets: Packets::new(&Limits::default()),
            next: 0,
            hits: VecDeque::new(),
        });
    }

    /// The filter as it was typed.
    pub(super) fn filter_text(&self) -> &str {
        self.filter.as_ref().map_or("", |filter| &filter.text)
    }

    /// Looks for a text in what a row says, and in the frame's bytes.
    pub(super) fn search(&mut self, needle: &str, forward: bool, store: &Store) {
        self.follow = false;
        let row = self.row_of(self.selected, store) as u64;
        self.search = Some(Search {
            needle: needle.to_lowercase(),
            forward,
            at: if forward {
                row + 1
            } else {
                row.wrapping_sub(1)
            },
        });
    }

    pub(super) fn stop_searching(&mut self) -> bool {
        self.search.take().is_some()
    }

    /// Goes on with what is not done at once: filtering, searching.
    pub(super) fn work(&mut self, store: &Store) -> Progress {
        let begin = Instant::now();
        let goes_on = || begin.elapsed() < STEP;
        if let Some(filtering) = &mut self.filter {
            filtering.work(store, &mut self.data, goes_on);
        }
        if self.follow {
            let last = self.len(store).checked_sub(1);
            self.selected = last.and_then(|row| self.id_at(row, store)).unwrap_or(0);
        }
        self.work_search(store, goes_on)
    }

    /// Whether there is more to do.
    pub(super) fn is_working(&self, store: &Store) -> bool {
        self.search.is_some()
            || self
                .filter
                .as_ref()
                .is_some_and(|f| f.next < store.ids().end)
    }

    fn work_search(&mut self, store: &Store, goes_on: impl Fn() -> bool) -> Progress {
        let Some(mut search) = self.search.take() else {
            return Progress::Nothing;
        };
        let mut steps = 0_u32;
        loop {
            let id = usize::try_from(search.at)
                .ok()
                .and_then(|row| self.id_at(row, store));
            let Some((id, entry)) = id.and_then(|id| Some((id, store.get(id)?))) else {
                return Progress::NotFound;
            };
            let frame = store.frame(entry, &mut self.data);
            if has(frame.data, search.needle.as_bytes())
                || told(&frame).to_lowercase().contains(&search.needle)
            {
                self.selected = id;
                return Progress::Found;
            }
            search.at = if search.forward {
                search.at + 1
            } else {
                search.at.wrapping_sub(1)
            };
            steps += 1;
            if steps.is_multiple_of(64) && !goes_on() {
                self.search = Some(search);
                return Progress::Searching;
            }
        }
    }

    pub(super) fn draw(
        &mut self,
        drawing: &mut Drawing<'_>,
        area: Rect,
        store: &Store,
        focus: bool,
    ) {
        self.cursor.selected = self.row_of(self.selected, store);
        let rows = self
            .cursor
            .window(self.len(store), usize::from(area.height));
        let width = usize::from(area.width);
        let mut lines = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(entry) = self.id_at(row, store).and_then(|id| store.get(id)) else {
                continue;
            };
            let mut style = style(entry.notes, entry.stream);
            if row == self.cursor.selected {
                style = selected(style, focus);
            }
            let frame = store.frame(entry, &mut self.data);
            let since = frames::seconds(entry.time.since(store.begin()));
            let dissection = dissect(&frame, &mut Context::new(&Limits::default()));
            let mut known = dissection.layers.iter().rev().map(|layer| layer.protocol);
            let name = known.find(|name| *name != "data").unwrap_or("");
            let told = told(&frame);
            let told = self.cursor.shifted(&told);
            let text = format!("{:>6} {since:>11} {name:<8.8} {told}", entry.number);
            lines.push(Line::styled(format!("{text:<width$}"), style));
        }
        drawing.render_widget(Paragraph::new(lines), area);
    }
}

/// What a row says of its frame.
fn told(frame: &packhorse_watch::Frame<'_>) -> String {
    frames::told(frame, Packet::parse(frame).as_ref())
}

fn style(notes: Notes, stream: Option<StreamId>) -> Style {
    if notes.intersects(Notes(!(Notes::WINDOW_UPDATE.0 | Notes::KEEP_ALIVE.0))) {
        return Style::new().fg(Color::Yellow);
    }
    match stream {
        Some(_) => Style::new(),
        None => Style::new().add_modifier(Modifier::DIM),
    }
}

/// How a selected row looks, in a pane that keys go to and in others.
pub(super) fn selected(style: Style, focus: bool) -> Style {
    if focus {
        style.add_modifier(Modifier::REVERSED)
    } else {
        style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }
}

/// Whether the needle, in small letters, is in it; letters of either kind are the same.
fn has(data: &[u8], needle: &[u8]) -> bool {
    if needle.is_empty() {
        return true;
    }
    data.windows(needle.len())
        .any(|window| window.eq_ignore_ascii_case(needle))
}

impl Filtering {
    fn work(&mut self, store: &Store, data: &mut Vec<u8>, goes_on: impl Fn() -> bool) {
        let there = store.ids();
        while self.hits.front().is_some_and(|id| *id < there.start) {
            self.hits.pop_front();
        }
        self.next = self.next.max(there.start);
        while let Some(entry) = store.get(self.next) {
            let frame = store.frame(entry, data);
            if self.filter.matches(&frame, &mut self.packets) {
                self.hits.push_back(self.next);
            }
            self.next += 1;
            if self.next.is_multiple_of(64) && !goes_on() {
                return;
            }
        }
    }
}
