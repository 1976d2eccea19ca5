//! What was typed for `watch`: types and help, no effects.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use packhorse_frame::FrameSpec;
use packhorse_watch::Filter;
use packhorse_watch::stream::StreamId;

/// Show what crossed the wire: frames, layers, streams, ladders, and which segment carried which message
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Without a view: a terminal interface on a terminal, a line a frame otherwise.

Examples:
  packhorse watch capture.pcapng                  look around
  packhorse watch capture.pcapng --streams        every conversation, with what TCP did in it
  packhorse watch capture.pcapng --ladder 0       stream 0 as a ladder; --svg FILE, --html FILE draw it
  packhorse watch capture.pcapng --follow 0       what was said in stream 0
  packhorse watch capture.pcapng --messages 0 --frame u32be
                                                  which segment carried which message, and why
  packhorse watch --interface lo --filter 'tcp port 9090'
  packhorse watch capture.pcap.gz --filter 'host 192.0.2.7' --write chosen.pcapng
  packhorse watch --demo                          why messages stick together, on this machine

docs/watch.md has all of it.

Exit code 6: the capture is damaged; what is before the damage was shown, and the error tells the offset")]
pub(crate) struct Watch {
    /// A pcap or pcapng file, also compressed with gzip or zstd; '-': standard input
    #[arg(required_unless_present_any = ["interface", "demo"])]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) live: Live,
    /// Only frames that match, such as 'tcp port 9090 and host 192.0.2.7'
    #[arg(short, long, value_name = "FILTER")]
    pub(crate) filter: Option<Filter>,
    #[command(flatten)]
    pub(crate) view: View,
    #[command(flatten)]
    pub(crate) how: How,
}

impl Watch {
    /// Whether no view is named, nor a form for programs: a terminal shows the interface for it.
    pub(crate) fn wants_terminal(&self) -> bool {
        let view = &self.view;
        let named = view.layers || view.streams || view.demo;
        let stream = [view.ladder, view.follow, view.messages, view.lanes];
        !named && !self.how.json && stream.iter().all(Option::is_none)
    }

    /// What was asked for and would be ignored, with what it belongs to.
    pub(crate) fn ignored(&self) -> Option<(&'static str, &'static str)> {
        let (view, how, live) = (&self.view, &self.how, &self.live);
        let drawn = view.ladder.is_some() || view.lanes.is_some() || view.demo;
        let chosen = self.filter.is_some() || live.count.is_some() || live.write.is_some();
        let source = self.file.is_some() || live.interface.is_some();
        let rules = [
            (
                how.svg.is_some() && !drawn,
                "--svg",
                "--ladder, --lanes and --demo",
            ),
            (
                how.html.is_some() && !drawn,
                "--html",
                "--ladder, --lanes and --demo",
            ),
            (how.hex && view.follow.is_none(), "--hex", "--follow"),
            (
                how.raw.is_some() && view.follow.is_none(),
                "--raw",
                "--follow",
            ),
            (
                !how.ledger.is_empty() && view.lanes.is_none(),
                "--ledger",
                "--lanes",
            ),
            (
                how.frame.is_some() && view.messages.is_none() && !self.wants_terminal(),
                "--frame",
                "--messages, and to the terminal interface",
            ),
            (
                view.demo && source,
                "a capture",
                "another view: --demo makes its own",
            ),
            (
                view.demo && chosen,
                "--filter, --count or --write",
                "another view: --demo shows all",
            ),
        ];
        rules
            .into_iter()
            .find(|(ignored, ..)| *ignored)
            .map(|(_, what, of)| (what, of))
    }
}

/// Watching an interface.
#[derive(Debug, ClapArgs)]
pub(crate) struct Live {
    /// Watch an interface of this machine; 'any': all of them
    #[arg(short, long, value_name = "NAME", conflicts_with = "file")]
    pub(crate) interface: Option<String>,
    /// Keep what is captured, or chosen from a file, in this file, as pcapng
    #[arg(short, long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
    /// End after so many frames
    #[arg(short, long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// End after this time, such as 10s
    #[arg(long, value_name = "TIME", conflicts_with = "file", value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<std::time::Duration>,
}

/// What is shown.
#[derive(Debug, ClapArgs)]
#[group(multiple = false)]
pub(crate) struct View {
    /// Each frame taken apart, layer by layer
    #[arg(long)]
    pub(crate) layers: bool,
    /// Each conversation: packets, bytes, round trips, what TCP had to do
    #[arg(long)]
    pub(crate) streams: bool,
    /// A stream as a ladder: handshake, data, acknowledgments, losses, close. N is tshark's tcp.stream; udp:N
    /// for a UDP conversation
    #[arg(long, value_name = "N")]
    pub(crate) ladder: Option<StreamId>,
    /// What was said in a stream, byte for byte
    #[arg(long, value_name = "N")]
    pub(crate) follow: Option<StreamId>,
    /// Which segments carried each message of a stream, and why messages were glued or split. Takes --frame
    #[arg(long, value_name = "N", requires = "frame")]
    pub(crate) messages: Option<StreamId>,
    /// Three lanes: messages written, segments on the wire, reads at the receiver. Takes --ledger
    #[arg(long, value_name = "N", requires = "ledger")]
    pub(crate) lanes: Option<StreamId>,
    /// Show on loopback why messages stick together: with Nagle's algorithm on and off, with a receiver that
    /// reads late, with messages larger than a segment
    #[arg(long)]
    pub(crate) demo: bool,
}

/// How it is shown.
#[derive(Debug, ClapArgs)]
pub(crate) struct How {
    /// How messages are told apart: line, u32be, varint and so on, as for connect and listen
    #[arg(long, value_name = "SPEC")]
    pub(crate) frame: Option<FrameSpec>,
    /// What a process wrote and read, by its --ledger; once for each side
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger: Vec<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Bytes as hexadecimal digits beside their text (--follow)
    #[arg(long, conflicts_with_all = ["json", "raw"])]
    pub(crate) hex: bool,
    /// The bytes themselves (--follow): both directions to standard output, or with =PREFIX each to its file,
    /// PREFIX.client and PREFIX.server, named for who sent it
    #[arg(long, value_name = "PREFIX", num_args = 0..=1, require_equals = true, conflicts_with = "json")]
    pub(crate) raw: Option<Option<PathBuf>>,
    /// Draw it as SVG into this file (--ladder, --lanes, --demo); more than one picture: a.svg, a-2.svg and so on
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Draw it as a page that needs nothing else, into this file (--ladder, --lanes, --demo)
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}
