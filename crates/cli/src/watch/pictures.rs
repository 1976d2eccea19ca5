//! Pictures, written to the files that were named.

use std::fs;
use std::path::{Path, PathBuf};

use super::args::How;
use crate::report::{Failure, shown};
use crate::ui::Ui;

/// Whether any were asked for: then nothing is said of what they show.
pub(super) fn wanted(how: &How) -> bool {
    how.svg.is_some() || how.html.is_some()
}

/// Writes what was asked for: each of the `pictures` as SVG, and the `page` that has all of them.
pub(super) fn write(ui: &Ui, how: &How, pictures: &[String], page: &str) -> Result<(), Failure> {
    if let Some(file) = &how.svg {
        for (number, picture) in (1..).zip(pictures) {
            put(ui, &numbered(file, number), picture)?;
        }
    }
    if let Some(file) = &how.html {
        put(ui, file, page)?;
    }
    Ok(())
}

fn put(ui: &Ui, file: &Path, text: &str) -> Result<(), Failure> {
    fs::write(file, text).map_err(|error| Failure::file("write", file, &error))?;
    ui.say(format_args!("Drawn: '{}'", shown(file)));
    Ok(())
}

/// The file for the first picture; for others the same with a number: `a.svg`, `a-2.svg`.
fn numbered(file: &Path, number: usize) -> PathBuf {
    if number == 1 {
        return file.to_owned();
    }
    let mut name = file.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = file.extension() {
        name.push(".");
        name.push(extension);
    }
    file.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_have_numbers_behind_the_first() {
        for (file, number, named) in [
            ("a/b.svg", 1, "a/b.svg"),
            ("a/b.svg", 2, "a/b-2.svg"),
            ("b", 3, "b-3"),
            ("a.b/.svg", 2, "a.b/.svg-2"),
        ] {
            assert_eq!(numbered(Path::new(file), number), Path::new(named));
        }
    }
}
