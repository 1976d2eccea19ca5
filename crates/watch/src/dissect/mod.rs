//! A frame taken apart, layer by layer: every header with its fields and their bytes, and what it carries.
//!
//! [`dissect`] goes as deep as it understands and as the captured bytes reach; what is cut or wrong is noted at
//! its layer, and never stops what can be read. Streams are not put together here: a message of an application is
//! read from the segment that it begins in.

mod application;
mod arp;
mod icmp;
mod igmp;
mod ip;
mod layer;
mod link;
mod taker;
mod transport;

use std::net::IpAddr;
use std::ops::Range;

pub use layer::{Bytes, Field, Layer, Level, Value};

use crate::packet::Transport;
use crate::{Frame, Limits, Packets};

/// Layers that are taken apart at most: packets within packets end somewhere.
const DEEPEST: usize = 24;

/// A frame taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dissection {
    /// The outermost first.
    pub layers: Vec<Layer>,
    /// The payload of the packet that this fragment made whole: what layers [`of`](Layer::of) it mean.
    pub whole: Option<Vec<u8>>,
}

/// What frames before have to say: fragments that wait for others.
#[derive(Debug)]
pub struct Context {
    packets: Packets,
}

impl Context {
    /// Nothing yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            packets: Packets::new(limits),
        }
    }
}

/// Takes a frame apart. Frames come in the order of the capture, each once, so that fragments can be put together.
pub fn dissect(frame: &Frame<'_>, context: &mut Context) -> Dissection {
    let whole = context.packets.whole(frame).map(<[u8]>::to_vec);
    let on_wire = usize::try_from(frame.original_len).unwrap_or(frame.data.len());
    let mut dissector = Dissector {
        data: frame.data,
        of: Bytes::Frame,
        on_wire,
        layers: Vec::new(),
        whole: whole.as_deref(),
    };
    link::dissect(&mut dissector, frame.link);
    let layers = dissector.layers;
    Dissection { layers, whole }
}

/// A frame being taken apart.
#[derive(Debug)]
struct Dissector<'a> {
    /// What ranges mean.
    data: &'a [u8],
    of: Bytes,
    /// How long the data was on the wire.
    on_wire: usize,
    layers: Vec<Layer>,
    /// What fragments make, if this is the last of them.
    whole: Option<&'a [u8]>,
}

/// The addresses that a transport's checksum covers.
#[derive(Debug, Clone, Copy)]
struct Between {
    source: IpAddr,
    destination: IpAddr,
}

impl<'a> Dissector<'a> {
    fn taker(&self, range: Range<usize>) -> taker::Taker<'a> {
        taker::Taker::new(self.data, range)
    }

    /// Adds a layer: what was taken is its header, what is behind up to `end` its SDU. `false`: there may be no more.
    fn add(
        &mut self,
        protocol: &'static str,
        level: Level,
        taker: taker::Taker<'_>,
        end: usize,
        notes: Vec<String>,
    ) -> bool {
        let at = taker.at();
        self.layers.push(Layer {
            protocol,
            level,
            of: self.of,
            header: taker.begin().min(at)..at,
            sdu: at..end.min(self.data.len()).max(at),
            fields: taker.fields,
            notes,
        });
        self.layers.len() < DEEPEST
    }

    /// Says something about the last layer.
    fn note(&mut self, note: impl Into<String>) {
        if let Some(layer) = self.layers.last_mut() {
            layer.notes.push(note.into());
        }
    }
}

impl Packets {
    /// What the frame's packet was put together to, where it is the fragment that completes it.
    fn whole(&mut self, frame: &Frame<'_>) -> Option<&[u8]> {
        let before = crate::packet::Packet::parse(frame)?;
        let Transport::Fragment(_) = before.transport else {
            return None;
        };
        self.complete(&before).then(|| self.last_whole())
    }
}

/// What is said of a header that ends before it should.
fn cut() -> Vec<String> {
    vec!["cut: the frame ends within it".to_owned()]
}
