//! The house stays a house: who may depend on whom, which crates do no input or output, how long a
//! file may grow. docs/architecture.md draws the map that is checked here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Each package of the workspace, and those of ours that it may build on.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "packhorse",
        &[
            "packhorse-transfer",
            "packhorse-server",
            "packhorse-watch",
            // The notations of addresses and frames, and `pack`, `unpack`, `sockopt`.
            "packhorse-endpoint",
            "packhorse-frame",
        ],
    ),
    (
        "packhorse-transfer",
        &[
            "packhorse-proto",
            "packhorse-trust",
            "packhorse-tree",
            "packhorse-endpoint",
        ],
    ),
    // The words of the manifest (paths, entries, extents), not the protocol.
    ("packhorse-tree", &["packhorse-proto"]),
    (
        "packhorse-server",
        &["packhorse-endpoint", "packhorse-frame"],
    ),
    ("packhorse-watch", &["packhorse-frame"]),
    ("packhorse-trust", &[]),
    ("packhorse-endpoint", &[]),
    ("packhorse-frame", &[]),
    ("packhorse-proto", &[]),
    ("packhorse-netlab", &[]),
    (
        "packhorse-benches",
        &[
            "packhorse-frame",
            "packhorse-proto",
            "packhorse-tree",
            "packhorse-trust",
        ],
    ),
    ("xtask", &["packhorse-netlab"]),
];

/// What any crate's tests and benchmarks may use besides.
const FOR_TESTS_ONLY: &str = "packhorse-netlab";

/// Crates that understand bytes and know no sockets, files, clocks or threads.
const WITHOUT_IO: &[&str] = &["proto", "frame"];

/// Modules of `std` that such a crate does not name.
const IO_MODULES: &[&str] = &["env", "fs", "io", "net", "os", "process", "thread"];

/// Other names that such a crate does not speak. A duration is a number; these read a clock or wait.
const IO_NAMES: &[&str] = &[
    "Instant",
    "SystemTime",
    "async",
    "await",
    "println",
    "eprintln",
];

/// What such a crate may name of them all the same: a view over bytes, which a caller's vectored write takes.
const NO_IO: &str = "IoSlice";

/// Lines after which a file is a heap.
const LONGEST_FILE: usize = 600;

fn top() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("xtask lies in the checkout")
        .to_path_buf()
}

#[test]
fn arrows_between_crates_point_one_way() {
    let metadata = MetadataCommand::new()
        .manifest_path(top().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            wrong.push(format!("{name} has no row in ARROWS"));
            continue;
        };
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            let in_tests = dependency.kind == DependencyKind::Development && to == FOR_TESTS_ONLY;
            if ours.contains(to) && !allowed.contains(&to) && !in_tests {
                wrong.push(format!("{name} may not depend on {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_arrow_leads_back() {
    for (from, _) in ARROWS {
        let mut reached = BTreeSet::new();
        let mut open = vec![*from];
        while let Some(name) = open.pop() {
            let next = ARROWS.iter().find(|(row, _)| *row == name);
            for &to in next.map_or(&[][..], |(_, allowed)| allowed) {
                assert_ne!(to, *from, "{from} reaches itself");
                if reached.insert(to) {
                    open.push(to);
                }
            }
        }
    }
}

#[test]
fn files_stay_readable() {
    let mut long = Vec::new();
    for file in rust_files(&top().join("crates")).chain(rust_files(&top().join("xtask"))) {
        let lines = read(&file).lines().count();
        if lines > LONGEST_FILE {
            long.push(format!(
                "{}: {lines} lines, more than {LONGEST_FILE}",
                file.display()
            ));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn crates_that_understand_bytes_do_no_io() {
    let mut found = Vec::new();
    for name in WITHOUT_IO {
        for file in rust_files(&top().join("crates").join(name).join("src")) {
            for trespass in trespasses(&read(&file)) {
                found.push(format!("{}: {trespass}", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_search_for_io_finds_it() {
    for source in [
        "use std::net::SocketAddr;",
        "use std::{fmt, fs};",
        "use std::{\n    fmt,\n    time::Instant,\n};",
        "let now = SystemTime::now();",
        "std :: thread::spawn(f)",
        "use std::io::{IoSlice, Read};",
    ] {
        assert!(!trespasses(source).is_empty(), "{source}");
    }
    for source in [
        "use std::{fmt, collections::{BTreeMap}};",
        "// std::fs is not used: std::net neither",
        "let network = netmask(stdfs);",
        "use std::time::Duration;",
        "use std::io::IoSlice;",
    ] {
        assert_eq!(trespasses(source), Vec::<String>::new(), "{source}");
    }
}

/// What the source names that a crate without IO must not.
fn trespasses(source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let mut found: Vec<String> = tokens
        .iter()
        .filter(|token| IO_NAMES.contains(token))
        .map(|&token| token.to_owned())
        .collect();
    for (at, _) in tokens.iter().enumerate().filter(|(_, t)| **t == "std") {
        let after = &tokens[at + 1..];
        let modules = match after {
            [":", ":", "{", inside @ ..] => heads_of_group(inside),
            [":", ":", "io", ":", ":", name, ..] if *name == NO_IO => Vec::new(),
            [":", ":", module, ..] => vec![*module],
            _ => Vec::new(),
        };
        let io = modules
            .into_iter()
            .filter(|module| IO_MODULES.contains(module));
        found.extend(io.map(|module| format!("std::{module}")));
    }
    found
}

/// The first name of each path in a `{…}` of a `use`, whose opening brace is already read.
fn heads_of_group<'a>(tokens: &[&'a str]) -> Vec<&'a str> {
    let mut depth = 1;
    let mut at_head = true;
    let mut heads = Vec::new();
    for &token in tokens {
        match token {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => at_head = true,
            name if depth == 1 && at_head => {
                heads.push(name);
                at_head = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

/// Words and single marks; white space and comments to the end of a line are left out.
fn tokens(source: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for line in source.lines() {
        let mut rest = line.split("//").next().unwrap_or_default().trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            let (token, after) = rest.split_at(word.max(first.len_utf8()));
            tokens.push(token);
            rest = after.trim_start();
        }
    }
    tokens
}

fn rust_files(directory: &Path) -> std::vec::IntoIter<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        // A crate that is planned but not built yet has no files.
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("a readable directory").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files.into_iter()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
