//! JSON for programs, on lines that a terminal may see as well.

use std::fmt::Write as _;
use std::io;

use packhorse_transfer::is_unsafe;
use serde::Serialize;

/// `value` as one line of JSON. Characters that could steer a terminal or fool a reader are written as
/// escapes, which every reader of JSON takes for the same characters.
pub(crate) fn line(value: &impl Serialize) -> io::Result<String> {
    let text = serde_json::to_string(value)?;
    // Most lines are plain ASCII, which is seen many bytes at a time.
    let plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if text.bytes().fold(true, |all, byte| all & plain(byte)) || !text.contains(is_unsafe) {
        return Ok(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if !is_unsafe(character) {
            escaped.push(character);
            continue;
        }
        // UTF-16, as RFC 8259 §7 has it.
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    Ok(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_means_the_same() {
        let hostile = "a\u{202e}b\u{9b}31mc\u{e0041}\u{7f}\u{1b} é🐎";
        let text = line(&hostile).unwrap();
        assert!(!text.contains(is_unsafe), "{text}");
        assert!(text.contains("é🐎"));
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), hostile);
    }
}
