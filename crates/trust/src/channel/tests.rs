use proptest::collection::vec;
use proptest::prelude::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::*;

fn client() -> Channel {
    Channel::client(&Identity::generate().unwrap()).unwrap()
}

fn server() -> Channel {
    Channel::server(&Identity::generate().unwrap()).unwrap()
}

fn transmit(channel: &mut Channel) -> Vec<u8> {
    let mut wire = Vec::new();
    let any = channel.poll_transmit(&mut wire);
    assert_eq!(any, !wire.is_empty());
    wire
}

/// Carries what `from` has to send to `to`, and gives the plaintext that came out.
fn carry(from: &mut Channel, to: &mut Channel) -> Result<Vec<u8>, ChannelError> {
    let mut plaintext = Vec::new();
    to.handle_bytes(&transmit(from), &mut plaintext)?;
    Ok(plaintext)
}

fn established() -> (Channel, Channel) {
    let (mut client, mut server) = (client(), server());
    while client.is_handshaking() || server.is_handshaking() {
        carry(&mut client, &mut server).unwrap();
        carry(&mut server, &mut client).unwrap();
    }
    (client, server)
}

#[test]
fn two_sides_meet_and_talk() {
    let (mut client, mut server) = established();
    assert!(client.is_established() && server.is_established());
    assert_eq!(transmit(&mut server), b"", "no tickets");
    let version = client.connection.protocol_version();
    assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_3));
    let group = client
        .connection
        .negotiated_key_exchange_group()
        .unwrap()
        .name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);

    client.write(b"hello").unwrap();
    assert_eq!(carry(&mut client, &mut server).unwrap(), b"hello");
    server.write(b"good evening").unwrap();
    assert_eq!(carry(&mut server, &mut client).unwrap(), b"good evening");
}

#[test]
fn long_writes_pass_whole() {
    let (mut client, mut server) = established();
    let long: Vec<u8> = (0..=250).cycle().take(3 << 20).collect();
    client.write(&long).unwrap();
    assert!(carry(&mut client, &mut server).unwrap() == long);
}

#[test]
fn both_sides_see_the_same_binding_and_exporter() {
    let (client, server) = established();
    let at_client = client.binding().unwrap();
    let at_server = server.binding().unwrap();
    assert!(format!("{:?}", at_client.parts()) == format!("{:?}", at_server.parts()));
    let exporter = client.session_exporter().unwrap();
    assert_eq!(
        exporter.expose(),
        server.session_exporter().unwrap().expose()
    );
    let (other, _) = established();
    assert_ne!(
        exporter.expose(),
        other.session_exporter().unwrap().expose()
    );
    assert_eq!(format!("{exporter:?}"), "SessionExporter(..)");
}

#[test]
fn nothing_but_the_handshake_works_before_it_is_over() {
    let mut client = client();
    assert!(client.is_handshaking() && !client.is_established());
    assert_eq!(client.write(b"early"), Err(ChannelError::NotEstablished));
    assert_eq!(client.binding().unwrap_err(), ChannelError::NotEstablished);
    assert_eq!(
        client.session_exporter().unwrap_err(),
        ChannelError::NotEstablished
    );
}

#[test]
fn each_direction_closes_for_itself() {
    let (mut client, mut server) = established();
    client.write(b"last words").unwrap();
    client.close();
    client.close();
    assert_eq!(client.write(b"more"), Err(ChannelError::Closed));
    assert!(!server.peer_closed());
    assert_eq!(carry(&mut client, &mut server).unwrap(), b"last words");
    assert!(server.peer_closed() && server.is_established());

    server.write(b"answer").unwrap();
    server.close();
    assert_eq!(carry(&mut server, &mut client).unwrap(), b"answer");
    assert!(client.peer_closed());
    assert_eq!(transmit(&mut client), b"");
}

#[test]
fn closing_during_the_handshake_ends_the_channel() {
    let (mut client, mut server) = (client(), server());
    carry(&mut client, &mut server).unwrap();
    server.close();
    assert!(!server.is_handshaking() && !server.is_established());
    assert_eq!(
        server.handle_bytes(b"x", &mut Vec::new()),
        Err(ChannelError::Closed)
    );
    assert_eq!(server.write(b"x"), Err(ChannelError::Closed));
    carry(&mut server, &mut client).unwrap();
    assert!(client.peer_closed());
}

#[test]
fn bytes_after_the_close_are_ignored() {
    let (mut client, mut server) = established();
    client.close();
    let mut wire = transmit(&mut client);
    wire.extend([0x17; 100]);
    let mut plaintext = Vec::new();
    assert_eq!(server.handle_bytes(&wire, &mut plaintext), Ok(()));
    assert_eq!(server.handle_bytes(b"and more", &mut plaintext), Ok(()));
    assert!(server.peer_closed() && plaintext.is_empty());
}

#[test]
fn an_altered_record_ends_the_channel_and_the_peer_is_told() {
    let (mut client, mut server) = established();
    client.write(b"good").unwrap();
    let mut wire = transmit(&mut client);
    client.write(b"bad").unwrap();
    wire.extend(transmit(&mut client));
    *wire.last_mut().unwrap() ^= 1;

    let mut plaintext = Vec::new();
    let error = server.handle_bytes(&wire, &mut plaintext).unwrap_err();
    assert!(matches!(error, ChannelError::Broken { .. }), "{error}");
    assert_eq!(
        plaintext, b"good",
        "what was authenticated before is given out"
    );
    assert_eq!(
        server.handle_bytes(b"x", &mut plaintext),
        Err(error.clone())
    );
    assert_eq!(server.write(b"x"), Err(error));

    let told = carry(&mut server, &mut client).unwrap_err();
    assert_eq!(
        told,
        ChannelError::Refused {
            alert: "BadRecordMac".to_owned()
        }
    );
}

#[test]
fn other_protocols_are_not_tls() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.9\r\n",
        &[0; 64],
    ] {
        let mut server = server();
        let error = server.handle_bytes(bytes, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, ChannelError::Broken { .. }), "{error}");
        assert_ne!(transmit(&mut server), b"", "an alert goes out");
    }
}

/// A client of ours, changed by `change`, against a server of ours.
fn meet_changed(change: impl FnOnce(&mut ClientConfig)) -> (Option<Error>, ChannelError) {
    let identity = Identity::generate().unwrap();
    let mut config = tls::client_config(&identity).unwrap();
    change(&mut config);
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(config.into(), name).unwrap();
    let mut server = server();
    let mut client_error = None;
    for _ in 0..4 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let outcome = server.handle_bytes(&wire, &mut Vec::new());
        let wire = transmit(&mut server);
        let mut wire = wire.as_slice();
        while !wire.is_empty() && client_error.is_none() {
            client.read_tls(&mut wire).unwrap();
            client_error = client.process_new_packets().err();
        }
        if let Err(error) = outcome {
            return (client_error, error);
        }
    }
    panic!("the server took it: {server:?}");
}

#[test]
fn a_client_of_another_protocol_is_refused() {
    let (_, error) = meet_changed(|config| config.alpn_protocols = vec![b"h2".to_vec()]);
    assert_eq!(error, ChannelError::OtherProtocol);
}

#[test]
fn a_client_that_names_no_protocol_is_refused() {
    let (_, error) = meet_changed(|config| config.alpn_protocols.clear());
    assert_eq!(error, ChannelError::OtherProtocol);
}

#[test]
fn a_client_without_a_key_is_refused() {
    #[derive(Debug)]
    struct NoKey;

    impl rustls::client::ResolvesClientCert for NoKey {
        fn resolve(
            &self,
            _hints: &[&[u8]],
            _schemes: &[rustls::SignatureScheme],
        ) -> Option<std::sync::Arc<rustls::sign::CertifiedKey>> {
            None
        }
        fn only_raw_public_keys(&self) -> bool {
            true
        }
        fn has_certs(&self) -> bool {
            true
        }
    }

    let (_, error) =
        meet_changed(|config| config.client_auth_cert_resolver = std::sync::Arc::new(NoKey));
    assert_eq!(error, ChannelError::PeerKey);
}

#[test]
fn a_client_with_somebody_elses_key_is_refused() {
    let (one, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let mut stolen = (*one.certified_key()).clone();
    stolen.cert = other.certified_key().cert.clone();
    let resolver = rustls::client::AlwaysResolvesClientRawPublicKeys::new(stolen.into());
    let (_, error) =
        meet_changed(|config| config.client_auth_cert_resolver = std::sync::Arc::new(resolver));
    assert_eq!(error, ChannelError::PeerKey);
}

#[test]
fn a_client_with_a_key_of_another_kind_is_refused() {
    let mut odd = (*Identity::generate().unwrap().certified_key()).clone();
    let mut spki = odd.cert[0].to_vec();
    spki[8] ^= 1;
    odd.cert = vec![spki.into()];
    let resolver = rustls::client::AlwaysResolvesClientRawPublicKeys::new(odd.into());
    let (_, error) =
        meet_changed(|config| config.client_auth_cert_resolver = std::sync::Arc::new(resolver));
    assert_eq!(error, ChannelError::PeerKey);
}

/// Carries `from`'s bytes in pieces of the given sizes, again and again.
fn carry_cut(from: &mut Channel, to: &mut Channel, sizes: &[usize]) -> Vec<u8> {
    let (wire, mut plaintext) = (transmit(from), Vec::new());
    let mut rest = wire.as_slice();
    for &size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at(size.min(rest.len()));
        to.handle_bytes(piece, &mut plaintext).unwrap();
        rest = tail;
    }
    plaintext
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_segmentation_carries_everything(
        sizes in vec(prop_oneof![1_usize..4, 1_usize..600, 1_usize..40_000], 1..8),
        messages in vec(vec(any::<u8>(), 0..40_000), 0..4),
    ) {
        let (mut client, mut server) = (client(), server());
        while client.is_handshaking() || server.is_handshaking() {
            carry_cut(&mut client, &mut server, &sizes);
            carry_cut(&mut server, &mut client, &sizes);
        }
        for message in &messages {
            client.write(message).unwrap();
            prop_assert!(&carry_cut(&mut client, &mut server, &sizes) == message);
            server.write(message).unwrap();
            prop_assert!(&carry_cut(&mut server, &mut client, &sizes) == message);
        }
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in vec(any::<u8>(), 0..2000), as_record in any::<bool>()) {
        let mut bytes = bytes;
        if as_record && bytes.len() > 9 {
            // A handshake record of the right length, so that more of the parser is reached.
            let length = u16::try_from(bytes.len() - 5).unwrap().to_be_bytes();
            bytes[..5].copy_from_slice(&[22, 3, 3, length[0], length[1]]);
            bytes[5] %= 25;
        }
        for mut channel in [client(), server()] {
            let _ = channel.handle_bytes(&bytes, &mut Vec::new());
            let _ = channel.handle_bytes(&bytes, &mut Vec::new());
            transmit(&mut channel);
        }
    }

    #[test]
    fn an_altered_handshake_never_establishes_on_both_sides(
        flight in 0_usize..3,
        position in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let (mut client, mut server) = (client(), server());
        for number in 0..4 {
            let (from, to) = match number % 2 {
                0 => (&mut client, &mut server),
                _ => (&mut server, &mut client),
            };
            let mut wire = transmit(from);
            if number == flight {
                *position.get_mut(&mut wire) ^= flip;
            }
            let _ = to.handle_bytes(&wire, &mut Vec::new());
        }
        // A record's header outside the transcript may change without harm (its version), and then
        // both sides still agree on all keys.
        if client.is_established() && server.is_established() {
            let (one, other) = (client.session_exporter()?, server.session_exporter()?);
            prop_assert_eq!(one.expose(), other.expose());
        }
    }
}

#[test]
fn channels_move_between_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<Channel>();
    assert_send::<ChannelBinding>();
}
