//! A capture file of any bytes; what is in it is what is written again.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use packhorse_watch::capture::{Reader, Writer};
use packhorse_watch::{Limits, Source};

/// Small, so that inputs reach it.
const LIMIT: usize = 4096;

fuzz_target!(|data: Vec<u8>| {
    let limits = Limits {
        frame: LIMIT,
        ..Limits::default()
    };
    let Ok(mut reader) = Reader::new(Cursor::new(data.clone()), &limits) else {
        return;
    };
    let plain = reader.compression().is_none();
    let mut writer = Writer::new(Vec::new()).unwrap();
    let (mut announced, mut kept) = (0, Vec::new());
    let mut number = 0;
    while let Ok(Some(frame)) = reader.next_frame() {
        number += 1;
        assert_eq!(frame.number, number);
        assert!(frame.data.len() <= LIMIT);
        assert!(frame.original_len as usize >= frame.data.len());
        if plain {
            let at = frame.data_offset as usize;
            assert!(frame.offset < frame.data_offset);
            assert_eq!(data.get(at..at + frame.data.len()), Some(frame.data));
        }
        kept.push((frame.time, frame.link, frame.interface, frame.original_len, frame.data.to_vec()));
        let (interface, link) = (frame.interface as usize, frame.link);
        assert_eq!(reader.interfaces()[interface].link, link);
    }
    for interface in reader.interfaces() {
        writer.interface(interface).unwrap();
        announced += 1;
    }
    for (time, link, interface, original_len, data) in &kept {
        assert!((*interface as usize) < announced);
        writer
            .frame(&packhorse_watch::Frame {
                number: 0,
                time: *time,
                interface: *interface,
                link: *link,
                original_len: *original_len,
                offset: 0,
                data_offset: 0,
                data,
            })
            .unwrap();
    }
    let written = std::mem::take(writer.output_mut());
    let mut again = Reader::new(Cursor::new(written), &limits).unwrap();
    for (time, link, interface, original_len, data) in &kept {
        let frame = again.next_frame().unwrap().unwrap();
        // There is no time before 1970 in a capture.
        assert_eq!(frame.time.0, time.0.max(0));
        assert_eq!((frame.link, frame.interface), (*link, *interface));
        assert_eq!((frame.original_len, frame.data), (*original_len, &data[..]));
    }
    assert!(again.next_frame().unwrap().is_none());
});
