//! Which key does what: what is shown at the bottom, and the help.

use super::app::View;

/// Keys that work everywhere.
const ALWAYS: [(&str, &str); 10] = [
    ("1 2 3 4", "packets, streams, ladder, messages"),
    ("↑ ↓ j k", "a row up, a row down"),
    ("PgUp PgDn Space", "a page up, a page down"),
    (
        "Home End g G",
        "the first row, the last (and the newest as they come)",
    ),
    ("← → h l", "long rows to the side; layers closed and open"),
    ("/", "search: in rows, and in the bytes of packets"),
    ("n N", "the next that was searched, the one before"),
    ("?", "this help"),
    ("Esc", "away with a question, a search, this help"),
    ("q Ctrl-C", "quit"),
];

/// Keys of a view.
fn own(view: View) -> &'static [(&'static str, &'static str)] {
    match view {
        View::Packets => &[
            ("Tab", "the next pane: packets, layers, bytes"),
            ("Enter", "to the layers; there, open and close one"),
            ("f", "filter, such as tcp port 9090 and host 192.0.2.7"),
            ("s", "the packet's stream as a ladder"),
        ],
        View::Streams => &[
            ("Enter", "the stream as a ladder"),
            ("p", "its packets: a filter for both ends"),
        ],
        View::Ladder => &[
            ("u", "unfold, and fold, long runs"),
            ("Enter", "to the packet of the row"),
        ],
        View::Messages => &[
            ("f", "how messages are framed"),
            ("Enter", "to the packet of the row"),
        ],
    }
}

/// The line at the bottom.
pub(super) fn line(view: View) -> &'static str {
    match view {
        View::Packets => {
            "q quit  ? help  / search  f filter  Tab pane  Enter layers  s stream  1-4 views"
        }
        View::Streams => "q quit  ? help  / search  Enter ladder  p packets  1-4 views",
        View::Ladder => "q quit  ? help  / search  u unfold  Enter packet  1-4 views",
        View::Messages => "q quit  ? help  / search  f framing  Enter packet  1-4 views",
    }
}

/// The help, a key a line.
pub(super) fn lines(view: View) -> Vec<String> {
    let own = own(view).iter().chain(&ALWAYS);
    own.map(|(keys, what)| format!(" {keys:<16} {what}"))
        .collect()
}
