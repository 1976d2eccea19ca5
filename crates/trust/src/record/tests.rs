use super::*;
use crate::session::SenderToReceiver;

const SUITES: [Suite; 2] = [Suite::Aes128Gcm, Suite::ChaCha20Poly1305];
const HEADER: &[u8] = b"header";

fn key(byte: u8) -> Key<SenderToReceiver> {
    Key::for_test([byte; 32])
}

fn pair(suite: Suite) -> (Sealer, Opener) {
    (Sealer::new(suite, key(1)), Opener::new(suite, key(1)))
}

fn seal(sealer: &mut Sealer, header: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut buf = plaintext.to_vec();
    let tag = sealer.seal_in_place(header, &mut buf).unwrap();
    buf.extend_from_slice(&tag);
    buf
}

#[test]
fn records_open_in_the_order_in_which_they_were_sealed() {
    for suite in SUITES {
        let (mut sealer, mut opener) = pair(suite);
        for length in [0, 1, 15, 16, 17, 1000, 128 * 1024] {
            let plaintext: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            let mut record = seal(&mut sealer, HEADER, &plaintext);
            assert_eq!(record.len(), length + TAG_LEN);
            assert_eq!(
                opener.open_in_place(HEADER, &mut record).unwrap(),
                plaintext
            );
        }
    }
}

/// Seals two records, lets `change` act on the first, and expects it to be refused.
fn assert_refused(suite: Suite, change: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) {
    let (mut sealer, mut opener) = pair(suite);
    let mut header = HEADER.to_vec();
    let mut record = seal(&mut sealer, HEADER, b"body");
    let mut next = seal(&mut sealer, HEADER, b"next");
    change(&mut header, &mut record);
    assert_eq!(
        opener.open_in_place(&header, &mut record),
        Err(RecordError::Forged)
    );
    assert!(
        record.iter().all(|&byte| byte == 0),
        "nothing unverified is left"
    );
    assert_eq!(
        opener.open_in_place(HEADER, &mut next),
        Err(RecordError::Poisoned)
    );
}

#[test]
fn a_flipped_bit_anywhere_is_refused_and_ends_the_lane() {
    for suite in SUITES {
        for bit in 0..8 * HEADER.len() {
            assert_refused(suite, |header, _| header[bit / 8] ^= 1 << (bit % 8));
        }
        for bit in 0..8 * (b"body".len() + TAG_LEN) {
            assert_refused(suite, |_, record| record[bit / 8] ^= 1 << (bit % 8));
        }
    }
}

#[test]
fn a_record_cut_short_or_grown_is_refused() {
    for suite in SUITES {
        for length in 0..b"body".len() + TAG_LEN {
            assert_refused(suite, |_, record| record.truncate(length));
        }
        assert_refused(suite, |_, record| record.push(0));
        assert_refused(suite, |header, _| header.push(0));
        assert_refused(suite, |header, _| header.clear());
    }
}

#[test]
fn dropped_repeated_and_swapped_records_are_refused() {
    for suite in SUITES {
        for order in [&[1][..], &[0, 0], &[1, 0], &[0, 2]] {
            let (mut sealer, mut opener) = pair(suite);
            let records: Vec<_> = (0..3_u8)
                .map(|number| seal(&mut sealer, HEADER, &[number]))
                .collect();
            let mut outcome = Ok(());
            for &index in order {
                let mut record = records[index].clone();
                outcome = opener.open_in_place(HEADER, &mut record).map(|_| ());
            }
            let expected = match order {
                [1, 0] => RecordError::Poisoned, // the first of the two was refused before
                _ => RecordError::Forged,
            };
            assert_eq!(outcome, Err(expected), "{order:?}");
        }
    }
}

#[test]
fn another_lanes_key_and_another_suite_are_refused() {
    for suite in SUITES {
        let mut record = seal(&mut Sealer::new(suite, key(1)), HEADER, b"body");
        let mut other_key = Opener::new(suite, key(2));
        assert_eq!(
            other_key.open_in_place(HEADER, &mut record.clone()),
            Err(RecordError::Forged)
        );
        let other_suite = SUITES.into_iter().find(|other| *other != suite).unwrap();
        let mut other_suite = Opener::new(other_suite, key(1));
        assert_eq!(
            other_suite.open_in_place(HEADER, &mut record),
            Err(RecordError::Forged)
        );
    }
}

#[test]
fn equal_records_are_sealed_differently() {
    for suite in SUITES {
        let (mut sealer, _) = pair(suite);
        assert_ne!(
            seal(&mut sealer, HEADER, b"body"),
            seal(&mut sealer, HEADER, b"body")
        );
    }
}

#[test]
fn keys_end_after_their_last_record() {
    for suite in SUITES {
        let (mut sealer, mut opener) = pair(suite);
        sealer.counter.0 = RECORDS_MAX - 1;
        opener.counter.0 = RECORDS_MAX - 1;
        let mut record = seal(&mut sealer, HEADER, b"last");
        assert_eq!(opener.open_in_place(HEADER, &mut record).unwrap(), b"last");
        let mut more = *b"more and more and more";
        assert_eq!(
            sealer.seal_in_place(HEADER, &mut more),
            Err(RecordError::Exhausted)
        );
        assert_eq!(more, *b"more and more and more", "nothing was touched");
        assert_eq!(
            opener.open_in_place(HEADER, &mut more),
            Err(RecordError::Exhausted)
        );
    }
}

/// The construction, spelled out once more with the library's one-shot interface.
#[test]
fn nonce_and_key_are_as_documented() {
    let (mut sealer, _) = pair(Suite::Aes128Gcm);
    sealer.counter.0 = 0x0102_0304;
    let sealed = seal(&mut sealer, HEADER, b"body");

    let mut material = vec![32];
    material.extend([1; 32]);
    material.extend([1, 1]);
    let key = blake3::derive_key("packhorse 2026-11 record key v1", &material);
    let key = LessSafeKey::new(UnboundKey::new(&aead::AES_128_GCM, &key[..16]).unwrap());
    let nonce = Nonce::assume_unique_for_key([0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    let mut expected = b"body".to_vec();
    key.seal_in_place_append_tag(nonce, Aad::from(HEADER), &mut expected)
        .unwrap();
    assert_eq!(sealed, expected);
}

#[test]
fn suites_have_numbers_and_all_are_preferred_in_some_order() {
    for suite in SUITES {
        assert_eq!(Suite::from_id(suite.id()), Some(suite));
        assert_eq!(suite.id(), suite as u8);
        assert!(Suite::preferred().contains(&suite));
    }
    assert_eq!(Suite::preferred().len(), SUITES.len());
    for id in [0, 3, 255] {
        assert_eq!(Suite::from_id(id), None);
    }
}

#[test]
fn debug_tells_nothing() {
    let (sealer, opener) = pair(Suite::Aes128Gcm);
    assert_eq!(format!("{sealer:?} {opener:?}"), "Sealer(..) Opener(..)");
}
