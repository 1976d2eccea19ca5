//! A format from its text: counts, codes, and the bytes that alignment puts between them.

use std::str::FromStr;

use super::code::{Code, Kind, Mode, NoCode};
use super::error::FormatError;
use super::format::{Format, MAX_SIZE, Order, Overflow, Run};

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let (order, mode, first) = match text.chars().next() {
            Some('@') => (native(Overflow::Infinite), Mode::Native, 1),
            Some('=') => (native(Overflow::Refused), Mode::Standard, 1),
            Some('<') => (standard(false), Mode::Standard, 1),
            Some('>' | '!') => (standard(true), Mode::Standard, 1),
            _ => (native(Overflow::Infinite), Mode::Native, 0),
        };
        let mut layout = Layout::default();
        let mut count: Option<Count> = None;
        for (index, letter) in text.chars().enumerate().skip(first) {
            let position = index + 1;
            match letter {
                '0'..='9' => count = Some(Count::with_digit(count, letter, position)),
                _ if is_space(letter) && count.is_none() => {}
                _ if is_space(letter) => return Err(FormatError::SpaceBehindCount { position }),
                _ => {
                    let code = code(letter, mode, position)?;
                    layout.add(code, position, count.take())?;
                }
            }
        }
        match count {
            Some(Count { position, .. }) => Err(FormatError::CountWithoutCode { position }),
            None => Ok(Self {
                order,
                runs: layout.runs,
                size: layout.size,
                fields: layout.fields,
            }),
        }
    }
}

fn native(single: Overflow) -> Order {
    Order {
        big_endian: cfg!(target_endian = "big"),
        single,
    }
}

fn standard(big_endian: bool) -> Order {
    Order {
        big_endian,
        single: Overflow::Refused,
    }
}

/// What C's isspace finds, as CPython asks it: vertical tabs too.
fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t'..='\r')
}

fn code(letter: char, mode: Mode, position: usize) -> Result<Code, FormatError> {
    Code::of(letter, mode).map_err(|reason| match (reason, letter) {
        (NoCode::NativeOnly, _) => FormatError::NativeOnly { letter, position },
        (NoCode::Unknown, '@' | '=' | '<' | '>' | '!') => FormatError::OrderNotFirst {
            order: letter,
            position,
        },
        (NoCode::Unknown, _) => FormatError::UnknownCode { letter, position },
    })
}

/// A count, as far as its digits are read.
#[derive(Debug, Clone, Copy)]
struct Count {
    /// At most a little more than the limit, which is as bad as any larger.
    number: usize,
    position: usize,
}

impl Count {
    fn with_digit(before: Option<Self>, digit: char, position: usize) -> Self {
        let before = before.unwrap_or(Self {
            number: 0,
            position,
        });
        let digit = usize::from(u8::try_from(digit).unwrap_or(b'0') - b'0');
        Self {
            number: (before.number * 10 + digit).min(MAX_SIZE + 1),
            ..before
        }
    }
}

/// What of a format is laid out.
#[derive(Debug, Default)]
struct Layout {
    runs: Vec<Run>,
    size: usize,
    fields: usize,
}

impl Layout {
    fn add(
        &mut self,
        code: Code,
        position: usize,
        count: Option<Count>,
    ) -> Result<(), FormatError> {
        let number = count.map_or(1, |count| count.number);
        // Neither product nor sum can overflow: `number` and `self.size` are at most about the limit.
        let at = self.size.next_multiple_of(code.align);
        let size = number * code.size;
        if at + size > MAX_SIZE {
            return Err(FormatError::TooLong {
                letter: code.letter,
                position: count.map_or(position, |count| count.position),
            });
        }
        let (fields, width) = match code.kind {
            Kind::Pad => (0, code.size),
            Kind::Bytes | Kind::Pascal => (1, size),
            _ => (number, code.size),
        };
        self.size = at + size;
        self.fields += fields;
        self.runs.push(Run {
            code,
            position,
            at,
            width,
            fields,
            size,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> usize {
        let format: Format = text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"));
        format.size()
    }

    fn refused(text: &str) -> FormatError {
        text.parse::<Format>().expect_err(text)
    }

    #[test]
    fn native_mode_aligns_and_others_do_not() {
        for (text, expected) in [
            ("", 0),
            ("bi", 8),
            ("@bi", 8),
            ("=bi", 5),
            ("<bi", 5),
            (">bi", 5),
            ("!bi", 5),
            ("ib", 5),
            ("lb", 9),
            ("<lb", 5),
            ("bxq", 16),
            ("ebe", 6),
            ("nNP", 24),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }

    #[test]
    fn a_count_of_none_aligns() {
        for (text, expected) in [
            ("x0l", 8),
            ("0lx", 1),
            ("ci0q", 8),
            ("ciI0q", 16),
            ("<x0l", 1),
            ("0s", 0),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
        let format: Format = "0s0p0i0x2s".parse().unwrap();
        assert_eq!(format.value_count(), 3);
    }

    #[test]
    fn white_space_goes_between_codes() {
        assert_eq!(size("< i\t\n\x0b\x0c\rh "), 6);
        assert_eq!(
            refused("<3 i"),
            FormatError::SpaceBehindCount { position: 3 }
        );
        let order = refused(" <i");
        assert_eq!(
            order,
            FormatError::OrderNotFirst {
                order: '<',
                position: 2
            }
        );
        assert!(matches!(
            refused("\u{a0}i"),
            FormatError::UnknownCode { position: 1, .. }
        ));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_position() {
        for (text, position) in [
            ("<ik", 3),
            ("<i<", 3),
            ("=n", 2),
            ("!iN", 3),
            ("<2P", 3),
            ("i12", 2),
            ("3", 1),
            ("éi", 1),
            ("iéi", 2),
            ("ié\0", 2),
            ("i\0", 2),
            ("-1i", 1),
        ] {
            assert_eq!(refused(text).position(), position, "{text:?}");
        }
    }

    #[test]
    fn max_size_is_the_limit() {
        let large = MAX_SIZE / 8;
        assert_eq!(size(&format!("{MAX_SIZE}x")), MAX_SIZE);
        assert_eq!(size(&format!("{large}q")), MAX_SIZE);
        assert_eq!(size(&format!("000{MAX_SIZE}s")), MAX_SIZE);
        for text in [
            format!("{}x", MAX_SIZE + 1),
            format!("{large}qb"),
            format!("{large}q0s1b"),
            format!("{}b0q", MAX_SIZE - 3).replace("0q", "1q"),
            "1000000000000000000x".into(),
            "10000000000s".into(),
            "99999999999999999999999i".into(),
            format!("{}q", "9".repeat(1000)),
        ] {
            let error = refused(&text);
            assert!(matches!(error, FormatError::TooLong { .. }), "{error}");
        }
    }
}
