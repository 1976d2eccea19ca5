//! A line that is typed at the bottom of the screen.

use super::keyboard::Key;

/// Characters of a line at most.
const LONGEST: usize = 1000;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Filter,
    Framing,
    Search,
}

/// A line being typed.
#[derive(Debug)]
pub(super) struct Prompt {
    pub(super) question: Question,
    pub(super) text: String,
}

/// What a key did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    More,
    Done,
    GivenUp,
}

impl Prompt {
    pub(super) fn new(question: Question, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { question, text }
    }

    pub(super) fn label(&self) -> &'static str {
        match self.question {
            Question::Filter => "filter (empty: all): ",
            Question::Framing => "messages are framed by (line, u32be, varint …): ",
            Question::Search => "search: ",
        }
    }

    pub(super) fn key(&mut self, key: Key) -> Typed {
        match key {
            Key::Enter => return Typed::Done,
            Key::Esc => return Typed::GivenUp,
            Key::Backspace => drop(self.text.pop()),
            Key::Ctrl('u') => self.text.clear(),
            Key::Ctrl('w') => {
                let kept = self.text.trim_end().rfind(' ').map_or(0, |at| at + 1);
                self.text.truncate(kept);
            }
            Key::Char(character) if self.text.len() < LONGEST => self.text.push(character),
            _ => {}
        }
        Typed::More
    }
}
