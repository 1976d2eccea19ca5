//! What is sent in each lesson, and how it is received.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use packhorse_endpoint::{Address, Direction, Family, RecvFlags, Socket, TcpInfoReader, Type};
use rustix::net::sockopt;

use super::namespace::{Loopback, set_loopback};

/// A network like Ethernet.
const MTU: u32 = 1500;

/// As many segments in a super-frame as Linux allows.
const SUPER_FRAME: u32 = 65535;

/// What is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lesson {
    pub(super) title: &'static str,
    pub(super) what: &'static str,
    /// Bytes of each message, and how many.
    message: usize,
    count: u32,
    /// Between two writes.
    pause: Duration,
    no_delay: bool,
    /// The receiver reads only when everything was sent.
    late: bool,
    super_frame: u32,
}

pub(super) const LESSONS: [Lesson; 5] = [
    Lesson {
        title: "Nagle's algorithm on",
        what: "Eight small messages, 2 ms apart; the receiver takes its time to acknowledge. The sender holds \
               small writes back while an acknowledgment is outstanding, and sends them together when it comes.",
        message: 16,
        count: 8,
        pause: Duration::from_millis(2),
        no_delay: false,
        late: false,
        super_frame: SUPER_FRAME,
    },
    Lesson {
        title: "Nagle's algorithm off (TCP_NODELAY)",
        what: "The same messages: each leaves at once, in a segment of its own.",
        message: 16,
        count: 8,
        pause: Duration::from_millis(2),
        no_delay: true,
        late: false,
        super_frame: SUPER_FRAME,
    },
    Lesson {
        title: "A receiver that reads late",
        what: "Each message has a segment of its own, and one read gets them all: the bytes lay in the receive \
               buffer, which knows no boundaries.",
        message: 16,
        count: 8,
        pause: Duration::ZERO,
        no_delay: true,
        late: true,
        super_frame: SUPER_FRAME,
    },
    Lesson {
        title: "Messages larger than a segment",
        what: "Three messages of 4,000 bytes: each is cut at the MSS.",
        message: 4000,
        count: 3,
        pause: Duration::from_millis(2),
        no_delay: true,
        late: false,
        super_frame: 1,
    },
    Lesson {
        title: "Messages larger than a segment, with offload",
        what: "The same messages where the sender hands over super-frames, which the network card cuts: the \
               capture, taken before that, shows segments larger than the MTU.",
        message: 4000,
        count: 3,
        pause: Duration::from_millis(2),
        no_delay: true,
        late: false,
        super_frame: SUPER_FRAME,
    },
];

impl Lesson {
    /// Sends and receives.
    pub(super) fn run(&self) -> io::Result<()> {
        set_loopback(Loopback {
            mtu: MTU,
            super_frame: self.super_frame,
        })?;
        let listener = Socket::new(Family::Ipv4, Type::Stream, 0)?;
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&Address::Inet(anywhere))?;
        listener.listen(1)?;
        let address = listener.local_name()?;
        thread::scope(|scope| {
            let lesson = *self;
            let (sent, all_sent) = std::sync::mpsc::channel::<()>();
            let receiver = scope.spawn(move || {
                let (socket, _) = listener.accept()?;
                if lesson.late {
                    // Comes when everything was sent, or when the sender has failed.
                    let _ = all_sent.recv();
                }
                receive(&socket)
            });
            let outcome = lesson.send(&address);
            drop(sent);
            let received = receiver.join();
            outcome?;
            received.map_err(|_| io::Error::other("the receiver failed"))?
        })
    }

    fn send(&self, to: &Address) -> io::Result<()> {
        let socket = Socket::new(Family::Ipv4, Type::Stream, 0)?;
        socket.connect(to)?;
        sockopt::set_tcp_nodelay(&socket, self.no_delay)?;
        for number in 0..self.count {
            if number > 0 {
                thread::sleep(self.pause);
            }
            socket.send_all(&self.message(number))?;
        }
        until_acknowledged(&socket)?;
        socket.shut_down(Direction::Send)?;
        if !self.late {
            // The receiver's end: everything has arrived.
            socket.receive(&mut [0; 1], RecvFlags::empty())?;
        }
        Ok(())
    }

    /// A length of four bytes, and as much.
    fn message(&self, number: u32) -> Vec<u8> {
        let mut text = format!("message {number} ").into_bytes();
        text.resize(self.message, b'.');
        let length = u32::try_from(text.len()).unwrap_or_default();
        [&length.to_be_bytes()[..], &text].concat()
    }
}

/// Waits until the other side has acknowledged everything: a FIN would take with it what is held back.
fn until_acknowledged(socket: &Socket) -> io::Result<()> {
    let mut reader = TcpInfoReader::new(socket).map_err(io::Error::other)?;
    while reader.read().map_err(io::Error::other)?.send_queue > 0 {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn receive(socket: &Socket) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        // Acknowledgments wait for what there is to answer, up to 40 ms. The kernel forgets this again.
        sockopt::set_tcp_quickack(socket, false)?;
        if socket.receive(&mut buffer, RecvFlags::empty())? == 0 {
            return Ok(());
        }
    }
}
