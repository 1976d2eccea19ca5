//! The list of streams, and what there is to tell of the selected one.

use packhorse_watch::stream::{Conversation, How, Protocol, StreamId, Streams};
use ratatui::Frame as Drawing;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};

use super::cursor::Cursor;
use super::keyboard::Key;
use super::packets::selected;
use crate::units::bytes;
use crate::watch::streams;

/// Rows for the selected stream: a border, a head, and two for each direction, of which some are long.
const DETAIL: u16 = 9;

/// The list.
#[derive(Debug, Default)]
pub(super) struct StreamList {
    cursor: Cursor,
    conversations: Vec<Conversation>,
}

impl StreamList {
    /// Takes what was counted so far.
    pub(super) fn refresh(&mut self, streams: &Streams) {
        let selected = self.selected();
        self.conversations = streams.conversations().into_iter().cloned().collect();
        if let Some(id) = selected {
            self.select(id);
        }
    }

    /// Selects a stream.
    pub(super) fn select(&mut self, id: StreamId) {
        let before = |conversation: &Conversation| conversation.id < id;
        self.cursor.selected = self.conversations.partition_point(before);
    }

    /// The selected stream.
    pub(super) fn selected(&self) -> Option<StreamId> {
        Some(self.conversations.get(self.cursor.selected)?.id)
    }

    /// A filter for the packets of the selected stream.
    pub(super) fn filter(&self) -> Option<String> {
        let Conversation {
            id, client, server, ..
        } = self.conversations.get(self.cursor.selected)?;
        let protocol = match id.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let ends = [client, server];
        let [a, b] = ends.map(|end| format!("host {} and port {}", end.ip(), end.port()));
        Some(format!("{protocol} and {a} and {b}"))
    }

    pub(super) fn key(&mut self, key: Key) -> bool {
        self.cursor.key(key, self.conversations.len())
    }

    /// Selects the next whose row has this text.
    pub(super) fn search(&mut self, needle: &str, forward: bool) -> bool {
        let needle = needle.to_lowercase();
        let matches = |at: &usize| {
            let conversation = self.conversations.get(*at);
            conversation.is_some_and(|c| row(c).to_lowercase().contains(&needle))
        };
        let found = if forward {
            (self.cursor.selected + 1..self.conversations.len()).find(matches)
        } else {
            (0..self.cursor.selected.min(self.conversations.len()))
                .rev()
                .find(matches)
        };
        if let Some(at) = found {
            self.cursor.selected = at;
        }
        found.is_some()
    }

    pub(super) fn draw(&mut self, drawing: &mut Drawing<'_>, area: Rect) {
        let [list, detail] =
            Layout::vertical([Constraint::Min(1), Constraint::Length(DETAIL)]).areas(area);
        let window = self
            .cursor
            .window(self.conversations.len(), usize::from(list.height));
        let shown = self.conversations.iter().enumerate();
        let shown = shown.skip(window.start).take(window.len());
        let width = usize::from(list.width);
        let lines = shown.map(|(index, conversation)| {
            let mut style = style(conversation);
            if index == self.cursor.selected {
                style = selected(style, true);
            }
            let row = row(conversation);
            let row = self.cursor.shifted(&row);
            Line::styled(format!("{row:<width$}"), style)
        });
        drawing.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), list);
        let mut told = Vec::new();
        if let Some(conversation) = self.conversations.get(self.cursor.selected) {
            // Writing to a vector does not fail.
            let _ = streams::text(conversation, |line| {
                told.push(Line::raw(line));
                Ok(())
            });
        }
        let block = Block::new().borders(Borders::TOP);
        drawing.render_widget(
            Paragraph::new(told).block(block).wrap(Wrap { trim: false }),
            detail,
        );
    }
}

fn row(conversation: &Conversation) -> String {
    let Conversation { client, server, .. } = conversation;
    let (there, back) = (&conversation.to_server, &conversation.to_client);
    let ended = match conversation.ended {
        Some(ended) => format!("{} by {}", streams::how(ended.how), streams::who(ended.by)),
        None => String::new(),
    };
    let name = streams::name(conversation.id);
    let ends = format!("{client} -> {server}");
    let again = there.retransmissions + back.retransmissions;
    let again = match again {
        0 => String::new(),
        again => format!("{again} again"),
    };
    format!(
        "{name:<7} {ends:<36} {:>7} {:>8} {again} {ended}",
        there.packets + back.packets,
        bytes(there.payload + back.payload),
    )
}

fn style(conversation: &Conversation) -> Style {
    match conversation.ended {
        Some(ended) if ended.how == How::Reset => Style::new().fg(Color::Red),
        _ if conversation.to_server.retransmissions + conversation.to_client.retransmissions
            > 0 =>
        {
            Style::new().fg(Color::Yellow)
        }
        Some(_) => Style::new().add_modifier(Modifier::DIM),
        None => Style::new(),
    }
}
