//! The lessons: what is sent, how it is read.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use packhorse_endpoint::{CallObserver, Observed};
use rustix::io::ioctl_fionread;
use rustix::net::sockopt;

use super::ground::{Ground, Offload};

/// How long a side waits for the other one before it gives up.
const PATIENCE: Duration = Duration::from_secs(3);

/// Room of a read call, in bytes: far more than a batch of small messages.
const ROOM: usize = 64 << 10;

/// Messages of a batch. Fewer than the segments that may leave before the first acknowledgment (RFC 6928: ten).
const BATCH: usize = 8;

/// A lesson.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lesson {
    /// Small messages, and Nagle's algorithm on.
    Nagle,
    /// The same with TCP_NODELAY.
    NoDelay,
    /// The same, read late.
    LateReader,
    /// Messages larger than a segment.
    Large,
    /// The same, handed to the device as one.
    Offload,
}

impl Lesson {
    /// Those that this ground can show.
    pub(super) fn all(ground: Ground) -> &'static [Self] {
        const ALL: [Lesson; 5] = [
            Lesson::Nagle,
            Lesson::NoDelay,
            Lesson::LateReader,
            Lesson::Large,
            Lesson::Offload,
        ];
        match ground {
            Ground::Own => &ALL,
            // Whatever is handed to it there is at most as large as a packet may be.
            Ground::Shared { .. } => &ALL[..4],
        }
    }

    /// For programs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nagle => "nagle",
            Self::NoDelay => "nodelay",
            Self::LateReader => "late_reader",
            Self::Large => "large",
            Self::Offload => "offload",
        }
    }

    /// For a person.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Nagle => {
                "Small messages, one write each (Nagle's algorithm is on, as by default)"
            }
            Self::NoDelay => "The same with TCP_NODELAY (Nagle's algorithm is off)",
            Self::LateReader => "The same, and the receiver reads late",
            Self::Large => "Messages larger than a segment",
            Self::Offload => "The same, with segmentation left to the device (GSO)",
        }
    }

    /// The lengths of its messages.
    pub(super) fn messages(self, ground: Ground) -> Vec<usize> {
        let mtu = usize::try_from(ground.mtu()).unwrap_or(usize::MAX);
        match self {
            Self::Nagle | Self::NoDelay | Self::LateReader => vec![6; BATCH],
            // Two segments and a rest.
            Self::Large | Self::Offload => vec![mtu.saturating_mul(8) / 3; 2],
        }
    }

    fn offload(self) -> Offload {
        match self {
            Self::Offload => Offload::On,
            _ => Offload::Off,
        }
    }

    /// Runs it: the sender here, the receiver on a thread of its own. Gives the addresses of the two.
    pub(super) fn run(
        self,
        ground: Ground,
        listener: &TcpListener,
        calls: &Arc<dyn CallObserver>,
    ) -> io::Result<(SocketAddr, SocketAddr)> {
        ground.set_offload(self.offload())?;
        let messages = self.messages(ground);
        let total = messages.iter().sum();
        let (ready, is_ready) = mpsc::channel();
        let (received, has_received) = mpsc::channel();
        let server = listener.local_addr()?;
        thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                let outcome = self.receive(listener, calls, total, &ready);
                // A sender that is gone hears nothing.
                let _ = received.send(());
                outcome?.see_the_end()
            });
            let sent = self.send(server, calls, &messages, &is_ready, &has_received);
            let ended = receiver.join().map_err(|_| io::ErrorKind::Other)?;
            let client = sent?;
            ended?;
            Ok((client, server))
        })
    }

    fn send(
        self,
        server: SocketAddr,
        calls: &Arc<dyn CallObserver>,
        messages: &[usize],
        ready: &mpsc::Receiver<()>,
        received: &mpsc::Receiver<()>,
    ) -> io::Result<SocketAddr> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_nodelay(self != Self::Nagle)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let client = stream.local_addr()?;
        let mut stream = Observed::new(stream, Some(calls));
        // The batch is made before, so that the writes follow each other closely.
        let batch: Vec<Vec<u8>> = (0..)
            .zip(messages)
            .map(|(number, &length)| text(number, length))
            .collect();
        ready.recv_timeout(PATIENCE).map_err(io::Error::other)?;
        for message in &batch {
            stream.write_all(message)?;
        }
        // Closing would push out what is held back.
        received.recv_timeout(PATIENCE).map_err(io::Error::other)?;
        Ok(client)
    }

    fn receive(
        self,
        listener: &TcpListener,
        calls: &Arc<dyn CallObserver>,
        total: usize,
        ready: &mpsc::Sender<()>,
    ) -> io::Result<Received> {
        let stream = accept(listener)?;
        // A connection begins by acknowledging at once, to let its sender get up to speed. This one is as it
        // is later, and as one that answers is always: acknowledgments wait for 40 ms (tcp(7), TCP_QUICKACK).
        sockopt::set_tcp_quickack(&stream, false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut stream = Observed::new(stream, Some(calls));
        let _ = ready.send(());
        if self == Self::LateReader {
            wait_for(&stream, total)?;
        }
        let mut room = vec![0; ROOM];
        let mut have = 0;
        while have < total {
            match stream.read(&mut room)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => have += read,
            }
        }
        Ok(Received(stream))
    }
}

/// A receiver that has everything.
struct Received(Observed<TcpStream>);

impl Received {
    fn see_the_end(mut self) -> io::Result<()> {
        while self.0.read(&mut [0; 64])? > 0 {}
        Ok(())
    }
}

/// Where the lessons' receiver waits.
pub(super) fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts, but does not wait for ever: a sender that cannot connect says so by itself.
fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let until = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits until so many bytes are there to be read.
fn wait_for(stream: &TcpStream, bytes: usize) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    while ioctl_fionread(stream)? < bytes as u64 && Instant::now() < until {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A message of this length that begins with its number, in words as the article has them.
fn text(number: usize, length: usize) -> Vec<u8> {
    let mut text = format!("hello{number}").into_bytes();
    text.resize(length, b'.');
    text
}
