use super::*;

const SENDER: &[u8] = b"sender, version 1, dray";
const RECEIVER: &[u8] = b"receiver, version 1, stable";

fn binding(exporter: u8) -> ChannelBinding {
    ChannelBinding::new(BindingParts {
        exporter: &[exporter; 32],
        client_spki: b"the client's key",
        server_spki: b"the server's key",
        session: Zeroizing::new([5; 32]),
    })
}

fn code(text: &str) -> Code {
    Code::given(text).unwrap()
}

/// One side's view of the inputs.
struct View {
    code: Code,
    binding: ChannelBinding,
    own_data: &'static [u8],
    peer_data: &'static [u8],
}

fn initiator() -> View {
    View {
        code: code("amber-falcon-river"),
        binding: binding(1),
        own_data: SENDER,
        peer_data: RECEIVER,
    }
}

fn responder() -> View {
    View {
        own_data: RECEIVER,
        peer_data: SENDER,
        ..initiator()
    }
}

/// A whole run: what the responder concludes, and, if it lets it, what the initiator does.
fn run(initiator: &View, responder: &View) -> Result<(PairingKey, PairingKey), PairingError> {
    let (one, share) = Initiator::start(&initiator.code, &initiator.binding, initiator.own_data)?;
    let (other, reply) = Responder::respond(
        &responder.code,
        &responder.binding,
        responder.own_data,
        &share,
        responder.peer_data,
    )?;
    let (one, tag) = one.finish(&reply, initiator.peer_data)?;
    let (key, tag) = other.verify(&tag)?;
    Ok((one.verify(&tag)?, key))
}

#[test]
fn equal_inputs_give_equal_keys_and_every_run_another() {
    let (first, second) = run(&initiator(), &responder()).unwrap();
    assert!(first == second);
    let (third, _) = run(&initiator(), &responder()).unwrap();
    assert!(first != third);
}

#[test]
fn any_difference_is_a_wrong_code() {
    let mut other_code = responder();
    other_code.code = code("amber-falcon-lake");
    let mut other_channel = responder();
    other_channel.binding = binding(2);
    let mut other_session = responder();
    other_session.binding.session = Zeroizing::new([6; 32]);
    let mut altered_peer_data = responder();
    altered_peer_data.peer_data = b"sender, version 0, dray";
    let mut altered_own_data = responder();
    altered_own_data.own_data = b"receiver, version 0, stable";
    for view in [
        other_code,
        other_channel,
        other_session,
        altered_peer_data,
        altered_own_data,
    ] {
        assert_eq!(
            run(&initiator(), &view).unwrap_err(),
            PairingError::WrongCode
        );
    }
}

#[test]
fn either_sides_key_binds() {
    for (client_spki, server_spki) in [
        (&b"another client"[..], &b"the server's key"[..]),
        (b"the client's key", b"another server"),
        (b"the server's key", b"the client's key"),
    ] {
        let mut view = responder();
        view.binding = ChannelBinding::new(BindingParts {
            exporter: &[1; 32],
            client_spki,
            server_spki,
            session: Zeroizing::new([5; 32]),
        });
        assert_eq!(
            run(&initiator(), &view).unwrap_err(),
            PairingError::WrongCode
        );
    }
}

/// Both sides after their shares crossed, with the initiator's tag.
fn after_shares() -> (
    InitiatorAwaitsTag,
    ResponderAwaitsTag,
    [u8; CONFIRMATION_LEN],
) {
    let (a, b) = (initiator(), responder());
    let (one, share) = Initiator::start(&a.code, &a.binding, SENDER).unwrap();
    let (other, reply) = Responder::respond(&b.code, &b.binding, RECEIVER, &share, SENDER).unwrap();
    let (one, tag) = one.finish(&reply, RECEIVER).unwrap();
    (one, other, tag)
}

#[test]
fn altered_and_cut_tags_are_refused() {
    for at in 0..CONFIRMATION_LEN {
        let (_, other, mut tag) = after_shares();
        tag[at] ^= 0x80;
        assert_eq!(
            other.verify(&tag).unwrap_err(),
            PairingError::WrongCode,
            "byte {at}"
        );
    }
    for length in [0, 1, 63] {
        let (_, other, tag) = after_shares();
        assert_eq!(
            other.verify(&tag[..length]).unwrap_err(),
            PairingError::WrongCode
        );
    }
    let (one, _, _) = after_shares();
    assert_eq!(
        one.verify(&[0; CONFIRMATION_LEN]).unwrap_err(),
        PairingError::WrongCode
    );
}

#[test]
fn a_reflected_share_is_refused() {
    let view = initiator();
    let (one, share) = Initiator::start(&view.code, &view.binding, SENDER).unwrap();
    assert_eq!(
        one.finish(&share, SENDER).unwrap_err(),
        PairingError::Reflected
    );
}

#[test]
fn a_reflected_tag_is_refused() {
    let (one, _, tag) = after_shares();
    assert_eq!(one.verify(&tag).unwrap_err(), PairingError::Reflected);
    let (_, other, _) = after_shares();
    let own = *other.0.own;
    assert_eq!(other.verify(&own).unwrap_err(), PairingError::Reflected);
}

#[test]
fn malformed_and_neutral_shares_are_refused_on_both_sides() {
    let view = initiator();
    let bad: [&[u8]; 5] = [&[0; 32], &[0xff; 32], &[], &[1; 31], &[1; 33]];
    for share in bad {
        let (one, _) = Initiator::start(&view.code, &view.binding, SENDER).unwrap();
        assert_eq!(
            one.finish(share, RECEIVER).unwrap_err(),
            PairingError::BadShare
        );
        let answer = Responder::respond(&view.code, &view.binding, RECEIVER, share, SENDER);
        assert_eq!(answer.unwrap_err(), PairingError::BadShare);
    }
}

/// Shares are uniform group elements whatever the phrase is; at least they never repeat.
#[test]
fn shares_are_fresh() {
    let view = initiator();
    let start = || {
        Initiator::start(&view.code, &view.binding, SENDER)
            .unwrap()
            .1
    };
    assert_ne!(start(), start());
}

#[test]
fn debug_tells_nothing() {
    let (one, other, _) = after_shares();
    assert_eq!(format!("{one:?}"), "InitiatorAwaitsTag(..)");
    assert_eq!(format!("{other:?}"), "ResponderAwaitsTag(..)");
    assert_eq!(format!("{:?}", binding(1)), "ChannelBinding(..)");
    let (key, _) = run(&initiator(), &responder()).unwrap();
    assert_eq!(format!("{key:?}"), "PairingKey(..)");
}
