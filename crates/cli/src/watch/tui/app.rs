//! What is on the screen, and what keys do to it.

use std::time::{Duration, Instant};

use packhorse_frame::FrameSpec;
use packhorse_watch::Filter;
use packhorse_watch::ladder::Folding;
use packhorse_watch::stream::StreamId;

use super::conversations::StreamList;
use super::detail::Detail;
use super::keyboard::Key;
use super::loader::{Loaded, State};
use super::packets::{PacketList, Progress};
use super::pages::Page;
use super::prompt::{Prompt, Question, Typed};

/// How often the list of streams is drawn anew while frames come.
const REFRESH: Duration = Duration::from_millis(500);

/// What fills the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Packets,
    Streams,
    Ladder,
    Messages,
}

/// Which pane of the packets keys go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    List,
    Layers,
    Bytes,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    Quit,
}

/// All that is shown.
pub(super) struct App {
    /// Where frames come from, for the title.
    pub(super) source: String,
    pub(super) live: bool,
    pub(super) view: View,
    pub(super) pane: Pane,
    pub(super) help: bool,
    pub(super) prompt: Option<Prompt>,
    /// What there is to say of the last key.
    pub(super) note: Option<String>,
    pub(super) packets: PacketList,
    pub(super) detail: Detail,
    pub(super) streams: StreamList,
    pub(super) page: Page,
    /// The stream of ladder and messages.
    pub(super) stream: Option<StreamId>,
    pub(super) folding: Folding,
    pub(super) framing: Option<FrameSpec>,
    searched: String,
    refreshed: Option<(u64, Instant)>,
}

impl App {
    pub(super) fn new(source: String, live: bool, framing: Option<FrameSpec>) -> Self {
        Self {
            source,
            live,
            view: View::Packets,
            pane: Pane::List,
            help: false,
            prompt: None,
            note: None,
            packets: PacketList::new(live),
            detail: Detail::default(),
            streams: StreamList::default(),
            page: Page::default(),
            stream: None,
            folding: Folding::Fold,
            framing,
            searched: String::new(),
            refreshed: None,
        }
    }

    /// Goes on with what takes long. Whether there is more of it.
    pub(super) fn work(&mut self, loaded: &Loaded) -> bool {
        match self.packets.work(&loaded.store) {
            Progress::NotFound => self.note = Some(format!("'{}' is not there", self.searched)),
            Progress::Searching => self.note = Some("searching; Esc stops".to_owned()),
            Progress::Found => self.note = None,
            Progress::Nothing => {}
        }
        let over = !matches!(loaded.state, State::Reading);
        let due = self.refreshed.is_none_or(|(frames, at)| {
            frames != loaded.frames && (over || at.elapsed() >= REFRESH)
        });
        if due && self.view == View::Streams {
            self.refresh_streams(loaded);
        }
        self.packets.is_working(&loaded.store)
    }

    pub(super) fn key(&mut self, key: Key, loaded: &Loaded) -> Next {
        if key == Key::Ctrl('c') {
            return Next::Quit;
        }
        if let Some(prompt) = &mut self.prompt {
            match prompt.key(key) {
                Typed::More => {}
                Typed::GivenUp => self.prompt = None,
                Typed::Done => self.answer(loaded),
            }
            return Next::GoOn;
        }
        self.note = None;
        if std::mem::take(&mut self.help) {
            return Next::GoOn;
        }
        match key {
            Key::Char('q') => return Next::Quit,
            Key::Char('?') => self.help = true,
            Key::Char('1') => self.view = View::Packets,
            Key::Char('2') => self.go(View::Streams, loaded),
            Key::Char('3') => self.go(View::Ladder, loaded),
            Key::Char('4') => self.go(View::Messages, loaded),
            Key::Char('/') => self.prompt = Some(Prompt::new(Question::Search, "")),
            Key::Char('n') => self.search(true, loaded),
            Key::Char('N') => self.search(false, loaded),
            Key::Esc => drop(self.packets.stop_searching()),
            key => self.own_key(key, loaded),
        }
        Next::GoOn
    }

    fn refresh_streams(&mut self, loaded: &Loaded) {
        self.streams.refresh(&loaded.streams);
        self.refreshed = Some((loaded.frames, Instant::now()));
    }

    /// Another view; what was selected is what it shows.
    fn go(&mut self, view: View, loaded: &Loaded) {
        let selected = match self.view {
            View::Packets => self
                .packets
                .selected(&loaded.store)
                .and_then(|(_, e)| e.stream),
            View::Streams => self.streams.selected(),
            View::Ladder | View::Messages => None,
        };
        self.stream = selected.or(self.stream);
        self.view = view;
        if view == View::Streams {
            self.refresh_streams(loaded);
            if let Some(id) = self.stream {
                self.streams.select(id);
            }
        }
        if self.stream.is_none() && view != View::Streams {
            self.note = Some("choose a stream first: 2 lists them".to_owned());
        }
        if view != View::Streams {
            self.page.clear();
        }
    }

    /// Keys of the view.
    fn own_key(&mut self, key: Key, loaded: &Loaded) {
        match self.view {
            View::Packets => self.packets_key(key, loaded),
            View::Streams => match key {
                Key::Enter => self.go(View::Ladder, loaded),
                Key::Char('p') => self.packets_of_stream(loaded),
                key => drop(self.streams.key(key)),
            },
            View::Ladder | View::Messages => self.page_key(key, loaded),
        }
    }

    fn packets_key(&mut self, key: Key, loaded: &Loaded) {
        match (key, self.pane) {
            (Key::Tab, pane) => {
                self.pane = match pane {
                    Pane::List => Pane::Layers,
                    Pane::Layers => Pane::Bytes,
                    Pane::Bytes => Pane::List,
                }
            }
            (Key::BackTab, pane) => {
                self.pane = match pane {
                    Pane::List => Pane::Bytes,
                    Pane::Layers => Pane::List,
                    Pane::Bytes => Pane::Layers,
                }
            }
            (Key::Char('f'), _) => {
                let text = self.packets.filter_text();
                self.prompt = Some(Prompt::new(Question::Filter, text));
            }
            (Key::Char('s'), _) => self.go(View::Ladder, loaded),
            (Key::Enter, Pane::List) => self.pane = Pane::Layers,
            (key, Pane::List) => drop(self.packets.key(key, &loaded.store)),
            (key, Pane::Layers) => drop(self.detail.tree_key(key)),
            (key, Pane::Bytes) => drop(self.detail.bytes_key(key)),
        }
    }

    fn page_key(&mut self, key: Key, loaded: &Loaded) {
        match key {
            Key::Char('u') if self.view == View::Ladder => {
                self.folding = match self.folding {
                    Folding::Fold => Folding::Unfold,
                    Folding::Unfold => Folding::Fold,
                }
            }
            Key::Char('f') if self.view == View::Messages => {
                self.prompt = Some(Prompt::new(Question::Framing, ""));
            }
            Key::Enter => {
                let Some(frame) = self.page.frame() else {
                    return;
                };
                self.view = View::Packets;
                self.pane = Pane::List;
                if !self.packets.select(frame, &loaded.store) {
                    self.note = Some(format!("frame {frame} is hidden by the filter"));
                }
            }
            key => drop(self.page.key(key)),
        }
    }

    /// Filters for both ends of the selected stream.
    fn packets_of_stream(&mut self, loaded: &Loaded) {
        let Some(text) = self.streams.filter() else {
            return;
        };
        self.view = View::Packets;
        self.pane = Pane::List;
        self.filter(&text, loaded);
    }

    fn filter(&mut self, text: &str, loaded: &Loaded) {
        if text.trim().is_empty() {
            self.packets.filter("", None);
            return;
        }
        match text.parse::<Filter>() {
            Ok(filter) => {
                self.packets.filter(text, Some(filter));
                self.packets.work(&loaded.store);
            }
            Err(error) => self.note = Some(error.to_string()),
        }
    }

    /// Does what was typed for.
    fn answer(&mut self, loaded: &Loaded) {
        let Some(Prompt { question, text }) = self.prompt.take() else {
            return;
        };
        self.note = None;
        match question {
            Question::Filter => self.filter(&text, loaded),
            Question::Framing => match text.parse() {
                Ok(framing) => self.framing = Some(framing),
                Err(error) => self.note = Some(format!("{error}")),
            },
            Question::Search => {
                self.searched = text;
                self.search(true, loaded);
            }
        }
    }

    fn search(&mut self, forward: bool, loaded: &Loaded) {
        if self.searched.is_empty() {
            return;
        }
        let needle = &self.searched;
        let found = match self.view {
            View::Packets => {
                self.packets.search(needle, forward, &loaded.store);
                return;
            }
            View::Streams => self.streams.search(needle, forward),
            View::Ladder | View::Messages => self.page.search(needle, forward),
        };
        if !found {
            self.note = Some(format!("'{needle}' is not there"));
        }
    }
}
