//! The screen, drawn.

use packhorse_transfer::Escaped;
use ratatui::Frame as Drawing;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use super::app::{App, Pane, View};
use super::detail::PER_ROW;
use super::help;
use super::loader::{Loaded, State};
use super::pages::Subject;
use crate::units::{count, counted};
use crate::watch::streams;

/// Columns of the bytes: offset, digits, text, and the border.
const BYTES: u16 = 5 + 4 * PER_ROW + 2;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const REVERSED: Style = Style::new().add_modifier(Modifier::REVERSED);

pub(super) fn draw(drawing: &mut Drawing<'_>, app: &mut App, loaded: &Loaded) {
    let [title, body, status, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(drawing.area());
    draw_title(drawing, app, title);
    match app.view {
        View::Packets => draw_packets(drawing, app, loaded, body),
        View::Streams => app.streams.draw(drawing, body),
        View::Ladder => draw_page(
            drawing,
            app,
            loaded,
            body,
            Some(Subject::Ladder(app.folding)),
        ),
        View::Messages => {
            let subject = app.framing.map(Subject::Messages);
            draw_page(drawing, app, loaded, body, subject);
        }
    }
    let text = told(app, loaded);
    drawing.render_widget(Paragraph::new(text).style(REVERSED), status);
    draw_bottom(drawing, app, bottom);
    if app.help {
        draw_help(drawing, app.view, body);
    }
}

fn draw_title(drawing: &mut Drawing<'_>, app: &App, area: Rect) {
    let tabs = [
        (View::Packets, "1 Packets"),
        (View::Streams, "2 Streams"),
        (View::Ladder, "3 Ladder"),
        (View::Messages, "4 Messages"),
    ];
    let mut spans = Vec::new();
    for (view, name) in tabs {
        let style = if view == app.view {
            REVERSED
        } else {
            Style::new()
        };
        spans.push(Span::styled(format!(" {name} "), style));
    }
    if let Some(id) = app.stream {
        spans.push(Span::raw(format!("  stream {}", streams::name(id))));
    }
    spans.push(Span::styled(
        format!("  {}", Escaped(app.source.as_bytes())),
        BOLD,
    ));
    drawing.render_widget(Paragraph::new(Line::from(spans)), area);
}

fn draw_packets(drawing: &mut Drawing<'_>, app: &mut App, loaded: &Loaded, area: Rect) {
    let list = (area.height * 2 / 5).max(3);
    let [top, below] = Layout::vertical([Constraint::Length(list), Constraint::Min(0)]).areas(area);
    let [tree, bytes] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(BYTES)]).areas(below);
    let store = &loaded.store;
    app.packets
        .draw(drawing, top, store, app.pane == Pane::List);
    app.detail.show(app.packets.selected(store), store);
    let pane = |title: &'static str, focus: bool| {
        let style = if focus { REVERSED } else { BOLD };
        Block::new()
            .borders(Borders::TOP)
            .title(Span::styled(title, style))
    };
    let block = pane(" Layers ", app.pane == Pane::Layers);
    let inner = block.inner(tree);
    drawing.render_widget(block, tree);
    app.detail
        .draw_tree(drawing, inner, app.pane == Pane::Layers);
    let block = pane(" Bytes ", app.pane == Pane::Bytes).borders(Borders::TOP | Borders::LEFT);
    let inner = block.inner(bytes);
    drawing.render_widget(block, bytes);
    app.detail
        .draw_bytes(drawing, inner, app.pane == Pane::Bytes);
}

fn draw_page(
    drawing: &mut Drawing<'_>,
    app: &mut App,
    loaded: &Loaded,
    area: Rect,
    subject: Option<Subject>,
) {
    let (Some(stream), Some(subject)) = (app.stream, subject) else {
        let missing = match app.stream {
            None => "No stream is chosen: 2 lists them, and Enter chooses one.",
            Some(_) => "f tells how the messages of the stream are framed: line, u32be, varint …",
        };
        drawing.render_widget(Paragraph::new(missing), area);
        return;
    };
    app.page.refresh(stream, subject, area.width, loaded);
    app.page.draw(drawing, area);
}

/// How far reading has come, and what is chosen.
fn told(app: &App, loaded: &Loaded) -> String {
    if let Some(note) = &app.note {
        return format!(" {}", Escaped(note.as_bytes()));
    }
    let mut parts = vec![counted(loaded.frames, "frame", "frames")];
    match &loaded.state {
        State::Reading if app.live => parts.push("capturing".to_owned()),
        State::Reading => parts.push("reading".to_owned()),
        State::Done => {}
        State::Full => parts.push("there is no room for those behind; --filter chooses".to_owned()),
        State::Failed(error) => parts.push(error.to_string()),
    }
    let gone = loaded.store.ids().start;
    if gone > 0 {
        parts.push(format!("the oldest {} are gone", count(gone)));
    }
    if app.view == View::Packets && !app.packets.filter_text().is_empty() {
        let shown = app.packets.len(&loaded.store) as u64;
        let filter = app.packets.filter_text();
        parts.push(format!(
            "{} match {}",
            count(shown),
            Escaped(filter.as_bytes())
        ));
    }
    format!(" {}", parts.join(" · "))
}

fn draw_bottom(drawing: &mut Drawing<'_>, app: &App, area: Rect) {
    let Some(prompt) = &app.prompt else {
        drawing.render_widget(Paragraph::new(help::line(app.view)), area);
        return;
    };
    let shown = Escaped(prompt.text.as_bytes()).to_string();
    let label = prompt.label();
    let room = usize::from(area.width).saturating_sub(label.chars().count() + 1);
    // Of a long line the end is seen.
    let hidden = shown.chars().count().saturating_sub(room);
    let shown: String = shown.chars().skip(hidden).collect();
    let column = label.chars().count() + shown.chars().count();
    drawing.render_widget(Paragraph::new(format!("{label}{shown}")), area);
    let column = u16::try_from(column).unwrap_or(u16::MAX);
    let last = area.right().saturating_sub(1);
    drawing.set_cursor_position((area.x.saturating_add(column).min(last), area.y));
}

fn draw_help(drawing: &mut Drawing<'_>, view: View, area: Rect) {
    let lines = help::lines(view);
    let widest = lines
        .iter()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    let width = u16::try_from(widest + 3)
        .unwrap_or(u16::MAX)
        .min(area.width);
    let height = u16::try_from(lines.len() + 2)
        .unwrap_or(u16::MAX)
        .min(area.height);
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let lines: Vec<Line<'_>> = lines.into_iter().map(Line::raw).collect();
    let block = Block::bordered().title(" Keys ");
    drawing.render_widget(Clear, place);
    drawing.render_widget(Paragraph::new(lines).block(block), place);
}
