//! One stream in lines: its ladder, its messages.

use std::time::{Duration, Instant};

use packhorse_frame::FrameSpec;
use packhorse_watch::Limits;
use packhorse_watch::ladder::{Folding, Ladder, Tone};
use packhorse_watch::messages::Collector;
use packhorse_watch::stream::StreamId;
use ratatui::Frame as Drawing;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::cursor::Cursor;
use super::keyboard::Key;
use super::loader::Loaded;
use super::packets::selected;
use crate::watch::messages;

/// How often a page is drawn anew while frames come.
const EVERY: Duration = Duration::from_secs(1);

/// What is on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// A ladder.
    Ladder(Folding),
    /// Messages, told apart so.
    Messages(FrameSpec),
}

/// A page of lines.
#[derive(Debug, Default)]
pub(super) struct Page {
    lines: Vec<PageLine>,
    cursor: Cursor,
    made: Option<Made>,
}

#[derive(Debug)]
struct PageLine {
    text: String,
    style: Style,
    frame: Option<u64>,
}

/// What a page was made of.
#[derive(Debug)]
struct Made {
    stream: StreamId,
    subject: Subject,
    width: u16,
    frames: u64,
    at: Instant,
}

impl Page {
    /// Writes the page, where what it is made of has changed.
    pub(super) fn refresh(
        &mut self,
        stream: StreamId,
        subject: Subject,
        width: u16,
        loaded: &Loaded,
    ) {
        if let Some(made) = &self.made
            && (made.stream, made.subject, made.width) == (stream, subject, width)
            && (made.frames == loaded.frames || made.at.elapsed() < EVERY)
        {
            return;
        }
        let same = self.made.as_ref().is_some_and(|made| made.stream == stream);
        let at_end = same && self.cursor.selected + 1 == self.lines.len();
        self.lines.clear();
        match subject {
            Subject::Ladder(folding) => self.ladder(stream, folding, width, loaded),
            Subject::Messages(spec) => self.messages(stream, spec, loaded),
        }
        if at_end {
            self.cursor.selected = self.lines.len();
        } else if !same {
            self.cursor = Cursor::default();
        }
        self.made = Some(Made {
            stream,
            subject,
            width,
            frames: loaded.frames,
            at: Instant::now(),
        });
    }

    fn ladder(&mut self, stream: StreamId, folding: Folding, width: u16, loaded: &Loaded) {
        let Some(trace) = loaded.store.trace(stream, |_| {}) else {
            return;
        };
        let lines = Ladder::new(&trace, folding).text(usize::from(width));
        self.lines.extend(lines.into_iter().map(|line| PageLine {
            text: line.text,
            style: style(line.tone),
            frame: line.frame,
        }));
    }

    fn messages(&mut self, stream: StreamId, spec: FrameSpec, loaded: &Loaded) {
        let mut collector = Collector::new(spec, stream.protocol, &Limits::default());
        let trace = loaded
            .store
            .trace(stream, |delivered| collector.add(&delivered));
        let Some(trace) = trace else {
            return;
        };
        // Writing to a vector does not fail.
        let _ = messages::text(&trace, &collector.finish(&trace), |text, frame| {
            let style = match frame {
                Some(_) => Style::new(),
                None => Style::new().add_modifier(Modifier::BOLD),
            };
            self.lines.push(PageLine { text, style, frame });
            Ok(())
        });
    }

    /// Forgets what it was made of.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The frame of the selected line.
    pub(super) fn frame(&self) -> Option<u64> {
        self.lines.get(self.cursor.selected)?.frame
    }

    pub(super) fn key(&mut self, key: Key) -> bool {
        self.cursor.key(key, self.lines.len())
    }

    /// Selects the next line that has this text.
    pub(super) fn search(&mut self, needle: &str, forward: bool) -> bool {
        let needle = needle.to_lowercase();
        let matches = |at: &usize| {
            let line = self.lines.get(*at);
            line.is_some_and(|line| line.text.to_lowercase().contains(&needle))
        };
        let found = if forward {
            (self.cursor.selected + 1..self.lines.len()).find(matches)
        } else {
            (0..self.cursor.selected.min(self.lines.len()))
                .rev()
                .find(matches)
        };
        if let Some(at) = found {
            self.cursor.selected = at;
        }
        found.is_some()
    }

    pub(super) fn draw(&mut self, drawing: &mut Drawing<'_>, area: Rect) {
        let window = self
            .cursor
            .window(self.lines.len(), usize::from(area.height));
        let lines = self.lines.iter().enumerate();
        let lines = lines.skip(window.start).take(window.len());
        let lines = lines.map(|(index, line)| {
            let mut style = line.style;
            if index == self.cursor.selected {
                style = selected(style, true);
            }
            Line::styled(self.cursor.shifted(&line.text), style)
        });
        drawing.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
    }
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Title => Style::new().add_modifier(Modifier::BOLD),
        Tone::Control => Style::new().fg(Color::Blue),
        Tone::Plain => Style::new(),
        Tone::Trouble => Style::new().fg(Color::Yellow),
        Tone::Reset => Style::new().fg(Color::Red),
        Tone::Faint => Style::new().add_modifier(Modifier::DIM),
    }
}
