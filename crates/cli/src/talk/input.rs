//! What is typed, or piped in.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::thread;

use bytes::Bytes;
use rustyline::error::ReadlineError;
use tokio::sync::mpsc;

use super::editor::{self, Keys, LineEditor};
use crate::terminal::Terminal;
use crate::ui::Ui;

/// Pieces that are read ahead of the network.
const AHEAD: usize = 4;

/// The most that is read at a time from a pipe.
const PIECE: usize = 64 * 1024;

/// How input is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// As it comes.
    Anywhere,
    /// At the end of each line; no line is longer than this.
    Lines(usize),
}

/// One piece of input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Bytes as they came.
    Piece(Bytes),
    /// A line, without its end.
    Line(Bytes),
}

/// Where input comes from. Read by a thread of its own, which nobody waits for at the end.
pub(crate) struct Input {
    pieces: mpsc::Receiver<io::Result<Typed>>,
    person: Option<Person>,
}

/// Somebody who types at a terminal.
struct Person {
    ui: Ui,
    terminal: Terminal,
    /// Asks for one more line. A line is not asked for before the last one was dealt with: at the end the
    /// terminal belongs to nobody but who had it before.
    ask: std::sync::mpsc::Sender<()>,
    /// Who has the terminal, which is given back at the end.
    keys: Keys,
    /// A line was asked for and has not come.
    asked: bool,
}

impl Input {
    /// Standard input: with line editing where a person sits at both ends of it.
    pub(crate) fn open(ui: &Ui, cut: Cut) -> Self {
        let (sender, pieces) = mpsc::channel(AHEAD);
        if io::stdin().is_terminal()
            && io::stdout().is_terminal()
            && let Ok((editor, keys)) = editor::open(ui)
        {
            let terminal = Terminal::remember();
            terminal.pass_keys();
            let (ask, asked) = std::sync::mpsc::channel();
            let (warn, reader) = (ui.clone(), keys.clone());
            thread::spawn(move || edit(editor, &warn, &reader, &asked, &sender));
            let person = Person {
                ui: ui.clone(),
                terminal,
                ask,
                keys,
                asked: false,
            };
            return Self {
                pieces,
                person: Some(person),
            };
        }
        thread::spawn(move || match cut {
            Cut::Anywhere => read_pieces(&sender),
            Cut::Lines(longest) => read_lines(&sender, longest),
        });
        Self {
            pieces,
            person: None,
        }
    }

    /// Whether a person types, and sees what comes.
    pub(crate) fn is_interactive(&self) -> bool {
        self.person.is_some()
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Typed>> {
        if let Ok(typed) = self.pieces.try_recv() {
            return Some(typed);
        }
        if let Some(person) = self.person.as_mut().filter(|person| !person.asked) {
            person.keys.are_wanted();
            // Whoever reads is gone only when it has said so.
            person.asked = person.ask.send(()).is_ok();
        }
        let typed = self.pieces.recv().await;
        if let Some(person) = &mut self.person {
            person.asked = false;
        }
        typed
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let Some(person) = &self.person {
            // An editor that is about to take the terminal over would do so after it was given back.
            person.keys.wait_for_editor();
            person.ui.detach_editor();
            person.terminal.restore();
        }
    }
}

fn edit(
    mut editor: LineEditor,
    ui: &Ui,
    keys: &Keys,
    asked: &std::sync::mpsc::Receiver<()>,
    sender: &mpsc::Sender<io::Result<Typed>>,
) {
    while asked.recv().is_ok() {
        let typed = loop {
            // Asked for already, but for a line in the place of one that could not be taken.
            keys.are_wanted();
            let line = editor.readline("> ");
            keys.are_free();
            match line {
                Ok(line) => break Ok(line),
                Err(ReadlineError::Eof) => return,
                // The editor takes Ctrl-C for itself: it means here what it means everywhere.
                Err(ReadlineError::Interrupted) => break Err(io::ErrorKind::Interrupted.into()),
                Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    ui.warn("not sent: what was typed is not UTF-8; --hex takes any bytes");
                }
                Err(error) => break Err(io::Error::other(error)),
            }
        };
        let typed = match typed {
            Ok(line) => line,
            Err(error) => {
                let _ = sender.blocking_send(Err(error));
                return;
            }
        };
        // What was pasted may be several lines.
        for line in typed.split('\n') {
            let line = Bytes::copy_from_slice(line.strip_suffix('\r').unwrap_or(line).as_bytes());
            if sender.blocking_send(Ok(Typed::Line(line))).is_err() {
                return;
            }
        }
    }
}

fn read_pieces(sender: &mpsc::Sender<io::Result<Typed>>) {
    let mut stdin = io::stdin().lock();
    let mut buffer = vec![0; PIECE];
    loop {
        let typed = match stdin.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => Ok(Typed::Piece(Bytes::copy_from_slice(&buffer[..length]))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let ends = typed.is_err();
        if sender.blocking_send(typed).is_err() || ends {
            return;
        }
    }
}

fn read_lines(sender: &mpsc::Sender<io::Result<Typed>>, longest: usize) {
    let mut stdin = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        // One more than fits, and the end of the line: what is longer is seen to be so.
        let bound = longest as u64 + 2;
        let typed = match stdin.by_ref().take(bound).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                match line.len() {
                    length if length > longest => Err(io::Error::new(
                        io::ErrorKind::FileTooLarge,
                        format!("a line is longer than a message may be ({longest} bytes)"),
                    )),
                    _ => Ok(Typed::Line(line.into())),
                }
            }
            Err(error) => Err(error),
        };
        let ends = typed.is_err();
        if sender.blocking_send(typed).is_err() || ends {
            return;
        }
    }
}
