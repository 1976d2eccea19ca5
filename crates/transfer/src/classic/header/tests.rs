use super::*;

fn framed(json: &[u8]) -> Vec<u8> {
    let length = i32::try_from(json.len()).unwrap();
    [&length.to_le_bytes()[..], json].concat()
}

fn read(mut bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    HeaderReader::default().handle_bytes(&mut bytes)
}

fn refused(json: &[u8]) -> HeaderError {
    read(&framed(json)).unwrap_err()
}

fn size_header() -> Header {
    Header {
        name: PlainName::parse("résumé.pdf").unwrap(),
        size: 5,
        check: Check::Size,
    }
}

fn md5_header() -> Header {
    Header {
        check: Check::Md5 {
            sum: Md5Sum([0xab; 16]),
            path: "/home/me/../résumé.pdf".to_owned(),
        },
        ..size_header()
    }
}

#[test]
fn emits_the_bytes_of_the_description() {
    let size = size_header().emit().unwrap();
    let json = r#"{"file_name":"résumé.pdf","file_size":5}"#;
    assert_eq!(size, framed(json.as_bytes()));
    let md5 = md5_header().emit().unwrap();
    let json = concat!(
        r#"{"md5":"abababababababababababababababab","file_name":"/home/me/../résumé.pdf","#,
        r#""file_size":5,"new_file_name":"résumé.pdf"}"#
    );
    assert_eq!(md5, framed(json.as_bytes()));
}

#[test]
fn reads_back_whatever_the_pieces() {
    for header in [size_header(), md5_header()] {
        let mut bytes = header.emit().unwrap();
        bytes.extend_from_slice(b"content");
        for piece in 1..bytes.len() {
            let mut reader = HeaderReader::default();
            let mut read = None;
            let mut content = Vec::new();
            for mut part in bytes.chunks(piece) {
                if read.is_none() {
                    read = reader.handle_bytes(&mut part).unwrap();
                }
                content.extend_from_slice(part);
            }
            assert_eq!(
                (read.as_ref(), &content[..]),
                (Some(&header), &b"content"[..])
            );
        }
    }
}

#[test]
fn python_writes_escapes_and_spaces() {
    let json =
        br#" {"file_size": 5, "file_name": "r\u00e9sum\u00e9.pdf", "mode": [1, {"x": null}]}"#;
    assert_eq!(read(&framed(json)), Ok(Some(size_header())));
    let lone = refused(br#"{"file_name": "a\udcff", "file_size": 5}"#);
    assert!(matches!(lone, HeaderError::Json(_)), "{lone}");
}

#[test]
fn lengths_out_of_bounds_are_refused_at_once() {
    for length in [0, -1, i32::MIN, i32::MAX, 65_537] {
        let error = read(&length.to_le_bytes()).unwrap_err();
        assert_eq!(error, HeaderError::Length(length));
    }
    assert_eq!(read(b"PACK"), Err(HeaderError::Native));
    assert_eq!(read(&65_536_i32.to_le_bytes()), Ok(None));
    assert_eq!(read(&[1, 0, 0]), Ok(None));
}

#[test]
fn whoever_sent_nonsense_has_said_something() {
    let mut reader = HeaderReader::default();
    assert!(reader.is_untouched());
    assert!(reader.handle_bytes(&mut &b"GET "[..]).is_err());
    assert!(!reader.is_untouched());
}

#[test]
fn json_of_another_shape_is_refused() {
    for json in [
        &b"{"[..],
        b"[]",
        br#"["a",5,null,null]"#,
        b"null",
        br#"{"file_name":"a","file_size":5}x"#,
        br#"{"file_name":"a","file_size":-1}"#,
        br#"{"file_name":"a","file_size":5.0}"#,
        br#"{"file_name":"a","file_size":1e3}"#,
        br#"{"file_name":"a","file_size":"5"}"#,
        br#"{"file_name":"a","file_size":true}"#,
        br#"{"file_name":"a","file_size":18446744073709551616}"#,
        br#"{"file_name":5,"file_size":5}"#,
        br#"{"file_name":"a","file_name":"b","file_size":5}"#,
    ] {
        let error = refused(json);
        assert!(matches!(error, HeaderError::Json(_)), "{error}");
    }
    assert_eq!(refused(b"{\"file_name\":\"\xff\"}"), HeaderError::NotUtf8);
    assert_eq!(refused(b"{}"), HeaderError::Missing("file_name"));
    let deep = [b"{\"x\":".as_slice(), &[b'['; 60_000]].concat();
    assert!(matches!(refused(&deep), HeaderError::Json(_)));
}

#[test]
fn half_of_the_md5_format_is_none_of_them() {
    let sum = "0".repeat(32);
    for (json, missing) in [
        (
            r#"{"file_name":"a","file_size":5,"new_file_name":"b"}"#.to_owned(),
            "md5",
        ),
        (
            format!(r#"{{"file_name":"a","file_size":5,"md5":"{sum}"}}"#),
            "new_file_name",
        ),
        (
            format!(r#"{{"file_size":5,"md5":"{sum}","new_file_name":"b"}}"#),
            "file_name",
        ),
        (
            format!(r#"{{"file_name":"a","md5":"{sum}","new_file_name":"b"}}"#),
            "file_size",
        ),
    ] {
        assert_eq!(
            refused(json.as_bytes()),
            HeaderError::Missing(missing),
            "{json}"
        );
    }
    for sum in [
        "",
        "abc",
        &"A".repeat(32),
        &"g".repeat(32),
        &"0".repeat(33),
        &"é".repeat(16),
    ] {
        let json =
            format!(r#"{{"file_name":"a","file_size":5,"md5":"{sum}","new_file_name":"b"}}"#);
        assert!(
            matches!(refused(json.as_bytes()), HeaderError::Md5(_)),
            "{sum}"
        );
    }
}

#[test]
fn only_the_name_that_is_stored_under_must_be_plain() {
    let size = refused(br#"{"file_name":"../a","file_size":5}"#);
    assert!(matches!(
        size,
        HeaderError::Name {
            key: "file_name",
            ..
        }
    ));
    let json = |path: &str, name: &str| {
        let sum = "0".repeat(32);
        format!(r#"{{"file_name":"{path}","file_size":5,"md5":"{sum}","new_file_name":"{name}"}}"#)
    };
    let md5 = refused(json("a", "..").as_bytes());
    assert!(matches!(
        md5,
        HeaderError::Name {
            key: "new_file_name",
            ..
        }
    ));
    let read = read(&framed(json("C:\\\\x\\\\../y", "y").as_bytes()))
        .unwrap()
        .unwrap();
    assert_eq!(read.name.as_str(), "y");
}

#[test]
fn a_peers_words_are_shortened_and_escaped() {
    let name = format!("\x1b[2J/{}", "x".repeat(5_000));
    let json = serde_json::json!({"file_name": name, "file_size": 5}).to_string();
    let message = refused(json.as_bytes()).to_string();
    assert!(
        message.len() < 400 && !message.contains('\x1b'),
        "{message}"
    );
}
