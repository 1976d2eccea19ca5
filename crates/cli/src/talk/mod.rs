//! `packhorse connect` and `packhorse listen`: any socket, with message boundaries.

pub(crate) mod args;
mod chat;
pub(crate) mod connect;
mod converse;
mod editor;
mod ending;
mod input;
mod lines;
pub(crate) mod listen;
mod show;
mod text;

use std::io::{self, IsTerminal as _};

use packhorse_endpoint::Kind;
use packhorse_frame::{FrameSpec, Limits};
use packhorse_server::Framing;

use args::Manners;
use input::Cut;
use show::{Style, Tags};

fn framing_of(manners: &Manners) -> Framing {
    Framing {
        spec: manners.frame,
        limits: Limits {
            max_message: manners.max_message,
        },
    }
}

/// Bytes as they are where nobody but a program reads them, and nothing parts them.
fn style_of(manners: &Manners, kinds: &[Kind], tags: Tags) -> Style {
    let parted = manners.frame != FrameSpec::default()
        || kinds
            .iter()
            .any(|kind| kind.socket_type().keeps_boundaries());
    match (manners.json, manners.hex) {
        (true, _) => Style::Json,
        (_, true) => Style::Hex,
        _ if parted || tags == Tags::Peers || io::stdout().is_terminal() => Style::Text,
        _ => Style::Raw,
    }
}

fn cut_of(manners: &Manners, kind: Kind) -> Cut {
    let parted = manners.frame != FrameSpec::default() || kind.socket_type().keeps_boundaries();
    match parted || manners.hex || io::stdin().is_terminal() {
        // Three characters a byte is as generous as hexadecimal input gets.
        true if manners.hex => Cut::Lines(manners.max_message.saturating_mul(3)),
        true => Cut::Lines(manners.max_message),
        false => Cut::Anywhere,
    }
}
