//! A connection at the receiver's door, until it is known what it is and who is there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use packhorse_endpoint::Observed;
use packhorse_proto::lane::{LANE_HELLO_LENGTH, LaneHello};
use packhorse_proto::preface::{MAGIC, PREFACE_LENGTH, Preface, PrefaceError, Refusal, Security};
use packhorse_proto::receiver::{Authentication, Receiver, ReceiverEvent};
use packhorse_trust::{
    Channel, Identity, Opener, PairingError, PairingKey, Responder, ResponderAwaitsTag,
    SessionKeys, Suite,
};
use rustix::net;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::reception::{Authenticated, Guess, LaneArrival, LanePlace, News, Reception};
use crate::classic::{Hall, LENGTH_BYTES, header_length};
use crate::error::Error;
use crate::handshake::{
    self, Introduction, RECEIVER_ROLE, SENDER_ROLE, associated_data, host_name,
};
use crate::wire::{Turn, Wire};

/// A connection that was accepted.
pub(crate) struct Greeting {
    pub(crate) reception: Arc<Reception>,
    pub(crate) peer: SocketAddr,
}

/// Finds out who is there, within the deadline for it.
pub(crate) async fn run(greeting: Greeting, stream: Observed<TcpStream>) {
    let deadline = greeting.reception.limits.authentication;
    let reason = match timeout(deadline, greeting.greet(stream)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!(
            "it did not authenticate within {} seconds",
            deadline.as_secs()
        ),
    };
    let peer = greeting.peer;
    // The receiver is gone only when it ends.
    let _ = greeting.reception.news.send(News::Refused { peer, reason });
}

impl Greeting {
    async fn greet(&self, stream: Observed<TcpStream>) -> Result<(), Error> {
        packhorse_endpoint::tune(&*stream).map_err(Error::Lost)?;
        let mut preface = [0; PREFACE_LENGTH];
        let (first, rest) = preface.split_at_mut(MAGIC.len());
        stream.read_exact(first).await.map_err(Error::Lost)?;
        // Read as the length of a classic header, the magic is far beyond the longest.
        if let Some(hall) = &self.reception.classic
            && let Ok(first) = <[u8; LENGTH_BYTES]>::try_from(&*first)
            && header_length(first).is_ok()
        {
            return self.hand_over(hall, stream, first).await;
        }
        stream.read_exact(rest).await.map_err(Error::Lost)?;
        match Preface::parse(preface) {
            Ok(Preface::Lane) => self.greet_lane(stream).await,
            Ok(Preface::Control(security)) => self.greet_control(stream, security).await,
            Err(error @ PrefaceError::Version(_)) => {
                refuse(stream, Refusal::Version).await;
                Err(error.into())
            }
            Ok(_) => Err(PrefaceError::Unknown.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// A classic client: it is served elsewhere, with limits of its own.
    async fn hand_over(
        &self,
        hall: &Arc<Hall>,
        stream: Observed<TcpStream>,
        first: [u8; LENGTH_BYTES],
    ) -> Result<(), Error> {
        let place = hall.room().await;
        let stream = stream.into_std().map_err(Error::Lost)?;
        stream.set_nonblocking(false).map_err(Error::Lost)?;
        hall.admit(place, stream, self.peer, first.to_vec());
        Ok(())
    }

    async fn greet_lane(&self, stream: Observed<TcpStream>) -> Result<(), Error> {
        let mut hello = [0; LANE_HELLO_LENGTH];
        stream.read_exact(&mut hello).await.map_err(Error::Lost)?;
        let hello = LaneHello::parse(&hello);
        let stream = stream.into_std().map_err(Error::Lost)?;
        stream.set_nonblocking(false).map_err(Error::Lost)?;
        let stranger = || Error::Lost(std::io::Error::other("a lane of no session"));
        let most = self.reception.limits.lanes;
        let admitted = self.reception.with_session(|session| {
            if session.id != hello.session || session.lanes_opened.contains(&hello.lane) {
                return None;
            }
            let place = LanePlace::take(&session.lanes_open, most)?;
            let opener = match (&mut session.keys, session.suite) {
                (Some(keys), Some(suite)) => {
                    keys.check_lane_tag(&hello.session, hello.lane, &hello.tag)
                        .ok()?;
                    Some(Opener::new(
                        suite,
                        keys.open_lane(hello.lane).ok()?.sender_to_receiver,
                    ))
                }
                _ => None,
            };
            session.lanes_opened.insert(hello.lane);
            let arrival = LaneArrival {
                number: hello.lane,
                stream,
                opener,
                place,
            };
            session.lanes.send(arrival).ok()
        });
        admitted.flatten().ok_or_else(stranger)
    }

    async fn greet_control(
        &self,
        stream: Observed<TcpStream>,
        security: Security,
    ) -> Result<(), Error> {
        let refusal = match (self.reception.security, security) {
            (Security::Tls, Security::Insecure) => Some(Refusal::WantsTls),
            (Security::Insecure, Security::Tls) => Some(Refusal::WantsInsecure),
            _ if self.reception.is_busy() => Some(Refusal::Busy),
            _ => None,
        };
        if let Some(refusal) = refusal {
            refuse(stream, refusal).await;
            return Err(Error::Refused(refusal));
        }
        stream
            .write_all(&Preface::Accepted.emit())
            .await
            .map_err(Error::Lost)?;
        let channel = match security {
            Security::Insecure => None,
            Security::Tls => {
                let identity =
                    Identity::generate().map_err(|error| Error::Storage(error.to_string()))?;
                Some(Channel::server(&identity)?)
            }
        };
        let introduction = handshake::establish(Wire::new(stream, channel)).await?;
        let authenticated = Pairing::new(self, introduction, security).run().await?;
        let _ = self
            .reception
            .news
            .send(News::Authenticated(Box::new(authenticated)));
        Ok(())
    }
}

/// Says no, and takes in what the client has sent: closing over unread bytes would reset the
/// connection, and the client might never read the answer.
async fn refuse(stream: Observed<TcpStream>, refusal: Refusal) {
    let said = stream.write_all(&Preface::Refused(refusal).emit()).await;
    if said.is_ok() && net::shutdown(&*stream, net::Shutdown::Write).is_ok() {
        let mut unread = [0; 4096];
        let drain = async {
            while stream
                .read(&mut unread)
                .await
                .is_ok_and(|length| length > 0)
            {}
        };
        let _ = timeout(Duration::from_secs(1), drain).await;
    }
}

/// The code's proof at the receiver.
struct Pairing<'a> {
    greeting: &'a Greeting,
    wire: Wire,
    plaintext: Vec<u8>,
    proto: Receiver,
    started: Instant,
    name: String,
    suite: Option<Suite>,
    awaits: Option<(ResponderAwaitsTag, u64)>,
}

impl<'a> Pairing<'a> {
    fn new(greeting: &'a Greeting, introduction: Introduction, security: Security) -> Self {
        let authentication = match security {
            Security::Insecure => Authentication::None,
            Security::Tls => Authentication::Code,
        };
        let proto = Receiver::new(
            greeting.reception.limits.clone(),
            authentication,
            Duration::ZERO,
        );
        Self {
            greeting,
            wire: introduction.wire,
            plaintext: introduction.early,
            proto,
            started: Instant::now(),
            name: String::new(),
            suite: None,
            awaits: None,
        }
    }

    async fn run(mut self) -> Result<Authenticated, Error> {
        loop {
            let outcome = self
                .proto
                .handle_bytes(&self.plaintext, self.started.elapsed());
            self.plaintext.clear();
            if let Err(violation) = outcome {
                self.say_goodbye().await;
                return Err(violation.into());
            }
            while let Some(event) = self.proto.poll_event() {
                match self.handle_event(event) {
                    Ok(None) => {}
                    Ok(Some(keys)) => return self.finish(keys).await,
                    Err(error) => {
                        self.proto.abort(error.abort_code(), &error.to_string());
                        self.say_goodbye().await;
                        return Err(error);
                    }
                }
            }
            self.transmit()?;
            self.wire.flush().await?;
            if self.wire.turn(&mut self.plaintext).await? == Turn::Closed
                && self.plaintext.is_empty()
            {
                return Err(Error::Lost(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    fn transmit(&mut self) -> Result<(), Error> {
        let mut out = Vec::new();
        if self.proto.poll_transmit(&mut out) {
            self.wire.queue(&out)?;
        }
        Ok(())
    }

    async fn say_goodbye(mut self) {
        if self.transmit().is_ok() {
            let _ = timeout(Duration::from_secs(1), self.wire.close()).await;
        }
    }

    async fn finish(mut self, keys: Option<SessionKeys>) -> Result<Authenticated, Error> {
        self.transmit()?;
        self.wire.flush().await?;
        let Self {
            greeting,
            wire,
            plaintext,
            proto,
            started,
            name,
            suite,
            ..
        } = self;
        Ok(Authenticated {
            wire,
            plaintext,
            proto,
            started,
            peer: greeting.peer,
            name,
            suite,
            keys,
        })
    }

    /// Answers with the keys when the sender is authenticated.
    fn handle_event(&mut self, event: ReceiverEvent) -> Result<Option<Option<SessionKeys>>, Error> {
        match event {
            ReceiverEvent::Hello {
                suites,
                share,
                name,
            } => {
                self.name = name.as_str().to_owned();
                match share {
                    None => {
                        self.proto.welcome(0, None, &host_name());
                        return Ok(Some(None));
                    }
                    Some(share) => self.welcome(&suites, &share)?,
                }
            }
            ReceiverEvent::Confirm { tag } => return self.judge(&tag).map(Some),
            ReceiverEvent::Aborted { code, text } => return Err(Error::PeerAborted { code, text }),
            _ => {}
        }
        Ok(None)
    }

    fn welcome(&mut self, suites: &[u8], share: &[u8; 32]) -> Result<(), Error> {
        let no_suite = || Error::Storage("no cipher suite that both sides have".to_owned());
        let suite = suites
            .iter()
            .find_map(|id| Suite::from_id(*id))
            .ok_or_else(no_suite)?;
        let reception = &self.greeting.reception;
        let (code, generation) = reception.code().ok_or_else(|| reception.no_code())?;
        let Some(channel) = self.wire.channel() else {
            return Ok(());
        };
        let own_name = host_name();
        let own = associated_data(RECEIVER_ROLE, &own_name);
        let theirs = associated_data(SENDER_ROLE, &self.name);
        let (awaits, own_share) =
            Responder::respond(&code, &channel.binding()?, &own, share, &theirs)?;
        self.awaits = Some((awaits, generation));
        self.suite = Some(suite);
        self.proto.welcome(suite.id(), Some(own_share), &own_name);
        Ok(())
    }

    fn judge(&mut self, tag: &[u8; 64]) -> Result<Option<SessionKeys>, Error> {
        let reception = &self.greeting.reception;
        let (Some((awaits, generation)), Some(channel)) = (self.awaits.take(), self.wire.channel())
        else {
            return Ok(None);
        };
        let exporter = channel.session_exporter()?;
        let mut proved: Option<(PairingKey, [u8; 64])> = None;
        let guess = reception.judge(generation, || {
            proved = awaits.verify(tag).ok();
            proved.is_some()
        });
        match (guess, proved) {
            (Guess::Right, Some((key, own_tag))) => {
                self.proto.authenticated(own_tag, self.started.elapsed());
                Ok(Some(SessionKeys::new(&exporter, &key)))
            }
            (Guess::Wrong { left }, _) => {
                let peer = self.greeting.peer;
                let _ = reception.news.send(News::WrongCode { peer, left });
                Err(Error::Pairing(PairingError::WrongCode))
            }
            _ => Err(reception.no_code()),
        }
    }
}
