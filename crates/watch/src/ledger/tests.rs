use std::io::Cursor;

use super::{Call, Endpoints, Kernel, Kind, Outcome, Reader, Writer};
use crate::capture;
use crate::{Error, Limits, Timestamp};

fn call(number: u64) -> Call {
    Call {
        time: Timestamp(1_700_000_000_000_000_000 + i64::try_from(number).unwrap()),
        duration: 5,
        process: 1,
        connection: 1,
        kind: Kind::Write,
        endpoints: Some(Endpoints::new(
            "[::ffff:192.0.2.1]:1".parse().unwrap(),
            "192.0.2.2:2".parse().unwrap(),
        )),
        offset: number * 10,
        asked: 10,
        outcome: Outcome::Done(10),
        kernel: number.is_multiple_of(2).then(Kernel::default),
    }
}

fn ledger(calls: u64) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).unwrap();
    for number in 0..calls {
        writer.write(&call(number)).unwrap();
    }
    std::mem::take(writer.output_mut())
}

fn reader(file: Vec<u8>) -> Reader<capture::Reader> {
    Reader::new(capture::Reader::new(Cursor::new(file), &Limits::default()).unwrap())
}

#[test]
fn a_ledger_is_a_capture() {
    let mut reader = reader(ledger(5));
    for number in 0..5 {
        assert_eq!(reader.next_call().unwrap(), Some(call(number)));
    }
    assert_eq!(reader.next_call().unwrap(), None);
    assert!(reader.is_ledger());
    let local = call(0).endpoints.unwrap().local;
    assert_eq!(local, "192.0.2.1:1".parse().unwrap());
}

#[test]
fn a_ledger_that_was_cut_is_good_up_to_there() {
    let file = ledger(3);
    let begun = ledger(0).len();
    for cut in begun..file.len() {
        let mut reader = reader(file[..cut].to_vec());
        let mut calls = 0;
        let end = loop {
            match reader.next_call() {
                Ok(Some(read)) => {
                    assert_eq!(read, call(calls));
                    calls += 1;
                }
                end => break end,
            }
        };
        let whole = (0..=3).rfind(|&calls| ledger(calls).len() <= cut).unwrap();
        assert_eq!(calls, whole);
        match cut == ledger(whole).len() {
            true => assert!(matches!(end, Ok(None)), "{end:?}"),
            false => assert!(matches!(end, Err(Error::Damaged { .. })), "{end:?}"),
        }
    }
}
