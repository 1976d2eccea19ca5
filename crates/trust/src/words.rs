//! The words of code phrases: 1,024 common and concrete ones, of four to seven letters.
//!
//! No two begin with the same four letters, so four are enough to type, and no two sound alike, so
//! a phrase survives a telephone. The tests hold the list to that.

/// The list, sorted.
pub(crate) static LIST: [&str; 1024] = split(include_str!("words.txt"));

/// Letters that are enough to name a word.
const PREFIX_MIN: usize = 4;

/// The word that `token` is, or begins with at least four letters, in any case.
pub(crate) fn matching(token: &str) -> Option<&'static str> {
    if token.len() < PREFIX_MIN || !token.is_ascii() {
        return None;
    }
    let begins = |word: &&&str| {
        word.get(..token.len())
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case(token))
    };
    LIST.iter().find(begins).copied()
}

/// Splits a text of lines at compile time.
const fn split<const N: usize>(text: &'static str) -> [&'static str; N] {
    let mut words = [""; N];
    let mut rest = text;
    let mut index = 0;
    while index < N {
        let mut end = 0;
        while rest.as_bytes()[end] != b'\n' {
            end += 1;
        }
        let (word, tail) = rest.split_at(end);
        words[index] = word;
        rest = tail.split_at(1).1;
        index += 1;
    }
    assert!(
        rest.is_empty(),
        "the list has as many words as its type says"
    );
    words
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn words_are_lower_case_and_of_four_to_seven_letters() {
        for word in LIST {
            assert!((4..=7).contains(&word.len()), "{word}");
            assert!(
                word.bytes().all(|letter| letter.is_ascii_lowercase()),
                "{word}"
            );
        }
    }

    #[test]
    fn words_are_sorted() {
        assert!(LIST.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn no_two_words_share_four_letters() {
        assert_unique(|word| word[..PREFIX_MIN].to_owned());
    }

    #[test]
    fn no_two_words_sound_alike() {
        assert_unique(sound);
    }

    #[test]
    fn the_sound_of_homophones_is_the_same() {
        for pair in [
            ["knight", "night"],
            ["flour", "flower"],
            ["cellar", "seller"],
            ["wheel", "weal"],
            ["beech", "beach"],
            ["bury", "berry"],
            ["choir", "chore"],
            ["phial", "file"],
            ["gene", "jean"],
            ["wrap", "rap"],
        ] {
            assert_eq!(sound(pair[0]), sound(pair[1]), "{pair:?}");
        }
        assert_eq!(sound("bat"), sound("pad"));
        assert_ne!(sound("bat"), sound("map"));
    }

    fn assert_unique(key: impl Fn(&str) -> String) {
        let mut seen = HashMap::new();
        for word in LIST {
            if let Some(other) = seen.insert(key(word), word) {
                panic!("{word} and {other} are both {}", key(word));
            }
        }
    }

    /// A coarse phonetic key. All vowels are one, a voiced consonant is its unvoiced neighbour, and
    /// silent letters are gone; so words that differ only in those count as sounding alike.
    fn sound(word: &str) -> String {
        let mut text = silent_letters_gone(word);
        for (spelled, spoken) in [
            ("tch", "C"),
            ("sch", "sk"),
            ("ch", "C"),
            ("sh", "S"),
            ("th", "T"),
            ("ph", "f"),
        ] {
            text = text.replace(spelled, spoken);
        }
        let letters: Vec<char> = text.chars().collect();
        let mut key = String::new();
        for (at, &letter) in letters.iter().enumerate() {
            let after_vowel = at > 0 && is_vowel(letters[at - 1]);
            let before_front = letters
                .get(at + 1)
                .is_some_and(|next| "eiy".contains(*next));
            for spoken in spoken(letter, after_vowel, before_front).chars() {
                if !key.ends_with(spoken) {
                    key.push(spoken);
                }
            }
        }
        key
    }

    fn silent_letters_gone(word: &str) -> String {
        let mut text = word.to_owned();
        for (start, instead) in [
            ("kn", "n"),
            ("gn", "n"),
            ("wr", "r"),
            ("ps", "s"),
            ("wh", "w"),
        ] {
            if let Some(rest) = text.strip_prefix(start) {
                text = format!("{instead}{rest}");
            }
        }
        if text.ends_with("mb") {
            text.pop();
        }
        for (end, instead) in [("dge", "j"), ("ge", "j"), ("ce", "s"), ("e", "")] {
            if let Some(rest) = text.strip_suffix(end) {
                text = format!("{rest}{instead}");
                break;
            }
        }
        if text.starts_with("gh") {
            text.remove(1);
        }
        text.replace("gh", "").replace("dg", "g").replace("ck", "k")
    }

    fn spoken(letter: char, after_vowel: bool, before_front: bool) -> &'static str {
        match letter {
            'a' | 'e' | 'i' | 'o' | 'u' | 'y' => "a",
            'w' | 'h' if after_vowel => "",
            'c' if before_front => "s",
            'g' if before_front => "C",
            'c' | 'g' | 'k' | 'q' => "k",
            'x' => "ks",
            's' | 'z' => "s",
            'b' | 'p' => "p",
            'd' | 't' => "t",
            'f' | 'v' => "f",
            'j' | 'C' => "C",
            'S' => "S",
            'T' => "T",
            'l' => "l",
            'm' => "m",
            'n' => "n",
            'r' => "r",
            'h' => "h",
            'w' => "w",
            other => panic!("no sound for {other:?}"),
        }
    }

    fn is_vowel(letter: char) -> bool {
        "aeiouy".contains(letter)
    }

    #[test]
    fn four_letters_find_a_word_and_three_do_not() {
        assert_eq!(matching("AMBE"), Some("amber"));
        assert_eq!(matching("amber"), Some("amber"));
        assert_eq!(matching("amb"), None);
        assert_eq!(matching("ambers"), None);
        assert_eq!(matching("ämbe"), None);
        assert_eq!(matching(""), None);
    }
}
