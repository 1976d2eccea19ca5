//! What was typed: types and help, no effects.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args as ClapArgs, ColorChoice, Parser, Subcommand, ValueEnum};
use packhorse_endpoint::Endpoint;
use packhorse_transfer::{Assurance, DEFAULT_PORT, DEFAULT_RETRY_FOR, RelativePath};

use crate::load::args::Load;
use crate::pack::args::{Calcsize, Pack, Unpack};
use crate::talk::args::{Connect, Listen};
use crate::watch::args::Watch;

mod route;

pub(crate) use route::Route;

/// Options that every verb has, below its own.
const OUTPUT: &str = "Output";

const EXIT_CODES: &str = "\
To move files: recv, send, verify, partials. To talk: connect, listen, load, sockopt, pack, unpack. To see the wire: watch.

Exit codes:
    0  all done and verified
    1  some entries failed, the rest arrived
    2  wrong usage
    3  network failed, or the other side is gone
    4  refused, or not authenticated
    5  local input or output failed (disk full, permission denied, port in use)
    6  the other side broke the protocol, or data did not verify
  130  interrupted

Try it on this machine alone: packhorse demo";

/// Moves directory trees between machines (encrypted, verified, landing whole), and talks over any socket
/// with message boundaries.
#[derive(Debug, Parser)]
#[command(name = "packhorse", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) talk: Talk,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// How much is said, and in what colours.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Talk {
    /// Say only what is wrong, and a code that must be known
    #[arg(short, long, global = true, help_heading = OUTPUT, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more: every file; twice: hashes and refused connections as well
    #[arg(short, long, global = true, help_heading = OUTPUT, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colours; NO_COLOR is honoured
    #[arg(long, global = true, help_heading = OUTPUT, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorChoice,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Recv(Recv),
    Send(Send),
    Verify(Verify),
    Partials(Partials),
    Connect(Box<Connect>),
    Listen(Box<Listen>),
    Load(Box<Load>),
    Sockopt(Sockopt),
    Watch(Box<Watch>),
    Pack(Pack),
    Unpack(Unpack),
    Calcsize(Calcsize),
    Demo(Demo),
    Completions(Completions),
}

/// Receive a tree into a directory
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  packhorse recv                         into this directory; prints the command for the other side
  packhorse recv --keep /srv/incoming    one session after the other, each with a code of its own
  packhorse recv --listen 127.0.0.1:0 --events -
  packhorse recv in --classic --listen 192.0.2.7:9999 --keep
                                         files from programs that speak a classic format

The code can also come from the environment variable PACKHORSE_CODE.

Classic formats (a length, a JSON header with file_name and file_size or with md5 and new_file_name
besides, the content) have neither secrecy nor authentication: whoever reaches the address can store
files, and nothing is received that way unless --classic is said.")]
pub(crate) struct Recv {
    /// Where trees land; made where it does not exist
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Go on after the first session
    #[arg(long)]
    pub(crate) keep: bool,
    /// Where to listen: IP:PORT, IP, or PORT (0: any free one). Default: everywhere, port 7225
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub(crate) listen: Option<SocketAddr>,
    /// Use the code in this file instead of a new one
    #[arg(long, value_name = "FILE")]
    pub(crate) code_file: Option<PathBuf>,
    /// No encryption, no authentication; beyond loopback only with =anywhere
    #[arg(long, value_name = "SCOPE", num_args = 0..=1, require_equals = true,
          default_missing_value = "loopback", conflicts_with = "code_file")]
    pub(crate) insecure: Option<Insecure>,
    /// Take files in the classic formats, from any number of clients at once: no secrecy, no
    /// authentication. On loopback unless --listen says otherwise. With =also: beside packhorse's own
    /// protocol, on its port
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true,
          default_missing_value = "only")]
    pub(crate) classic: Option<Classic>,
    /// Keep files and links that are already there instead of replacing them. Directories get the permissions
    /// and times that are sent
    #[arg(long)]
    pub(crate) keep_existing: bool,
    /// Wait so long for a sender whose connection broke, with the same code; 0 gives it up at once
    #[arg(long, value_name = "TIME", default_value_t = DEFAULT_RETRY_FOR.into(), value_parser = parse_retry_for)]
    pub(crate) retry_for: humantime::Duration,
    #[command(flatten)]
    pub(crate) assurance: Assurances,
    #[command(flatten)]
    pub(crate) records: Records,
}

/// Where an insecure receiver may listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Insecure {
    /// On addresses that only this machine reaches
    Loopback,
    /// On any address
    Anywhere,
}

/// What a receiver of classic formats takes besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Classic {
    /// Nothing else
    Only,
    /// Sessions of packhorse's own protocol as well
    Also,
}

/// The classic format that a sender speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClassicFormat {
    /// The header tells name and size
    Size,
    /// The header tells the content's MD5 as well
    Md5,
}

/// Send files and directories to a receiver
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  packhorse send photos nas.local            the directory itself
  packhorse send photos/ notes.txt nas:9000  what it holds, and a file
  packhorse send photos ph://nas.local/2026/summer
  pg_dump shop | packhorse send - nas.local --name shop.sql
  packhorse send --classic md5 film.mkv 192.0.2.7:8080 --name holiday.mkv

The code is asked for on the terminal. It can also come from --code-file, or from
the environment variable PACKHORSE_CODE.

A classic format carries one file without secrecy or authentication, and its receiver does not answer:
that everything was handed over is all that the sender can know.")]
pub(crate) struct Send {
    #[command(flatten)]
    pub(crate) route: Route,
    /// Take the code from this file
    #[arg(long, value_name = "FILE")]
    pub(crate) code_file: Option<PathBuf>,
    /// No encryption, no authentication: for a receiver that runs with --insecure
    #[arg(long, conflicts_with = "code_file")]
    pub(crate) insecure: bool,
    /// Send one file in a classic format: no secrecy, no authentication, no answer
    #[arg(long, value_name = "FORMAT",
          conflicts_with_all = ["code_file", "insecure", "dry_run", "receipt", "trace"])]
    pub(crate) classic: Option<ClassicFormat>,
    /// List what would go, and connect to nobody
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// With --dry-run: one JSON object a line
    #[arg(long, requires = "dry_run")]
    pub(crate) json: bool,
    /// Store the one file, or standard input, under this name
    #[arg(long, value_name = "NEW", value_parser = OsStringValueParser::new().try_map(parse_name))]
    pub(crate) name: Option<RelativePath>,
    /// Connect again for so long after the connection broke, and go on; 0 ends with the first
    #[arg(long, value_name = "TIME", default_value_t = DEFAULT_RETRY_FOR.into(), value_parser = parse_retry_for)]
    pub(crate) retry_for: humantime::Duration,
    #[command(flatten)]
    pub(crate) assurance: Assurances,
    #[command(flatten)]
    pub(crate) records: Records,
}

/// What is seen to before a transfer is complete.
#[derive(Debug, Clone, Copy, Default, ClapArgs)]
pub(crate) struct Assurances {
    /// Be done only when everything is on stable storage at the receiver: no power cut takes any of it
    #[arg(long, conflicts_with = "classic")]
    durable: bool,
    /// Read what was stored again from the receiver's disk, past its memory, and hold it against the hashes
    #[arg(long, conflicts_with = "classic")]
    reread: bool,
}

impl From<Assurances> for Assurance {
    fn from(wanted: Assurances) -> Self {
        Self {
            durable: wanted.durable,
            reread: wanted.reread,
        }
    }
}

/// What a transfer leaves for programs to read.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct Records {
    /// Write one JSON object a line for everything that happens; '-' is standard output
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(crate) events: Option<PathBuf>,
    /// Write the receipt as JSON, for 'packhorse verify'. With 'recv --keep' each session's takes the place of
    /// the last one's
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(crate) receipt: Option<PathBuf>,
    /// Log each write and read call on its sockets into this file: offset, length, time, TCP_INFO. It is
    /// pcapng; 'packhorse watch CAPTURE --lanes N --ledger FILE' shows it beside what crossed the wire
    #[arg(long, value_name = "FILE.pcapng", help_heading = OUTPUT)]
    pub(crate) ledger: Option<PathBuf>,
    /// Write what each thread did when (read, hash, seal, send, receive, open, write, wait) into this file, for
    /// ui.perfetto.dev or chrome://tracing
    #[arg(long, value_name = "FILE.json", help_heading = OUTPUT)]
    pub(crate) trace: Option<PathBuf>,
}

/// Compare a directory with the receipt of what was received into it
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Reads every file again and names each entry that differs. With -v, files that the
receipt does not list are named as well.

Exit code 0: nothing differs; 1: something does; 5: the receipt cannot be read;
6: the receipt is damaged.

Example:
  packhorse verify /srv/incoming receipt.json")]
pub(crate) struct Verify {
    /// The directory that was received into
    pub(crate) dir: PathBuf,
    /// A file that --receipt wrote, or '/dev/stdin'
    pub(crate) receipt: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// List or remove what receivers that were ended left in a directory
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A receiver that is ended keeps the parts of large files that it has, and a roll of the files that
are complete, so that the same 'packhorse send' goes on from there. Where that never comes, they
stay: '.packhorse-*.part' and '.packhorse-*.journal' beside the files, and '.packhorse' in the
directory itself.

Examples:
  packhorse partials list /srv/incoming
  packhorse partials clean /srv/incoming --older-than 7d")]
pub(crate) struct Partials {
    #[command(subcommand)]
    pub(crate) verb: PartialsVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PartialsVerb {
    List(PartialsList),
    Clean(PartialsClean),
}

/// Where partials are, and how they are told.
#[derive(Debug, ClapArgs)]
pub(crate) struct PartialsPlace {
    /// The directory that was received into
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show what was left, and change nothing
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
For each part of a file: how much of it is there and verified, what it takes on disk, when it was
last written, and the path that the file is to have. What a living receiver writes is 'in use'.
So is a symbolic link that was made less than a minute ago and has not got its name.

Exit code 0: all was looked at, also where there is nothing; 1: something could not be; 5: the
directory cannot be looked into.

Examples:
  packhorse partials list                      of this directory
  packhorse partials list --json /srv/incoming")]
pub(crate) struct PartialsList {
    #[command(flatten)]
    pub(crate) place: PartialsPlace,
}

/// Remove what was left, but nothing that a living receiver writes
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Removes parts of files, their journals and the rolls, and links without their names that are older
than a minute. Files that are complete stay. The next 'packhorse send' sends all of it again.

Exit code 0: all of it is gone, was in use, or was not old enough; 1: something could not be
removed; 5: the directory cannot be looked into.

Examples:
  packhorse partials clean                     from this directory
  packhorse partials clean /srv/incoming --older-than 7d
  packhorse partials clean --older-than 12h --json")]
pub(crate) struct PartialsClean {
    #[command(flatten)]
    pub(crate) place: PartialsPlace,
    /// Only what was last written longer ago: 7d, 12h, 30m
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    pub(crate) older_than: Option<Duration>,
}

/// Show all of it on this machine: send a tree to a temporary receiver, verify, clean up
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  packhorse demo
  packhorse demo --path /usr/share/doc
  TMPDIR=/var/tmp packhorse demo          where the temporary receiver writes")]
pub(crate) struct Demo {
    /// The tree to send; default: the working directory
    #[arg(long)]
    pub(crate) path: Option<PathBuf>,
}

/// Open a socket and show what its options really are
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Shows each option as it was asked for and as the kernel granted it, the names of both ends, and for
TCP what the kernel knows of the connection. What is asked for stands behind the '?':

  nodelay  sndbuf=SIZE  rcvbuf=SIZE  reuseaddr  reuseport  backlog=N  ttl=N  tos=N  mark=N
  bind=ADDR  congestion=NAME  keepalive=TIME  timeout=TIME  v6only  hdrincl
  ca=FILE  pin=sha256:…  cert=FILE  key=FILE

Exit code 0: every option is in force; 1: one that was asked for is not.

Examples:
  packhorse sockopt 'tcp://nas.local:80?nodelay&sndbuf=1M'
  packhorse sockopt --listen 'tcp://:9090?backlog=128'
  packhorse sockopt --json udp://192.0.2.1:53")]
pub(crate) struct Sockopt {
    /// tcp://HOST:PORT, udp://…, tls://…, unix:PATH, unix:@NAME, unixgram:PATH, seqpacket:PATH,
    /// icmp://HOST, raw://HOST/PROTOCOL or rdm://HOST:PORT
    #[arg(value_name = "ENDPOINT")]
    pub(crate) endpoint: Endpoint,
    /// Wait there for peers instead of connecting
    #[arg(long)]
    pub(crate) listen: bool,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print a completion script for a shell
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Example:
  packhorse completions bash > ~/.local/share/bash-completion/completions/packhorse")]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// A time from 0 to a week.
fn parse_retry_for(text: &str) -> Result<humantime::Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO.into());
    }
    let time: humantime::Duration = text
        .parse()
        .map_err(|error: humantime::DurationError| error.to_string())?;
    match *time > Duration::from_secs(7 * 24 * 3600) {
        true => Err("expected a time up to 7days".into()),
        false => Ok(time),
    }
}

/// `IP:PORT`, `IP` or `PORT`.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    if let Ok(ip) = bare.unwrap_or(text).parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, DEFAULT_PORT));
    }
    if text.bytes().all(|b| b.is_ascii_digit())
        && let Ok(port) = text.parse()
    {
        return Ok(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
    }
    Err("expected IP:PORT, an IP address of this machine, or a port".into())
}

fn parse_age(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a time such as 7d, 12h or 30m".into())
}

fn parse_name(text: OsString) -> Result<RelativePath, String> {
    let name = RelativePath::parse(text.as_bytes()).map_err(|error| error.to_string())?;
    if name.parent_bytes().is_some() {
        return Err("a name has no '/': name a directory in TO, as ph://HOST/DIR".into());
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split_whitespace())
    }

    fn recv(line: &str) -> Recv {
        match parse(line).unwrap().verb {
            Verb::Recv(recv) => recv,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn send(line: &str) -> Send {
        match parse(line).unwrap().verb {
            Verb::Send(send) => send,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn refused(line: &str) -> ErrorKind {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.kind()
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn recv_has_sane_defaults() {
        let recv = recv("packhorse recv");
        assert_eq!(recv.dir, PathBuf::from("."));
        assert!(!recv.keep && !recv.keep_existing);
        assert_eq!((recv.listen, recv.insecure), (None, None));
    }

    #[test]
    fn listens_at_an_address_a_port_or_both() {
        for (text, expected) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:80", "[::1]:80"),
            ("192.0.2.1", "192.0.2.1:7225"),
            ("::1", "[::1]:7225"),
            ("[::1]", "[::1]:7225"),
            ("9000", "[::]:9000"),
            ("0", "[::]:0"),
        ] {
            assert_eq!(parse_listen(text), Ok(expected.parse().unwrap()), "{text}");
        }
        for text in ["", "nas", "70000", "+80", "1.2.3.4:", "[::1", ":80"] {
            assert!(parse_listen(text).is_err(), "{text}");
        }
    }

    #[test]
    fn insecure_beyond_loopback_must_be_said() {
        assert_eq!(
            recv("packhorse recv --insecure in").insecure,
            Some(Insecure::Loopback)
        );
        let anywhere = recv("packhorse recv --insecure=anywhere");
        assert_eq!(anywhere.insecure, Some(Insecure::Anywhere));
        assert_eq!(
            refused("packhorse recv --insecure=x"),
            ErrorKind::InvalidValue
        );
        let both = refused("packhorse recv --insecure --code-file x");
        assert_eq!(both, ErrorKind::ArgumentConflict);
    }

    #[test]
    fn classic_is_off_unless_asked_for() {
        assert_eq!(recv("packhorse recv").classic, None);
        let only = recv("packhorse recv --classic in");
        assert_eq!(only.classic, Some(Classic::Only));
        assert_eq!(only.dir, PathBuf::from("in"));
        let also = recv("packhorse recv --classic=also");
        assert_eq!(also.classic, Some(Classic::Also));
        let md5 = send("packhorse send --classic md5 a nas:80 --name b");
        assert_eq!(md5.classic, Some(ClassicFormat::Md5));
        for other in ["--receipt r", "--insecure", "--dry-run", "--code-file c"] {
            let line = format!("packhorse send --classic size a nas:80 {other}");
            assert_eq!(refused(&line), ErrorKind::ArgumentConflict, "{other}");
        }
    }

    #[test]
    fn json_is_for_what_is_only_listed() {
        let json = refused("packhorse send a b --json");
        assert_eq!(json, ErrorKind::MissingRequiredArgument);
    }

    #[test]
    fn a_name_is_one_component() {
        let send = send("packhorse send - nas --name shop.sql");
        assert_eq!(send.name.unwrap().as_bytes(), b"shop.sql");
        for name in ["a/b", "..", "/a", ".", "a/"] {
            let line = format!("packhorse send - nas --name {name}");
            assert_eq!(refused(&line), ErrorKind::ValueValidation, "{name}");
        }
    }

    #[test]
    fn ages_are_read() {
        let day = Duration::from_secs(86_400);
        assert_eq!(parse_age("7d"), Ok(7 * day));
        assert_eq!(parse_age("12h"), Ok(day / 2));
        let args = parse("packhorse partials clean --older-than 30m").unwrap();
        let Verb::Partials(partials) = args.verb else {
            panic!("{args:?}");
        };
        let PartialsVerb::Clean(clean) = partials.verb else {
            panic!("{partials:?}");
        };
        assert_eq!(clean.older_than, Some(Duration::from_secs(1800)));
        assert_eq!(clean.place.dir, PathBuf::from("."));
        for text in ["7", "x", "-1d", "99999999999999999999d"] {
            assert!(parse_age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn talk_goes_before_or_after_the_verb() {
        assert_eq!(parse("packhorse -vv recv").unwrap().talk.verbose, 2);
        assert!(parse("packhorse recv -q").unwrap().talk.quiet);
        assert_eq!(refused("packhorse recv -q -v"), ErrorKind::ArgumentConflict);
        assert_eq!(
            refused("packhorse recv --color blue"),
            ErrorKind::InvalidValue
        );
    }
}
