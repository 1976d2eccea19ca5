//! What a walk finds, in what order, and what it says of the rest.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use packhorse_tree::{NodeKind, SourceFile, Walk, WalkError, WalkLimits, WalkProblem, WalkSource};
use rustix::fs::{CWD, Mode, mknodat};
use tempfile::tempdir;

use crate::child::{Setting, rerun};
use crate::fixture::{contents_of, directory, find, line_of, name, outcome, write};

/// Names that sort, print or parse in awkward ways.
fn write_awkward_tree(root: &Path) {
    for name in [
        &b"a"[..],
        b"a.b",
        b"a!",
        b"dir/x",
        b"dir.d/x",
        b"dir!/x",
        b"dir/sub/deep/file",
        b"dir/sub.x",
        b"new\nline/and\nagain",
        b"\xff\xfe\xc3",
        b"bytes\x80/\x80\x01",
        b" space ",
        b"-rf",
        b"...",
        "\u{202e}reversed".as_bytes(),
    ] {
        write(root, name);
    }
    fs::create_dir(root.join("empty")).unwrap();
    symlink("no/such\nplace", root.join("dangling")).unwrap();
    symlink("/", root.join("dir/everything")).unwrap();
    fs::write(root.join(OsStr::from_bytes(&[b'n'; 255])), "").unwrap();
}

#[test]
fn order_and_metadata_are_what_find_says_sorted_by_components() {
    let root = tempdir().unwrap();
    write_awkward_tree(root.path());
    let (lines, errors) = outcome(Walk::new(contents_of(root.path())).unwrap());
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(lines, find(root.path()));
    assert_eq!(lines.len(), 26);
}

#[test]
fn a_tiny_arena_gives_the_same_list_as_a_large_one() {
    let root = tempdir().unwrap();
    for number in 0..10_000_u32 {
        // In no order a directory would happen to give.
        let scattered = number.wrapping_mul(2_654_435_761);
        fs::write(root.path().join(format!("{scattered:x}")), "").unwrap();
    }
    let expected = find(root.path());
    for names in [1_000, 50_000, 20 << 20] {
        let limits = WalkLimits {
            names,
            ..WalkLimits::default()
        };
        let walk = Walk::with_limits(contents_of(root.path()), limits).unwrap();
        let (lines, errors) = outcome(walk);
        assert!(errors.is_empty(), "{errors:?}");
        assert!(lines == expected, "{names}");
    }
}

#[test]
fn outer_directories_are_read_again_when_all_hold_too_much() {
    let root = tempdir().unwrap();
    for a in 0..30 {
        for b in 0..10 {
            for c in 0..4 {
                write(root.path(), format!("top/outer-{a}/inner-{b}/file-{c}"));
            }
        }
    }
    let expected = find(root.path());
    for names in [0, 1, 100, 300, 1_000] {
        for levels in [0, 1, 2, 64] {
            let limits = WalkLimits { names, levels };
            let walk = Walk::with_limits(contents_of(root.path()), limits).unwrap();
            let (lines, errors) = outcome(walk);
            assert!(errors.is_empty(), "{errors:?}");
            assert!(lines == expected, "{limits:?}");
        }
    }
}

/// `levels` nested directories, each with something before and after the next.
fn write_deep_tree(root: &Path, levels: usize) {
    let mut path = root.to_owned();
    for level in 0..levels {
        path.push("d");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a"), level.to_string()).unwrap();
        fs::write(path.join("z"), level.to_string()).unwrap();
    }
}

#[test]
fn depth_of_500_needs_no_more_descriptors_than_the_cap() {
    let body = || {
        let root = tempdir().unwrap();
        write_deep_tree(root.path(), 500);
        let (lines, errors) = outcome(Walk::new(contents_of(root.path())).unwrap());
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(lines, find(root.path()));
        assert_eq!(lines.len(), 1500);
    };
    let setting = Setting::After("ulimit -n 90");
    rerun(
        "walk::depth_of_500_needs_no_more_descriptors_than_the_cap",
        &setting,
        body,
    );
}

#[test]
fn a_path_too_long_for_a_manifest_is_told_and_the_rest_goes_on() {
    let root = tempdir().unwrap();
    // The kernel takes no such path at once: it is made from within.
    let script = "n=$(printf '%0255d' 0); for i in $(seq 17); do mkdir $n; cd -P ./$n; done";
    let mut shell = std::process::Command::new("bash");
    let made = shell
        .arg("-ec")
        .arg(script)
        .current_dir(root.path())
        .status();
    assert!(made.unwrap().success());
    write(root.path(), "after");
    let (lines, errors) = outcome(Walk::new(contents_of(root.path())).unwrap());
    assert_eq!(lines.len(), 15 + 1 + 1, "16 of 256 bytes, and the file");
    assert!(matches!(
        errors[..],
        [WalkError {
            problem: WalkProblem::Unnameable(_),
            ..
        }]
    ));
}

#[test]
fn what_no_manifest_can_hold_is_told_by_kind_and_escaped() {
    let root = tempdir().unwrap();
    let fifo = root.path().join("pipe\x1b[31m");
    mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = UnixListener::bind(root.path().join("socket")).unwrap();
    write(root.path(), "a");
    write(root.path(), "z");
    let (lines, errors) = outcome(Walk::new(contents_of(root.path())).unwrap());
    assert_eq!(lines.len(), 2);
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let root = root.path().display();
    let expected = [
        format!("{root}/pipe\\u{{1b}}[31m: not sent, it is a named pipe"),
        format!("{root}/socket: not sent, it is a socket"),
    ];
    assert_eq!(told, expected);
    let kind = &errors[0].problem;
    assert!(matches!(kind, WalkProblem::Unsupported(NodeKind::Fifo)));
}

#[test]
fn a_name_that_vanishes_is_told_and_the_rest_goes_on() {
    let root = tempdir().unwrap();
    for name in ["a", "b", "c/inside", "d"] {
        write(root.path(), name);
    }
    let mut walk = Walk::new(contents_of(root.path())).unwrap();
    let first = walk.next().unwrap().unwrap();
    assert_eq!(first.entry.path.as_bytes(), b"a");
    fs::remove_file(root.path().join("b")).unwrap();
    fs::remove_dir_all(root.path().join("c")).unwrap();
    let (lines, errors) = outcome(walk);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].path, b"d");
    for error in &errors {
        let WalkProblem::Io(io) = &error.problem else {
            panic!("{error}");
        };
        assert_eq!(io.kind(), ErrorKind::NotFound);
    }
    assert_eq!(errors.len(), 2);
}

#[test]
fn a_closed_directory_that_was_replaced_is_not_entered_again() {
    let root = tempdir().unwrap();
    write_deep_tree(root.path(), 4);
    let limits = WalkLimits {
        levels: 1,
        ..WalkLimits::default()
    };
    let source = vec![WalkSource::new(root.path().join("d"))];
    let mut walk = Walk::with_limits(source, limits).unwrap();
    let innermost = |walk: &mut Walk| walk.next().unwrap().unwrap().entry.path.to_string();
    while innermost(&mut walk) != "d/d/d/d/z" {}
    let middle = root.path().join("d/d/d");
    fs::rename(&middle, root.path().join("moved")).unwrap();
    write(&middle, "z");
    let (lines, errors) = outcome(walk);
    assert!(matches!(
        errors[..],
        [WalkError {
            problem: WalkProblem::Replaced,
            ..
        }]
    ));
    assert_eq!(errors[0].path, middle.display().to_string());
    let paths: Vec<&[u8]> = lines.iter().map(|line| &line.path[..]).collect();
    assert_eq!(paths, [b"d/d/z", &b"d/z"[..]]);
}

#[test]
fn a_found_file_can_be_read_and_tells_when_it_changes() {
    let root = tempdir().unwrap();
    write(root.path(), "directory/file");
    let walk = Walk::new(contents_of(root.path())).unwrap();
    let found = walk.last().unwrap().unwrap();
    let at = found.file.unwrap();
    let source = at.open().unwrap();
    assert_eq!(source.identity(), at.identity());
    assert_eq!(source.metadata(), found.entry.metadata);
    let mut buffer = [0xa5; 32];
    assert_eq!(source.read_at(&mut buffer, 4).unwrap(), 10);
    assert_eq!(&buffer[..10], b"ctory/file");
    assert_eq!(source.now().unwrap(), source.opened());
    let on_disk = root.path().join("directory/file");
    fs::rename(&on_disk, root.path().join("elsewhere")).unwrap();
    let now = source.now().unwrap();
    assert_ne!(now, source.opened());
    assert_eq!(
        now.identity(),
        source.identity(),
        "its name is not its content"
    );
    fs::write(root.path().join("elsewhere"), "other").unwrap();
    assert_ne!(source.now().unwrap().identity(), source.identity());
}

#[test]
fn reading_goes_on_after_the_kernel_gave_less_than_asked() {
    // The kernel gives files of /proc in pieces of about a page.
    let process = directory(Path::new("/proc/self"));
    let source = SourceFile::open(&process, name("smaps")).unwrap();
    let mut buffer = [0; 10_000];
    assert_eq!(source.read_at(&mut buffer, 0).unwrap(), buffer.len());
}

#[test]
fn a_file_that_became_something_else_is_not_opened() {
    let root = tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let walk = Walk::new(contents_of(root.path())).unwrap();
    let at = walk.last().unwrap().unwrap().file.unwrap();
    fs::remove_file(&file).unwrap();
    symlink("/etc/passwd", &file).unwrap();
    assert_eq!(
        at.open().unwrap_err().to_string(),
        "it is a symbolic link now, not a file"
    );
    fs::remove_file(&file).unwrap();
    mknodat(CWD, &file, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert_eq!(
        at.open().unwrap_err().to_string(),
        "it is a named pipe now, not a file"
    );
}

#[test]
fn a_large_file_is_walked_by_its_size_alone() {
    let root = tempdir().unwrap();
    let file = fs::File::create(root.path().join("sparse")).unwrap();
    file.set_len(5 << 40).unwrap();
    let found = Walk::new(contents_of(root.path()))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(line_of(&found.entry), find(root.path())[0]);
    assert_eq!(found.file.unwrap().open().unwrap().size(), 5 << 40);
}
