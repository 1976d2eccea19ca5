//! Code phrases: the short secret that two people tell each other.

use std::fmt;

use zeroize::Zeroizing;

use crate::words;

/// Words in a generated phrase. Three of 1,024 are 30 bits: with one guess a connection, and a
/// phrase that is burnt after a few wrong ones, nobody gets near.
const GENERATED_WORDS: usize = 3;
/// The shortest phrase a person may choose, in bytes.
pub const CODE_MIN: usize = 6;
/// The longest phrase a person may choose, in bytes.
pub const CODE_MAX: usize = 256;

/// A code phrase, such as `amber-falcon-river`.
///
/// It is erased from memory when dropped, prints as `Code(..)`, and shows its text only through
/// [`reveal`](Self::reveal).
///
/// ```
/// use packhorse_trust::Code;
///
/// // Case, separators and the ends of list words do not matter.
/// let code = Code::given(" Amber falc_RIVER ")?;
/// assert_eq!(code.reveal(), "amber-falcon-river");
/// // Anything else is taken exactly as it is.
/// assert_eq!(Code::given("Zwölf Boxkämpfer")?.reveal(), "Zwölf Boxkämpfer");
/// # Ok::<(), packhorse_trust::CodeError>(())
/// ```
pub struct Code(Zeroizing<String>);

/// Why a text is no code phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Fewer than [`CODE_MIN`] bytes: too easy to guess.
    #[error("a code phrase needs at least {CODE_MIN} characters")]
    TooShort,
    /// More than [`CODE_MAX`] bytes.
    #[error("a code phrase has at most {CODE_MAX} bytes")]
    TooLong,
    /// A tab, a line break or another control character inside.
    #[error("a code phrase has no control characters in it")]
    ControlCharacter,
}

/// The operating system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no randomness")]
pub struct NoRandomness;

impl Code {
    /// A new phrase: three random words of our list.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`].
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut random = Zeroizing::new([0; 2 * GENERATED_WORDS]);
        getrandom::fill(random.as_mut()).map_err(|_| NoRandomness)?;
        let picked = random.as_chunks::<2>().0.iter().map(|pair| {
            // The list has 2^10 words, so the remainder of 2^16 favours none.
            words::LIST[usize::from(u16::from_le_bytes(*pair)) % words::LIST.len()]
        });
        Ok(Self(join(picked)))
    }

    /// A phrase that a person typed or chose.
    ///
    /// If every token (split at spaces, hyphens and underscores) is a word of our list, or at least
    /// the first four letters of one, in any case, the phrase becomes those words joined by hyphens.
    /// Otherwise it is the text as given, without white space at its ends.
    ///
    /// # Errors
    ///
    /// See [`CodeError`].
    pub fn given(text: &str) -> Result<Self, CodeError> {
        let trimmed = text.trim();
        check(trimmed)?;
        let code = expand(trimmed).unwrap_or_else(|| Zeroizing::new(trimmed.to_owned()));
        check(&code)?;
        Ok(Self(code))
    }

    /// The phrase itself, to show to its owner or to compute with. Not for logs.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(..)")
    }
}

fn check(text: &str) -> Result<(), CodeError> {
    if text.chars().any(char::is_control) {
        return Err(CodeError::ControlCharacter);
    }
    match text.len() {
        0..CODE_MIN => Err(CodeError::TooShort),
        CODE_MIN..=CODE_MAX => Ok(()),
        _ => Err(CodeError::TooLong),
    }
}

/// The canonical phrase, if every token stands for a word of the list.
fn expand(text: &str) -> Option<Zeroizing<String>> {
    let words: Option<Vec<&str>> = text
        .split([' ', '-', '_'])
        .filter(|token| !token.is_empty())
        .map(words::matching)
        .collect();
    words
        .filter(|words| !words.is_empty())
        .map(|words| join(words.into_iter()))
}

/// Joins words by hyphens, in a buffer that never grows and so leaves no copy behind.
fn join<'a>(words: impl Iterator<Item = &'a str> + Clone) -> Zeroizing<String> {
    let capacity = words.clone().map(|word| word.len() + 1).sum();
    let mut phrase = Zeroizing::new(String::with_capacity(capacity));
    for word in words {
        if !phrase.is_empty() {
            phrase.push('-');
        }
        phrase.push_str(word);
    }
    phrase
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Result<String, CodeError> {
        Code::given(text).map(|code| code.reveal().to_owned())
    }

    #[test]
    fn generated_phrases_are_three_words_and_survive_retyping() {
        for _ in 0..200 {
            let code = Code::generate().unwrap();
            let words: Vec<_> = code.reveal().split('-').collect();
            assert_eq!(words.len(), 3);
            assert!(words.iter().all(|word| words::LIST.contains(word)));
            assert_eq!(given(code.reveal()).unwrap(), code.reveal());
            let short: Vec<_> = words.iter().map(|word| word[..4].to_uppercase()).collect();
            assert_eq!(given(&short.join("  ")).unwrap(), code.reveal());
        }
    }

    #[test]
    fn generated_phrases_differ() {
        let first = Code::generate().unwrap();
        let others: Vec<_> = (0..4).map(|_| Code::generate().unwrap()).collect();
        assert!(others.iter().any(|other| other.reveal() != first.reveal()));
    }

    #[test]
    fn list_words_are_recognised_however_they_are_typed() {
        for text in [
            "amber-falcon-river",
            "  AMBER falcon_River\n",
            "ambe falc rive",
            "amber--falco-_ rive",
        ] {
            assert_eq!(given(text).unwrap(), "amber-falcon-river", "{text:?}");
        }
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in [
            "Amber-falcon-xyzzy",
            "amb-falcon-river",
            "amber-falconry",
            "Tr0ub4dor&3",
        ] {
            assert_eq!(given(text).unwrap(), text);
        }
        assert_eq!(given("  Grüße, Welt  ").unwrap(), "Grüße, Welt");
        assert_eq!(given("------").unwrap(), "------");
    }

    #[test]
    fn limits_hold_for_what_was_typed_and_for_what_it_stands_for() {
        assert_eq!(given(""), Err(CodeError::TooShort));
        assert_eq!(given("  12345  "), Err(CodeError::TooShort));
        assert_eq!(given("123456").unwrap(), "123456");
        assert_eq!(given("_amber_"), Err(CodeError::TooShort));
        assert!(given(&"x".repeat(CODE_MAX)).is_ok());
        assert_eq!(given(&"x".repeat(CODE_MAX + 1)), Err(CodeError::TooLong));
        assert_eq!(given(&"falc ".repeat(50)), Err(CodeError::TooLong));
        assert_eq!(given("pass\tword"), Err(CodeError::ControlCharacter));
        assert_eq!(given("pass\u{0}word"), Err(CodeError::ControlCharacter));
        assert_eq!(given("pass\u{85}word"), Err(CodeError::ControlCharacter));
    }

    #[test]
    fn debug_tells_nothing() {
        assert_eq!(format!("{:?}", Code::generate().unwrap()), "Code(..)");
    }
}
