//! Two machines meet: channel, code phrase, session keys and records, through the public interface.

use packhorse_trust::pairing::CONFIRMATION_LEN;
use packhorse_trust::{
    Channel, ChannelError, Code, Identity, Initiator, LaneKeys, Opener, PairingError, PairingKey,
    RecordError, Responder, Sealer, SessionKeys, Suite,
};
use proptest::prelude::*;

const PHRASE: &str = "amber-falcon-river";
const SENDER: &[u8] = b"sender";
const RECEIVER: &[u8] = b"receiver";

/// One machine: a channel, and what came through it.
struct Machine {
    channel: Channel,
    received: Vec<u8>,
}

impl Machine {
    fn connecting() -> Self {
        let channel = Channel::client(&Identity::generate().unwrap()).unwrap();
        Self {
            channel,
            received: Vec::new(),
        }
    }

    fn listening() -> Self {
        let channel = Channel::server(&Identity::generate().unwrap()).unwrap();
        Self {
            channel,
            received: Vec::new(),
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        assert_eq!(self.received.len(), length);
        std::mem::take(&mut self.received)
    }
}

/// The network: cuts every flight into pieces of the given sizes.
struct Network(Vec<usize>);

impl Network {
    fn carry(&self, from: &mut Machine, to: &mut Machine) -> Result<(), ChannelError> {
        let mut wire = Vec::new();
        if !from.channel.poll_transmit(&mut wire) {
            return Ok(());
        }
        let mut rest = wire.as_slice();
        for &size in self.0.iter().cycle() {
            let (piece, tail) = rest.split_at(size.min(rest.len()));
            to.channel.handle_bytes(piece, &mut to.received)?;
            rest = tail;
            if rest.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn connect(&self) -> (Machine, Machine) {
        let (mut client, mut server) = (Machine::connecting(), Machine::listening());
        while client.channel.is_handshaking() || server.channel.is_handshaking() {
            self.carry(&mut client, &mut server).unwrap();
            self.carry(&mut server, &mut client).unwrap();
        }
        (client, server)
    }

    fn send(&self, from: &mut Machine, to: &mut Machine, message: &[u8]) -> Vec<u8> {
        from.channel.write(message).unwrap();
        self.carry(from, to).unwrap();
        to.take(message.len())
    }
}

/// Runs the four messages of a pairing over the channels. The second result is the initiator's: none
/// if the responder fell silent.
fn pair(
    network: &Network,
    (client, typed): (&mut Machine, &str),
    (server, shown): (&mut Machine, &str),
) -> (
    Result<PairingKey, PairingError>,
    Option<Result<PairingKey, PairingError>>,
) {
    let (typed, shown) = (Code::given(typed).unwrap(), Code::given(shown).unwrap());
    let binding = client.channel.binding().unwrap();
    let (initiator, share) = Initiator::start(&typed, &binding, SENDER).unwrap();
    let share = network.send(client, server, &share);

    let binding = server.channel.binding().unwrap();
    let (responder, reply) =
        Responder::respond(&shown, &binding, RECEIVER, &share, SENDER).unwrap();
    let reply = network.send(server, client, &reply);

    let (initiator, tag) = initiator.finish(&reply, RECEIVER).unwrap();
    let tag = network.send(client, server, &tag);
    match responder.verify(&tag) {
        Err(error) => (Err(error), None),
        Ok((key, tag)) => {
            let tag = network.send(server, client, &tag);
            (Ok(key), Some(initiator.verify(&tag)))
        }
    }
}

fn session(machine: &Machine, key: &PairingKey) -> SessionKeys {
    SessionKeys::new(&machine.channel.session_exporter().unwrap(), key)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_right_phrase_gives_both_sides_the_same_keys(
        sizes in prop::collection::vec(1_usize..3000, 1..6),
    ) {
        let network = Network(sizes);
        let (mut client, mut server) = network.connect();
        let (at_server, at_client) =
            pair(&network, (&mut client, "AMBE falc rive"), (&mut server, PHRASE));
        let (at_server, at_client) = (at_server.unwrap(), at_client.unwrap().unwrap());
        prop_assert!(at_server == at_client);

        let mut sending = session(&client, &at_client);
        let mut receiving = session(&server, &at_server);
        let tag = sending.lane_tag(&[4; 16], 1);
        prop_assert_eq!(receiving.check_lane_tag(&[4; 16], 1, &tag), Ok(()));
        let (one, other) = (sending.open_lane(1).unwrap(), receiving.open_lane(1).unwrap());
        records_pass(one, other);
    }
}

/// Seals and opens in both directions.
fn records_pass(sender: LaneKeys, receiver: LaneKeys) {
    let suite = Suite::preferred()[0];
    let there = Sealer::new(suite, sender.sender_to_receiver);
    let back = Sealer::new(suite, receiver.receiver_to_sender);
    let at_receiver = Opener::new(suite, receiver.sender_to_receiver);
    let at_sender = Opener::new(suite, sender.receiver_to_sender);
    for (mut sealer, mut opener) in [(there, at_receiver), (back, at_sender)] {
        for number in 0..5_u8 {
            let mut record = vec![number; 1000];
            let tag = sealer.seal_in_place(&[number], &mut record).unwrap();
            record.extend(tag);
            assert_eq!(
                opener.open_in_place(&[number], &mut record).unwrap(),
                [number; 1000]
            );
        }
    }
}

#[test]
fn directions_and_lanes_do_not_open_each_others_records() {
    let network = Network(vec![usize::MAX]);
    let (mut client, mut server) = network.connect();
    let (key, _) = pair(&network, (&mut client, PHRASE), (&mut server, PHRASE));
    let mut keys = session(&server, &key.unwrap());
    let (first, second) = (keys.open_lane(0).unwrap(), keys.open_lane(1).unwrap());
    let suite = Suite::Aes128Gcm;
    let mut record = b"stone".to_vec();
    let tag = Sealer::new(suite, first.sender_to_receiver)
        .seal_in_place(b"", &mut record)
        .unwrap();
    record.extend(tag);
    for mut opener in [
        Opener::new(suite, first.receiver_to_sender),
        Opener::new(suite, second.sender_to_receiver),
    ] {
        let refused = opener.open_in_place(b"", &mut record.clone()).map(|_| ());
        assert_eq!(refused, Err(RecordError::Forged));
    }
}

#[test]
fn a_wrong_phrase_fails_where_it_is_shown_and_the_guesser_hears_nothing() {
    let network = Network(vec![usize::MAX]);
    for guess in [
        "amber-falcon-lake",
        "amber-falcon",
        "amber-falcon-river-river",
        "password",
    ] {
        let (mut client, mut server) = network.connect();
        let (at_server, at_client) = pair(&network, (&mut client, guess), (&mut server, PHRASE));
        assert_eq!(at_server.unwrap_err(), PairingError::WrongCode, "{guess}");
        assert!(at_client.is_none(), "no tag left the responder");
    }
}

#[test]
fn the_same_phrase_over_another_channel_gives_other_keys() {
    let network = Network(vec![usize::MAX]);
    let mut keys = Vec::new();
    for _ in 0..2 {
        let (mut client, mut server) = network.connect();
        let (key, _) = pair(&network, (&mut client, PHRASE), (&mut server, PHRASE));
        keys.push(key.unwrap());
    }
    assert!(keys[0] != keys[1]);
}

/// Somebody between the two who answers each as if it were the other, and passes the messages of the
/// pairing on unread: two channels, the right phrase on neither.
#[test]
fn a_person_in_the_middle_who_passes_messages_on_is_noticed() {
    let network = Network(vec![usize::MAX]);
    let (mut client, mut middle_left) = network.connect();
    let (mut middle_right, mut server) = network.connect();
    let code = Code::given(PHRASE).unwrap();

    let binding = client.channel.binding().unwrap();
    let (initiator, share) = Initiator::start(&code, &binding, SENDER).unwrap();
    let share = network.send(&mut client, &mut middle_left, &share);
    let share = network.send(&mut middle_right, &mut server, &share);

    let binding = server.channel.binding().unwrap();
    let (responder, reply) = Responder::respond(&code, &binding, RECEIVER, &share, SENDER).unwrap();
    let reply = network.send(&mut server, &mut middle_right, &reply);
    let reply = network.send(&mut middle_left, &mut client, &reply);

    let (initiator, tag) = initiator.finish(&reply, RECEIVER).unwrap();
    let tag = network.send(&mut client, &mut middle_left, &tag);
    let tag = network.send(&mut middle_right, &mut server, &tag);
    assert_eq!(responder.verify(&tag).unwrap_err(), PairingError::WrongCode);

    // Nor can the middle make the client believe anything.
    for forged in [[0; CONFIRMATION_LEN], [0xff; CONFIRMATION_LEN]] {
        let binding = client.channel.binding().unwrap();
        let (again, _) = Initiator::start(&code, &binding, SENDER).unwrap();
        let (again, _) = again.finish(&reply, RECEIVER).unwrap();
        assert_eq!(again.verify(&forged).unwrap_err(), PairingError::WrongCode);
    }
    let reflected: [u8; CONFIRMATION_LEN] = tag.try_into().unwrap();
    assert_eq!(
        initiator.verify(&reflected).unwrap_err(),
        PairingError::Reflected
    );
}

/// Somebody between the two who guesses, on both sides.
#[test]
fn a_person_in_the_middle_gets_one_guess_on_each_side() {
    let network = Network(vec![usize::MAX]);
    let (mut client, mut middle_left) = network.connect();
    let (mut middle_right, mut server) = network.connect();
    let (at_middle, at_client) = pair(
        &network,
        (&mut client, PHRASE),
        (&mut middle_left, "amber-falcon-lake"),
    );
    assert_eq!(at_middle.unwrap_err(), PairingError::WrongCode);
    assert!(at_client.is_none());
    let (at_server, at_middle) = pair(
        &network,
        (&mut middle_right, "amber-falcon-lake"),
        (&mut server, PHRASE),
    );
    assert_eq!(at_server.unwrap_err(), PairingError::WrongCode);
    assert!(at_middle.is_none());
}

#[test]
fn the_roles_of_channel_and_pairing_are_independent() {
    let network = Network(vec![usize::MAX]);
    let (mut client, mut server) = network.connect();
    let (at_client, at_server) = pair(&network, (&mut server, PHRASE), (&mut client, PHRASE));
    assert!(at_client.unwrap() == at_server.unwrap().unwrap());
}
