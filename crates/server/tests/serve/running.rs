//! A server that runs in the background, and its peers.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use packhorse_endpoint::{Bound, Endpoint, bind};
use packhorse_server::{
    Builtin, Connection, Event, Framing, Handler, Limits, Record, Refusal, Served, Server,
};
use tokio::sync::{mpsc, oneshot};

/// More than any answer here takes on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs in the background, and what it tells.
pub(crate) struct Running {
    /// Where the first of its sockets waits, where that has an address.
    pub(crate) address: SocketAddr,
    /// What clients write to reach each of its sockets.
    pub(crate) endpoints: Vec<String>,
    events: mpsc::UnboundedReceiver<Event>,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<Served>,
}

pub(crate) async fn serve(endpoint: &str, handler: &str, framing: &str, limits: Limits) -> Running {
    let handler: Builtin = handler.parse().unwrap();
    serve_all(&[endpoint], handler, framing, limits).await
}

pub(crate) async fn serve_all(
    endpoints: &[&str],
    handler: impl Handler,
    framing: &str,
    limits: Limits,
) -> Running {
    let mut all = Vec::new();
    for endpoint in endpoints {
        let endpoint: Endpoint = endpoint.parse().unwrap();
        all.extend(bind(&endpoint).await.unwrap());
    }
    let address = all.iter().find_map(|bound| bound.local.inet());
    let endpoints = all.iter().map(reached_by).collect();
    let (sender, events) = mpsc::unbounded_channel();
    let server = Server::new(all)
        .framing(framing_of(framing))
        .limits(limits)
        .observer(move |event| drop(sender.send(event)));
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(server.serve(handler, async move { drop(stopped.await) }));
    Running {
        address: address.unwrap_or(([0, 0, 0, 0], 0).into()),
        endpoints,
        events,
        stop: Some(stop),
        served,
    }
}

fn framing_of(text: &str) -> Framing {
    Framing {
        spec: text.parse().unwrap(),
        ..Framing::default()
    }
}

fn reached_by(bound: &Bound) -> String {
    let separator = if bound.kind.is_unix() { "" } else { "//" };
    let place = format!("{}:{separator}{}", bound.kind, bound.local);
    match &bound.tls {
        Some(tls) => format!("{place}?pin={}", tls.pin()),
        None => place,
    }
}

impl Running {
    pub(crate) async fn event<T>(&mut self, wanted: impl Fn(Event) -> Option<T>) -> T {
        let wait = async {
            loop {
                if let Some(found) = wanted(self.events.recv().await.unwrap()) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }

    pub(crate) async fn record(&mut self) -> Box<Record> {
        self.event(|event| match event {
            Event::Ended(record) => Some(record),
            _ => None,
        })
        .await
    }

    pub(crate) async fn refusal(&mut self) -> Refusal {
        self.event(|event| match event {
            Event::Refused { reason, .. } => Some(reason),
            _ => None,
        })
        .await
    }

    pub(crate) async fn arrival(&mut self) {
        self.event(|event| matches!(event, Event::Arrived(_)).then_some(()))
            .await;
    }

    pub(crate) async fn stop(&mut self) -> Served {
        let _ = self.stop.take().unwrap().send(());
        (&mut self.served).await.unwrap()
    }
}

/// What a blocking peer does, beside the runtime.
pub(crate) async fn peer<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A client of any kind.
pub(crate) async fn client(endpoint: &str, framing: &str) -> Connection {
    let connected = packhorse_endpoint::connect(&endpoint.parse().unwrap())
        .await
        .unwrap();
    Connection::of_client(connected, &framing_of(framing))
}

/// The next message, in time.
pub(crate) async fn next(connection: &mut Connection) -> Option<Vec<u8>> {
    let message = tokio::time::timeout(PATIENCE, connection.receive()).await;
    let message = message.unwrap().unwrap();
    message.map(|message| message.payload.to_vec())
}
