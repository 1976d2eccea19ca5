//! What the sender does when its file changes between the MD5 and the wire.

use std::fs;
use std::net::TcpListener;
use std::thread;

use tempfile::TempDir;

use super::*;

const SIZE: usize = 3 * BUFFER + 5;

fn source(directory: &TempDir) -> (PathBuf, Source) {
    let path = directory.path().join("file");
    fs::write(&path, vec![7; SIZE]).unwrap();
    let options = ClassicSendOptions {
        path: path.clone(),
        name: None,
        format: Format::Md5,
        to: "127.0.0.1:1".parse().unwrap(),
        limits: ClassicLimits::default(),
        calls: None,
    };
    (path, Source::open(&options).unwrap())
}

/// Sends to somebody who counts what comes.
fn send(source: &Source) -> (Result<bool, ClassicError>, usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let counting = thread::spawn(move || {
        let (mut stream, mut all) = (listener.accept().unwrap().0, Vec::new());
        // A reset is one way to end.
        let _ = stream.read_to_end(&mut all);
        all.len()
    });
    let stream = Observed::new(TcpStream::connect(address).unwrap(), None);
    let sending = Sending {
        abandoned: Abandoned::default(),
        tally: Tally::default(),
    };
    let sent = source.send(b"header", &stream, &ClassicLimits::default(), &sending);
    drop(stream);
    (sent, counting.join().unwrap())
}

fn hash(source: &mut Source) -> Md5Sum {
    source.hash(&Abandoned::default()).unwrap()
}

/// Sets the time of the last change back to what it was.
fn with_the_same_time(path: &Path, change: impl FnOnce()) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    change();
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

#[test]
fn an_unchanged_file_goes_whole() {
    let directory = TempDir::new().unwrap();
    let (_, mut source) = source(&directory);
    hash(&mut source);
    let (sent, count) = send(&source);
    assert!(sent.unwrap());
    assert_eq!(count, "header".len() + SIZE);
}

#[test]
fn another_content_of_the_same_size_and_time_is_noticed() {
    let directory = TempDir::new().unwrap();
    let (path, mut source) = source(&directory);
    hash(&mut source);
    with_the_same_time(&path, || {
        let mut content = vec![7; SIZE];
        content[BUFFER] = 8;
        fs::write(&path, content).unwrap();
    });
    let (sent, count) = send(&source);
    assert!(matches!(sent, Err(ClassicError::Changed(_))), "{sent:?}");
    assert!(
        count < "header".len() + SIZE,
        "the last bytes are held back"
    );
}

#[test]
fn a_file_that_grows_or_shrinks_is_noticed() {
    for size in [SIZE - 1, SIZE + 1, 0] {
        let directory = TempDir::new().unwrap();
        let (path, source) = source(&directory);
        with_the_same_time(&path, || fs::write(&path, vec![7; size]).unwrap());
        let (sent, count) = send(&source);
        assert!(matches!(sent, Err(ClassicError::Changed(_))), "{sent:?}");
        assert!(count < "header".len() + SIZE);
    }
}

#[test]
fn what_has_no_size_is_refused() {
    for path in ["/dev/null", "/"] {
        let error = open_regular(Path::new(path)).unwrap_err();
        assert!(error.to_string().starts_with("it is"), "{error}");
    }
}
