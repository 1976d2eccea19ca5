//! The line that somebody types, and who has the terminal's keys meanwhile.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Editor, Helper};

use crate::ui::Ui;

/// The longest that an editor may take from being asked for a line until it has the terminal.
const TAKES: Duration = Duration::from_secs(5);

pub(super) type LineEditor = Editor<Shown, MemHistory>;

/// An editor, its lines above which `ui` talks from now on, and who has the keys.
pub(super) fn open(ui: &Ui) -> rustyline::Result<(LineEditor, Keys)> {
    let config = Config::builder().auto_add_history(true).build();
    let mut editor = LineEditor::with_history(config, MemHistory::new())?;
    let keys = Keys::default();
    editor.set_helper(Some(Shown(keys.clone())));
    ui.attach_editor(Box::new(editor.create_external_printer()?));
    Ok((editor, keys))
}

/// Who has the terminal's keys: an editor changes the terminal's settings for each line, in a thread that
/// cannot be stopped, and so they can be given back only when it is known not to be about to.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    holder: Mutex<Holder>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// Nobody, and nobody asked.
    #[default]
    Nobody,
    /// The editor was asked for a line and has not shown it yet.
    Asked,
    /// The editor: its line is shown.
    Editor,
    /// Nobody ever again: the editor has ended.
    Gone,
}

impl Keys {
    /// The editor is about to be asked for a line.
    pub(super) fn are_wanted(&self) {
        self.are_held_by(Holder::Asked);
    }

    /// The editor has given a line.
    pub(super) fn are_free(&self) {
        self.are_held_by(Holder::Nobody);
    }

    /// Waits until an editor that was asked for a line has the terminal. One that cannot get on is not
    /// waited for longer than [`TAKES`].
    pub(super) fn wait_for_editor(&self) {
        let holder = self.holder();
        let asked = |holder: &mut Holder| *holder == Holder::Asked;
        drop(self.0.changed.wait_timeout_while(holder, TAKES, asked));
    }

    fn are_held_by(&self, holder: Holder) {
        let mut now = self.holder();
        if *now != Holder::Gone {
            *now = holder;
            self.0.changed.notify_all();
        }
    }

    fn holder(&self) -> MutexGuard<'_, Holder> {
        self.0.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notices that the editor shows its line. It asks for a hint whenever it does, first when it has taken
/// the terminal over.
pub(super) struct Shown(Keys);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.are_held_by(Holder::Gone);
    }
}

impl Hinter for Shown {
    type Hint = String;

    fn hint(&self, _line: &str, _position: usize, _context: &Context<'_>) -> Option<String> {
        self.0.are_held_by(Holder::Editor);
        None
    }
}

impl Completer for Shown {
    type Candidate = String;
}

impl Highlighter for Shown {}
impl Validator for Shown {}
impl Helper for Shown {}
