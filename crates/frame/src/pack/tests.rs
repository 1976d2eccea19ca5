//! Packing and unpacking together, against goldens from CPython, and with random formats.

use proptest::prelude::*;

use super::*;

fn format(text: &str) -> Format {
    text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

fn pack(text: &str, values: &[Value]) -> Result<Vec<u8>, PackError> {
    format(text).pack(values)
}

fn int(number: i128) -> Value {
    Value::Int(number)
}

#[test]
fn orders_are_those_of_python() {
    for (text, expected) in [
        ("<i", [0, 4, 0, 0]),
        (">i", [0, 0, 4, 0]),
        ("!i", [0, 0, 4, 0]),
        ("=i", 1024_i32.to_ne_bytes()),
        ("@i", 1024_i32.to_ne_bytes()),
        ("i", 1024_i32.to_ne_bytes()),
    ] {
        assert_eq!(pack(text, &[int(1024)]).unwrap(), expected, "{text}");
        assert_eq!(
            format(text).unpack(&expected).unwrap(),
            [int(1024)],
            "{text}"
        );
    }
}

#[test]
fn both_ends_of_each_integer_fit_and_no_more() {
    for (letter, bits, signed) in [
        ('b', 8, true),
        ('B', 8, false),
        ('h', 16, true),
        ('H', 16, false),
        ('i', 32, true),
        ('I', 32, false),
        ('l', 32, true),
        ('L', 32, false),
        ('q', 64, true),
        ('Q', 64, false),
    ] {
        let (lowest, highest) = match signed {
            true => (-(1_i128 << (bits - 1)), (1 << (bits - 1)) - 1),
            false => (0, (1 << bits) - 1),
        };
        for order in ['<', '>'] {
            let format = format(&format!("{order}{letter}"));
            for number in [lowest, highest] {
                let packed = format.pack(&[int(number)]).unwrap();
                assert_eq!(format.unpack(&packed).unwrap(), [int(number)], "{letter}");
            }
            for number in [lowest - 1, highest + 1, i128::MIN, i128::MAX] {
                let error = format.pack(&[int(number)]).unwrap_err();
                assert!(
                    matches!(
                        error,
                        PackError::OutOfRange {
                            value: 1,
                            position: 2,
                            ..
                        }
                    ),
                    "{letter}: {error}"
                );
            }
        }
    }
}

#[test]
fn an_address_may_be_written_with_a_sign() {
    let lowest = -(1_i128 << 63);
    assert_eq!(pack("P", &[int(-1)]).unwrap(), [0xff; 8]);
    assert!(pack("P", &[int(lowest)]).is_ok());
    assert!(pack("P", &[int(lowest - 1)]).is_err());
    assert_eq!(
        format("P").unpack(&[0xff; 8]).unwrap(),
        [int(u64::MAX.into())]
    );
}

#[test]
fn bytes_are_cut_and_filled() {
    for (text, bytes, expected) in [
        ("3s", &b"ab"[..], &b"ab\0"[..]),
        ("3s", b"abcd", b"abc"),
        ("s", b"", b"\0"),
        ("0s", b"abc", b""),
        ("3p", b"abcd", b"\x02ab"),
        ("4p", b"a", b"\x01a\0\0"),
        ("1p", b"a", b"\0"),
        ("0p", b"a", b""),
        ("p", b"", b"\0"),
        ("c", b"\xff", b"\xff"),
    ] {
        let packed = pack(text, &[Value::bytes(bytes)]).unwrap();
        assert_eq!(packed, expected, "{text}");
    }
    for bytes in ["", "ab"] {
        let error = pack("xc", &[Value::bytes(bytes)]).unwrap_err();
        assert!(matches!(error, PackError::NotOneByte { position: 2, .. }));
    }
}

#[test]
fn a_long_pascal_string_is_stored_whole_and_counted_to_255() {
    let packed = pack("300p", &[Value::bytes([7; 299])]).unwrap();
    assert_eq!(packed[0], 255);
    assert_eq!(packed[1..], [7; 299]);
    let values = format("300p").unpack(&packed).unwrap();
    assert_eq!(values, [Value::bytes([7; 255])]);
    // What the first byte claims beyond the field is not read.
    assert_eq!(
        format("3px").unpack(b"\xffabc").unwrap(),
        [Value::bytes("ab")]
    );
}

#[test]
fn floats_too_large_are_errors_but_for_a_native_single() {
    for (text, number) in [("e", 65520.0), ("<e", -1e9), ("<f", 1e39), ("=f", -1e39)] {
        let error = pack(text, &[Value::Float(number)]).unwrap_err();
        assert!(matches!(error, PackError::FloatTooLarge { .. }), "{text}");
    }
    // As C converts, and CPython 3.11 with it.
    let native = pack("@f", &[Value::Float(1e39)]).unwrap();
    assert_eq!(native, f32::INFINITY.to_ne_bytes());
    for text in ["e", "<f", "f", "d"] {
        for number in [f64::INFINITY, f64::NEG_INFINITY] {
            let packed = pack(text, &[Value::Float(number)]).unwrap();
            assert_eq!(
                format(text).unpack(&packed).unwrap(),
                [Value::Float(number)]
            );
        }
        let packed = pack(text, &[Value::Float(f64::NAN)]).unwrap();
        let [Value::Float(number)] = format(text).unpack(&packed).unwrap()[..] else {
            panic!("{text}");
        };
        assert!(number.is_nan());
    }
}

#[test]
fn errors_name_the_value_and_the_position() {
    for (text, values, said) in [
        (
            "<iB",
            vec![int(1), int(256)],
            "value 2 is 256, out of range for 'B' at position 3: 0 to 255",
        ),
        (
            "<2i",
            vec![int(1)],
            "needs 2 and got 1, none for 'i' at position 3",
        ),
        ("x", vec![int(1)], "needs 0 and got 1"),
        (
            "i",
            vec![Value::Float(1.0)],
            "value 1 is a float, but 'i' at position 1 takes an integer",
        ),
        (
            "2s",
            vec![int(1)],
            "value 1 is an integer, but 's' at position 2 takes bytes",
        ),
        (
            "d",
            vec![Value::bytes("1")],
            "value 1 is bytes, but 'd' at position 1 takes a float",
        ),
        (
            "<f",
            vec![Value::Float(1e39)],
            "value 1 is 1e39, too large for 'f' at position 2",
        ),
    ] {
        let error = pack(text, &values).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn too_few_bytes_end_within_a_field() {
    for (text, given, letter, position, end) in [
        ("<iH", 3, 'i', 2, 4),
        ("<iH", 4, 'H', 3, 6),
        ("<h3q", 10, 'q', 4, 18),
        ("<h3q", 0, 'h', 2, 2),
        ("bi", 1, 'i', 2, 8),
        ("<b5xB", 3, 'x', 4, 4),
        ("<4s", 1, 's', 3, 4),
        ("b0q", 7, 'q', 3, 8),
    ] {
        let format = format(text);
        let expected = UnpackError::TooShort {
            needed: format.size(),
            given,
            letter,
            position,
            end,
        };
        assert_eq!(format.unpack(&vec![0; given]), Err(expected), "{text}");
    }
    let long = format("<i").unpack(&[0; 5]).unwrap_err();
    let (needed, given) = (4, 5);
    assert_eq!(long, UnpackError::TooLong { needed, given });
}

#[test]
fn millions_of_fields_are_refused_before_any_is_looked_at() {
    let format = format(&format!("{MAX_SIZE}b"));
    assert!(matches!(
        format.pack(&[]),
        Err(PackError::TooFew {
            needed: MAX_SIZE,
            given: 0,
            letter: 'b',
            position: 9,
            ..
        })
    ));
    assert!(format.unpack(b"").is_err());
    assert_eq!(format.fields().len(), MAX_SIZE);
}

/// Formats with the values that they bring back unchanged.
fn format_and_values() -> impl Strategy<Value = (String, Vec<Value>)> {
    let field = prop_oneof![
        any::<i8>().prop_map(|n| ("b".to_owned(), int(n.into()))),
        any::<u16>().prop_map(|n| ("H".to_owned(), int(n.into()))),
        any::<i32>().prop_map(|n| ("i".to_owned(), int(n.into()))),
        any::<u32>().prop_map(|n| (" L".to_owned(), int(n.into()))),
        any::<i64>().prop_map(|n| ("x q".to_owned(), int(n.into()))),
        any::<u64>().prop_map(|n| ("Q".to_owned(), int(n.into()))),
        any::<f32>().prop_map(|n| ("f".to_owned(), Value::Float(n.into()))),
        any::<f64>().prop_map(|n| ("d0h".to_owned(), Value::Float(n))),
        any::<bool>().prop_map(|t| ("?".to_owned(), Value::Bool(t))),
        any::<u8>().prop_map(|b| ("c".to_owned(), Value::bytes([b]))),
        prop::collection::vec(any::<u8>(), 0..300)
            .prop_map(|b| (format!("{}s", b.len()), Value::bytes(b))),
        prop::collection::vec(any::<u8>(), 0..=255)
            .prop_map(|b| (format!("{}p", b.len() + 2), Value::bytes(b))),
    ];
    let order = prop::sample::select(vec!["", "@", "=", "<", ">", "!"]);
    (order, prop::collection::vec(field, 0..8)).prop_map(|(order, fields)| {
        let (codes, values): (Vec<_>, _) = fields.into_iter().unzip();
        (format!("{order}{}", codes.concat()), values)
    })
}

proptest! {
    #[test]
    fn what_was_packed_is_unpacked((text, values) in format_and_values()) {
        let format = format(&text);
        let packed = format.pack(&values).unwrap();
        prop_assert_eq!(packed.len(), format.size());
        prop_assert_eq!(format.unpack(&packed).unwrap(), values);
    }

    #[test]
    fn any_text_is_a_format_or_an_error_within_it(text in "[@=<>! xcbBhHiIlLqQnNefdspP?0-9é]{0,12}") {
        match text.parse::<Format>() {
            Ok(format) => {
                prop_assert!(format.size() <= MAX_SIZE);
                prop_assert_eq!(format.fields().len(), format.value_count());
            }
            Err(error) => prop_assert!((1..=text.chars().count()).contains(&error.position())),
        }
    }

    #[test]
    fn fields_lie_side_by_side_within_the_size(text in "[@=<>]([0-9]?[xcbhiqfdsp]){0,8}") {
        let format = format(&text);
        let mut end = 0;
        for field in format.fields() {
            prop_assert!(field.at >= end);
            end = field.at + field.width;
        }
        prop_assert!(end <= format.size());
    }
}
