//! A filter of any text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packhorse_watch::Filter;

fuzz_target!(|text: &str| {
    match text.parse::<Filter>() {
        // What is said twice is the same.
        Ok(filter) => {
            let twice = format!("({text})");
            // One parenthesis more may be one too deep.
            if let Ok(again) = twice.parse::<Filter>() {
                assert_eq!(again, filter);
            }
        }
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.position)),
    }
});
