//! `packhorse send`.

use std::io;
use std::path::Path;

use packhorse_transfer::receipt_file::EntryFields;
use packhorse_transfer::{
    Entry, Kind, Limits, SendOptions, SendSecurity, Source, check, list, send,
};

use crate::args::Send;
use crate::ledger::{self, Ledger};
use crate::report::{Exit, Failure, after_data, shown};
use crate::trace::{self, Side, Trace};
use crate::ui::Ui;
use crate::watcher::Watcher;
use crate::{classic, code, json, runtime, units};

pub(crate) fn run(ui: &Ui, args: Send) -> Result<Exit, Failure> {
    if let Some(format) = args.classic {
        return classic::send(ui, args, format);
    }
    let sources = sources(&args)?;
    if args.dry_run {
        return dry_run(ui, &sources, args.json);
    }
    // Nobody should be asked for a code that cannot help.
    check(&sources, &args.route.to)?;
    let watcher = Watcher::new(ui, &args.records)?;
    let ledger = Ledger::open(ui, args.records.ledger.as_deref())?;
    let trace = Trace::open(ui, args.records.trace.as_deref(), Side::Sender)?;
    let security = security(ui, &args).map_err(|failure| watcher.fail(failure))?;
    let options = SendOptions {
        sources,
        to: args.route.to,
        security,
        limits: Limits::default(),
        assurance: args.assurance.into(),
        retry_for: args.retry_for.into(),
        calls: ledger::observer(ledger.as_ref()),
        stages: trace::observer(trace.as_ref()),
    };
    let observer = watcher.observer(|_| ());
    let result = runtime::transfer(ui, |cancel| send(options, observer, cancel))?;
    watcher.finish(result)
}

fn security(ui: &Ui, args: &Send) -> Result<SendSecurity, Failure> {
    if args.insecure {
        return Ok(SendSecurity::Insecure);
    }
    let code = match code::given(args.code_file.as_deref())? {
        Some(code) => code,
        None => code::ask(ui, &args.route.to.host.to_string())?,
    };
    Ok(SendSecurity::Code(code))
}

fn sources(args: &Send) -> Result<Vec<Source>, Failure> {
    match (&args.route.paths[..], &args.name) {
        ([path], Some(name)) if is_stdin(path) => Ok(vec![Source::Stdin { name: name.clone() }]),
        ([path], Some(_)) if path.is_dir() && !path.is_symlink() => Err(Failure::usage(
            format!(
                "'{}' is a directory, and --name is for a single file",
                shown(path)
            ),
            "leave --name out, or name a directory in TO, as ph://HOST/DIR",
        )),
        ([path], Some(name)) => Ok(vec![Source::Renamed {
            path: path.clone(),
            name: name.clone(),
        }]),
        (_, Some(_)) => Err(Failure::usage(
            "--name is for a single PATH",
            "send the file that gets another name by itself",
        )),
        (paths, None) if paths.iter().any(|path| is_stdin(path)) => Err(Failure::usage(
            "standard input ('-') has no name of its own",
            "say what to call it: packhorse send - TO --name NEW; a file called '-' is './-'",
        )),
        (paths, None) => Ok(paths.iter().cloned().map(Source::Path).collect()),
    }
}

pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Lists what would go, until nobody reads it.
fn dry_run(ui: &Ui, sources: &[Source], json: bool) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    let mut written = Ok(());
    ui.gather_data();
    let listed = list(sources, &mut |found| match found {
        Err(message) => {
            exit = Exit::SomeFailed;
            ui.warn(message);
        }
        Ok(entry) if written.is_ok() => {
            written = if json {
                json_line(ui, entry)
            } else {
                ui.data(text_line(entry))
            };
        }
        Ok(_) => {}
    });
    let written = written.and_then(|()| ui.flush_data());
    listed?;
    after_data(written, exit)
}

fn text_line(entry: &Entry) -> String {
    let path = &entry.path;
    match &entry.kind {
        Kind::Directory => format!("directory  {:>19}  {path}", ""),
        Kind::Symlink { target } => {
            let target = packhorse_transfer::Escaped(target.as_bytes());
            format!("link       {:>19}  {path} -> {target}", "")
        }
        Kind::File { size } => {
            let size = size.map_or_else(|| "?".to_owned(), units::count);
            format!("file       {size:>19}  {path}")
        }
    }
}

fn json_line(ui: &Ui, entry: &Entry) -> io::Result<()> {
    ui.data(json::line(&EntryFields::of(entry, None))?)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use packhorse_transfer::{LinkTarget, Metadata, Mode, RelativePath, Timestamp};

    use super::*;
    use crate::args::{Args, Verb};

    fn sources_of(line: &str) -> Result<Vec<Source>, Failure> {
        match Args::try_parse_from(line.split_whitespace()).unwrap().verb {
            Verb::Send(args) => sources(&args),
            other => panic!("{other:?}"),
        }
    }

    fn entry(kind: Kind) -> Entry {
        Entry {
            path: RelativePath::parse(b"a\n").unwrap(),
            kind,
            metadata: Metadata {
                mode: Mode::from_st_mode(0o644),
                modified: Timestamp::new(0, 0).unwrap(),
                change: None,
            },
        }
    }

    #[test]
    fn paths_become_sources() {
        let plain = sources_of("packhorse send a b/ nas").unwrap();
        assert!(matches!(&plain[..], [Source::Path(_), Source::Path(b)] if b.as_os_str() == "b/"));
        let stdin = sources_of("packhorse send - nas --name x").unwrap();
        assert!(matches!(&stdin[..], [Source::Stdin { .. }]));
        let renamed = sources_of("packhorse send a nas --name x").unwrap();
        assert!(matches!(&renamed[..], [Source::Renamed { .. }]));
    }

    #[test]
    fn names_go_with_one_file() {
        for line in [
            "packhorse send - nas",
            "packhorse send a - nas",
            "packhorse send a b nas --name x",
            "packhorse send - - nas --name x",
            "packhorse send / nas --name x",
        ] {
            assert_eq!(sources_of(line).unwrap_err().exit, Exit::Usage, "{line}");
        }
    }

    #[test]
    fn listed_names_are_escaped() {
        let file = text_line(&entry(Kind::File { size: Some(1234) }));
        assert_eq!(file, "file                     1,234  a\\n");
        let target = LinkTarget::new(b"\x1b").unwrap();
        let link = text_line(&entry(Kind::Symlink { target }));
        assert!(link.ends_with("a\\n -> \\u{1b}"), "{link}");
        assert!(text_line(&entry(Kind::File { size: None })).contains("?  a"));
    }
}
