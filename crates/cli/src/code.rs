//! Where a code phrase comes from: a file, the environment, or a person. Never from arguments, which
//! every user of a machine can read.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use packhorse_transfer::{Code, Escaped};
use zeroize::Zeroizing;

use crate::report::{Failure, shown};
use crate::runtime;
use crate::terminal::Terminal;
use crate::ui::Ui;

/// The environment variable that may hold the code.
pub(crate) const VARIABLE: &str = "PACKHORSE_CODE";

/// No code is as long; a file that is was named by mistake.
const MAX_FILE: u64 = 4096;

/// The code of `file`, else of the environment; `None` where neither is given.
pub(crate) fn given(file: Option<&Path>) -> Result<Option<Code>, Failure> {
    if let Some(path) = file {
        return from_file(path).map(Some);
    }
    let Some(value) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let value = Zeroizing::new(value.into_vec());
    parse(&value, &format!("the code in {VARIABLE}")).map(Some)
}

fn from_file(path: &Path) -> Result<Code, Failure> {
    let failed = |error| Failure::file("read the code from", path, &error);
    let mut text = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1)
        .read_to_end(&mut text)
        .map_err(failed)?;
    let name = format!("the code in '{}'", shown(path));
    if text.len() as u64 > MAX_FILE {
        return Err(bad(&name, &format!("it is longer than {MAX_FILE} bytes")));
    }
    parse(&text, &name)
}

fn parse(bytes: &[u8], name: &str) -> Result<Code, Failure> {
    let Ok(text) = str::from_utf8(bytes) else {
        return Err(bad(name, "it is not UTF-8 text"));
    };
    Code::given(text.trim_end_matches(['\n', '\r'])).map_err(|error| bad(name, &error.to_string()))
}

fn bad(name: &str, why: &str) -> Failure {
    Failure::usage(
        format!("{name} cannot be used: {why}"),
        "a code is the phrase that `packhorse recv` shows, or one that both sides were given",
    )
}

/// Asks for the code on the terminal, without showing what is typed.
pub(crate) fn ask(ui: &Ui, receiver: &str) -> Result<Code, Failure> {
    if !ui.is_terminal() && !io::stdin().is_terminal() {
        return Err(nobody_to_ask());
    }
    let prompt = format!("Code shown by {}: ", Escaped(receiver.as_bytes()));
    let terminal = Terminal::remember();
    let typed =
        runtime::interruptible(move || rpassword::prompt_password(prompt)).map_err(|failure| {
            // It shows the prompt first, and takes the terminal then.
            terminal.restore_from_reader();
            ui.say("");
            failure.means("nothing was sent")
        })?;
    let typed = typed.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Failure::usage("no code was typed", "type the code that the receiver shows")
                .means("nothing was sent")
        }
        // The signal came to the thread that reads before it came to the one that waits.
        io::ErrorKind::Interrupted => {
            terminal.restore();
            Failure::interrupted().means("nothing was sent")
        }
        _ => nobody_to_ask(),
    })?;
    parse(Zeroizing::new(typed).as_bytes(), "the code typed")
}

fn nobody_to_ask() -> Failure {
    Failure::usage(
        "a code is needed, and there is no terminal to ask for it",
        format!("set {VARIABLE}, or name a file that holds the code with --code-file FILE"),
    )
    .means("nothing was sent")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::report::Exit;

    #[test]
    fn a_file_may_end_in_a_newline() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "amber-falcon-river").unwrap();
        let code = given(Some(file.path())).unwrap().unwrap();
        assert_eq!(code.reveal(), "amber-falcon-river");
    }

    #[test]
    fn hopeless_files_are_refused_by_name() {
        let missing = given(Some(Path::new("/nonexistent/code"))).unwrap_err();
        assert_eq!(missing.exit, Exit::Local);
        assert!(missing.what.contains("/nonexistent/code"));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(given(Some(file.path())).unwrap_err().exit, Exit::Usage);
        file.write_all(&[b'x'; 5000]).unwrap();
        assert_eq!(given(Some(file.path())).unwrap_err().exit, Exit::Usage);
        assert_eq!(parse(b"\xff", "it").unwrap_err().exit, Exit::Usage);
    }
}
