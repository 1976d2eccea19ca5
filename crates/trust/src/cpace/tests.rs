//! The draft's own vectors, and another implementation as the other end.

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let value = |digit: u8| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap();
    digits
        .chunks(2)
        .map(|pair| value(pair[0]) << 4 | value(pair[1]))
        .collect()
}

/// draft-irtf-cfrg-cpace-21, B.3.
struct Vector {
    channel: Vec<u8>,
    session: Vec<u8>,
    ya: Vec<u8>,
    yb: Vec<u8>,
}

fn vector() -> Vector {
    Vector {
        channel: hex("0b415f696e69746961746f720b425f726573706f6e646572"),
        session: hex("7e4b4791d6a8ef019b936c79fb7f2c57"),
        ya: hex("da3d23700a9e5699258aef94dc060dfda5ebb61f02a5ea77fad53f4ff0976d08"),
        yb: hex("d2316b454718c35362d83d69df6320f38578ed5984651435e2949762d900b80d"),
    }
}

impl Vector {
    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            secret: b"Password",
            channel: &self.channel,
            session: &self.session,
        }
    }

    fn side(&self, scalar: &[u8]) -> Ephemeral {
        Ephemeral::from_scalar(scalar_from(scalar), &self.inputs())
    }
}

fn scalar_from(bytes: &[u8]) -> Scalar {
    Scalar::from_canonical_bytes(bytes.try_into().unwrap()).unwrap()
}

#[test]
fn generator_matches_the_draft() {
    let vector = vector();
    let string = generator_string(&vector.inputs());
    let mut expected = hex("11435061636552697374726574746f3235350850617373776f726464");
    expected.extend([0; 100]);
    expected.extend(hex("18 0b415f696e69746961746f720b425f726573706f6e646572"));
    expected.extend(hex("10 7e4b4791d6a8ef019b936c79fb7f2c57"));
    assert_eq!(*string, expected);
    assert_eq!(string.len(), 170);
    assert_eq!(
        sha512(&[&string]).to_vec(),
        hex(
            "da6d3ddc8802fca9058755ffd3ebde08a9c2c74945901a258482a288b6663af0
             6bf645c93cd1c51512307199c80e84908916d983b34af77205f90851a657ee27"
        )
    );
    assert_eq!(
        generator(&vector.inputs()).compress().to_bytes().to_vec(),
        hex("222b6b195fe84b1652badb6f6a3ae3d24341e7306967f0b8115b40d5698c7e56")
    );
}

#[test]
fn shares_and_keys_match_the_draft() {
    let vector = vector();
    let (a, b) = (vector.side(&vector.ya), vector.side(&vector.yb));
    assert_eq!(
        a.share().to_vec(),
        hex("d6bac480f2c386c394efc7c47adb9925dcd2630b64f240c50f8d0eec482b9157")
    );
    assert_eq!(
        b.share().to_vec(),
        hex("3ea7e0b19560d7c0b0f5734f63b955286dfa8232b5ebe63324e2d9e7433f7258")
    );
    let expected = hex("80b69a8a76457ab6a4d7f887a4bf6b55a2f80ac19c333f917a05fc9887c8b40f");
    let at_a = a.shared_point(b.share()).unwrap();
    let at_b = b.shared_point(a.share()).unwrap();
    assert_eq!(at_a.0.to_vec(), expected);
    assert_eq!(at_b.0.to_vec(), expected);

    let initiator = Message {
        share: a.share(),
        data: b"ADa",
    };
    let responder = Message {
        share: b.share(),
        data: b"ADb",
    };
    for point in [at_a, at_b] {
        let key = point.into_key(&vector.session, initiator, responder);
        assert_eq!(
            key.into_bytes().to_vec(),
            hex(
                "b69effbf61b51d56401c0f65601abe428de8206feaaf0e32198896dcae7b35cd
                 2b38950a39dfd5d4a79164614c2984f7daa460b588c1e80c3fa2068af7900447"
            )
        );
    }
}

/// B.3.10.
#[test]
fn multiplication_matches_the_draft() {
    let side = draft_side();
    let x = hex("2c3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c");
    assert_eq!(
        side.shared_point(&x).map(|point| point.0.to_vec()),
        Ok(hex(
            "7c13645fe790a468f62c39beb7388e541d8405d1ade69d1778c5fe3e7f6b600e"
        ))
    );
}

/// B.3.11, and lengths no encoding has.
#[test]
fn invalid_shares_are_refused() {
    let side = draft_side();
    let not_a_point = hex("2b3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c");
    assert_eq!(side.shared_point(&not_a_point).map(|_| ()), Err(BadShare));
    assert_eq!(side.shared_point(&[0; 32]).map(|_| ()), Err(BadShare));
    assert_eq!(side.shared_point(&[0xff; 32]).map(|_| ()), Err(BadShare));
    for length in [0, 1, 31, 33, 64] {
        let share = vec![1; length];
        assert_eq!(
            side.shared_point(&share).map(|_| ()),
            Err(BadShare),
            "{length} bytes"
        );
    }
}

/// The scalar `s` of B.3.10 and B.3.11.
fn draft_side() -> Ephemeral {
    let s = hex("7cd0e075fa7955ba52c02759a6c90dbbfc10e6d40aea8d283e407d88cf538a05");
    Ephemeral {
        scalar: scalar_from(&s),
        share: [0; SHARE_LEN],
    }
}

#[test]
fn a_scalar_of_zero_is_refused() {
    let side = Ephemeral {
        scalar: Scalar::ZERO,
        share: [0; SHARE_LEN],
    };
    let vector = vector();
    let peer = vector.side(&vector.yb);
    assert_eq!(side.shared_point(peer.share()).map(|_| ()), Err(BadShare));
}

#[test]
fn long_secrets_need_no_padding() {
    let long = [b'x'; 300];
    let string = generator_string(&Inputs {
        secret: &long,
        channel: b"c",
        session: b"s",
    });
    assert_eq!(string[string.len() - 5..], *b"\x00\x01c\x01s");
}

mod interop {
    //! `pakery-cpace` as the other end. It brings the protocol's logic; group and hash are plugged
    //! in here from the crates we use anyway.

    use pakery_core::PakeError;
    use pakery_core::crypto::{CpaceGroup, Hash};
    use pakery_cpace::transcript::CpaceMode;
    use pakery_cpace::{CpaceCiphersuite, CpaceInitiator, CpaceResponder};
    use rand_core::{Infallible, TryCryptoRng, TryRng};

    use super::*;

    #[derive(Clone, PartialEq)]
    struct Group(RistrettoPoint);

    impl CpaceGroup for Group {
        type Scalar = Scalar;

        fn scalar_mul(&self, scalar: &Scalar) -> Self {
            Self(self.0 * scalar)
        }
        fn is_identity(&self) -> bool {
            self.0.is_identity()
        }
        fn to_bytes(&self) -> Vec<u8> {
            self.0.compress().to_bytes().to_vec()
        }
        fn from_bytes(bytes: &[u8]) -> Result<Self, PakeError> {
            let encoded = CompressedRistretto::from_slice(bytes).expect("32 bytes");
            Ok(Self(encoded.decompress().expect("a point")))
        }
        fn from_uniform_bytes(bytes: &[u8]) -> Result<Self, PakeError> {
            let bytes = bytes.try_into().expect("64 bytes");
            Ok(Self(RistrettoPoint::from_uniform_bytes(bytes)))
        }
        fn random_scalar(rng: &mut impl rand_core::CryptoRng) -> Scalar {
            let mut wide = [0; 64];
            rng.fill_bytes(&mut wide);
            Scalar::from_bytes_mod_order_wide(&wide)
        }
        fn add(&self, other: &Self) -> Self {
            Self(self.0 + other.0)
        }
        fn negate(&self) -> Self {
            Self(-self.0)
        }
        fn basepoint_mul(scalar: &Scalar) -> Self {
            Self(RistrettoPoint::mul_base(scalar))
        }
        fn scalar_from_wide_bytes(bytes: &[u8]) -> Result<Scalar, PakeError> {
            let bytes = bytes.try_into().expect("64 bytes");
            Ok(Scalar::from_bytes_mod_order_wide(bytes))
        }
        fn scalar_to_bytes(scalar: &Scalar) -> Vec<u8> {
            scalar.to_bytes().to_vec()
        }
    }

    #[derive(Clone)]
    struct Sha512(digest::Context);

    impl Hash for Sha512 {
        const OUTPUT_SIZE: usize = HASH_LEN;

        fn new() -> Self {
            Self(digest::Context::new(&digest::SHA512))
        }
        fn update(&mut self, data: &[u8]) {
            self.0.update(data);
        }
        fn finalize(self) -> Vec<u8> {
            self.0.finish().as_ref().to_vec()
        }
    }

    struct Suite;

    impl CpaceCiphersuite for Suite {
        type Group = Group;
        type Hash = Sha512;
        const DSI: &'static [u8] = DSI;
        const HASH_BLOCK_SIZE: usize = BLOCK_LEN;
        const FIELD_SIZE_BYTES: usize = 32;
    }

    struct System;

    impl TryRng for System {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            Ok(getrandom::u32().expect("randomness"))
        }
        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            Ok(getrandom::u64().expect("randomness"))
        }
        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
            getrandom::fill(out).expect("randomness");
            Ok(())
        }
    }

    impl TryCryptoRng for System {}

    const MODE: CpaceMode = CpaceMode::InitiatorResponder;
    const INPUTS: Inputs<'_> = Inputs {
        secret: b"amber-falcon-river",
        channel: &[7; 200],
        session: &[9; 32],
    };

    #[test]
    fn we_start_and_they_respond() {
        let we = Ephemeral::generate(&INPUTS).unwrap();
        let (their_share, output) = CpaceResponder::<Suite>::respond(
            we.share(),
            INPUTS.secret,
            INPUTS.channel,
            INPUTS.session,
            b"our data",
            b"their data",
            MODE,
            &mut System,
        )
        .unwrap();
        let key = we.shared_point(&their_share).unwrap().into_key(
            INPUTS.session,
            Message {
                share: we.share(),
                data: b"our data",
            },
            Message {
                share: &their_share,
                data: b"their data",
            },
        );
        assert_eq!(key.into_bytes().as_slice(), output.isk.as_bytes());
    }

    #[test]
    fn they_start_and_we_respond() {
        let (their_share, state) = CpaceInitiator::<Suite>::start(
            INPUTS.secret,
            INPUTS.channel,
            INPUTS.session,
            b"their data",
            &mut System,
        )
        .unwrap();
        let we = Ephemeral::generate(&INPUTS).unwrap();
        let key = we.shared_point(&their_share).unwrap().into_key(
            INPUTS.session,
            Message {
                share: &their_share,
                data: b"their data",
            },
            Message {
                share: we.share(),
                data: b"our data",
            },
        );
        let output = state.finish(we.share(), b"our data", MODE).unwrap();
        assert_eq!(key.into_bytes().as_slice(), output.isk.as_bytes());
    }
}
