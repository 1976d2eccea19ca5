//! Trees to send, sessions in one process over loopback, and what is there afterwards.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use packhorse_transfer::{
    Assurance, Cancel, Code, Destination, Error, Event, Existing, Limits, Observer, Receipt,
    ReceiveOptions, ReceiveSecurity, SendOptions, SendSecurity, Sessions, Source, Storage, receive,
    send,
};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use tokio::sync::oneshot;

const CODE: &str = "amber falcon river";

pub(crate) const DURABLE: Assurance = Assurance {
    durable: true,
    reread: false,
};

pub(crate) const REREAD: Assurance = Assurance {
    durable: false,
    reread: true,
};

/// What is under a path.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) mode: u32,
    pub(crate) modified: (i64, i64),
    pub(crate) content: Content,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Directory,
    Link(PathBuf),
    File(Vec<u8>),
}

/// Everything beneath a directory.
pub(crate) type Tree = BTreeMap<PathBuf, Node>;

/// Reads a tree, without the directory itself.
pub(crate) fn tree_of(root: &Path) -> Tree {
    let mut tree = Tree::new();
    add_to(&mut tree, root, root);
    tree
}

fn add_to(tree: &mut Tree, root: &Path, directory: &Path) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let stat = fs::symlink_metadata(&path).expect("metadata");
        let content = if stat.is_dir() {
            add_to(tree, root, &path);
            Content::Directory
        } else if stat.is_symlink() {
            Content::Link(fs::read_link(&path).expect("a link"))
        } else {
            Content::File(fs::read(&path).expect("a file"))
        };
        let node = Node {
            // Nobody can set that of a link.
            mode: if stat.is_symlink() {
                0
            } else {
                stat.mode() & 0o7777
            },
            modified: (stat.mtime(), stat.mtime_nsec()),
            content,
        };
        tree.insert(
            path.strip_prefix(root).expect("beneath").to_path_buf(),
            node,
        );
    }
}

/// In words, how two nodes differ.
pub(crate) fn difference(found: &Node, wanted: &Node) -> Option<String> {
    if found == wanted {
        return None;
    }
    let told = match (&found.content, &wanted.content) {
        (Content::File(found), Content::File(wanted)) if found != wanted => {
            let at = found.iter().zip(wanted).position(|(a, b)| a != b);
            let (found, wanted) = (found.len(), wanted.len());
            format!("content: {found} bytes for {wanted}, the first other one at {at:?}")
        }
        (a, b) if a != b => "another kind or target".to_owned(),
        _ => format!(
            "metadata: {:o} {:?} for {:o} {:?}",
            found.mode, found.modified, wanted.mode, wanted.modified
        ),
    };
    Some(told)
}

/// How a tree differs from what it should be: paths, and what is with them.
pub(crate) fn differences(found: &Tree, wanted: &Tree) -> Vec<String> {
    let mut all = Vec::new();
    for (path, wanted) in wanted {
        let told = match found.get(path) {
            None => Some("missing".to_owned()),
            Some(found) => difference(found, wanted),
        };
        all.extend(told.map(|told| format!("{}: {told}", path.display())));
    }
    let more = found.keys().filter(|path| !wanted.contains_key(*path));
    all.extend(more.map(|path| format!("{}: left over", path.display())));
    all
}

/// Bytes that are nowhere the same: every eight of them say where they are, and in which file.
pub(crate) fn bytes(length: usize, salt: u64) -> Vec<u8> {
    let words = (0..length.div_ceil(8) as u64).map(|at| {
        (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xd134_2543_de82_ef95)
    });
    let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    bytes.truncate(length);
    bytes
}

pub(crate) fn set(path: &Path, mode: u32, seconds: i64, nanoseconds: i64) {
    let stat = fs::symlink_metadata(path).expect("metadata");
    if !stat.is_symlink() {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
    }
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("times");
}

/// Two files of several extents, thirty small ones, links, and directories in directories.
pub(crate) fn make_source(root: &Path) {
    let top = root.join("tree");
    fs::create_dir_all(top.join("one/two/three")).expect("directories");
    fs::create_dir(top.join("small")).expect("a directory");
    for (place, (name, size)) in [("large", (5 << 20) + 4321), ("one/large", 5 << 20)]
        .iter()
        .enumerate()
    {
        let path = top.join(name);
        fs::write(&path, bytes(*size, 100 + place as u64)).expect("a file");
        set(&path, 0o640, 1_700_000_000, 123_456_789);
    }
    for place in 0..30_u32 {
        let path = top.join(format!("small/{place:02}"));
        let size = (place as usize * 1931) % 40_000;
        fs::write(&path, bytes(size, u64::from(place))).expect("a file");
        set(
            &path,
            [0o644, 0o444, 0o700][place as usize % 3],
            1_600_000_000 + i64::from(place),
            7,
        );
    }
    fs::write(top.join("one/two/three/deep"), b"deep").expect("a file");
    set(&top.join("one/two/three/deep"), 0o600, 5, 0);
    for (name, target) in [("link", "large"), ("one/nowhere", "../../nowhere")] {
        symlink(target, top.join(name)).expect("a link");
        set(&top.join(name), 0, 1_500_000_000, 11);
    }
    for (place, name) in ["one/two/three", "one/two", "one", "small", ""]
        .iter()
        .enumerate()
    {
        set(
            &top.join(name),
            [0o750, 0o711, 0o755][place % 3],
            1_400_000_000 + place as i64,
            3,
        );
    }
}

/// What stands in a destination already: other content under the same names, and something that is not sent.
pub(crate) fn make_old(root: &Path) {
    let top = root.join("tree");
    fs::create_dir_all(top.join("small")).expect("directories");
    fs::write(top.join("large"), bytes(3 << 20, 900)).expect("a file");
    set(&top.join("large"), 0o600, 1_000_000_000, 1);
    for place in 0..10_u32 {
        let path = top.join(format!("small/{place:02}"));
        fs::write(&path, bytes(5000, 1000 + u64::from(place))).expect("a file");
        set(&path, 0o600, 1_000_000_000, 2);
    }
    fs::write(top.join("another"), b"is not touched").expect("a file");
    set(&top.join("another"), 0o400, 1_000_000_001, 2);
    symlink("elsewhere", top.join("link")).expect("a link");
    set(&top.join("link"), 0, 1_000_000_002, 2);
}

/// How a session is run.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) assurance: Assurance,
    pub(crate) encrypted: bool,
    /// What lies between the two: gives the address to connect to.
    pub(crate) through: Option<fn(SocketAddr) -> SocketAddr>,
    pub(crate) stages: Option<Arc<dyn packhorse_transfer::StageObserver>>,
    /// Is called when the sender has the receipt.
    pub(crate) receipted: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.assurance)
    }
}

impl Way {
    pub(crate) fn on(storage: Arc<dyn Storage>) -> Self {
        Self {
            storage,
            assurance: Assurance::default(),
            encrypted: false,
            through: None,
            stages: None,
            receipted: Arc::new(|| ()),
        }
    }

    pub(crate) fn with(self, assurance: Assurance) -> Self {
        Self { assurance, ..self }
    }
}

/// How a session ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) sent: Result<Receipt, Error>,
    pub(crate) received: Result<Option<Receipt>, Error>,
    /// What did not arrive, and why, as the sender tells it.
    pub(crate) failed: Vec<(String, String)>,
}

impl Ended {
    /// The receipt of a session in which everything went well.
    #[track_caller]
    pub(crate) fn whole(self) -> Receipt {
        assert_eq!(self.failed, []);
        self.received.expect("it receives");
        self.sent.expect("it sends")
    }
}

thread_local! {
    static RUNTIME: RefCell<tokio::runtime::Runtime> = RefCell::new({
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime")
    });
}

/// Sends what is in `source` to a receiver that stores it in `destination`.
pub(crate) fn transfer(source: &Path, destination: &Path, way: &Way) -> Ended {
    RUNTIME.with_borrow(|runtime| runtime.block_on(session(source, destination, way)))
}

async fn session(source: &Path, destination: &Path, way: &Way) -> Ended {
    let (tell, told) = oneshot::channel();
    let mut tell = Some(tell);
    let observer: Observer = Box::new(move |event| {
        if let Event::Listening { addresses } = event
            && let Some(tell) = tell.take()
        {
            let _ = tell.send(addresses[0]);
        }
    });
    let cancel = Cancel::new();
    let receiving = receive(receive_options(destination, way), observer, cancel.clone());
    let failed = Arc::new(Mutex::new(Vec::new()));
    let sending = async {
        let to = told.await.expect("it listens");
        let to = way.through.map_or(to, |through| through(to));
        let (list, receipted) = (Arc::clone(&failed), Arc::clone(&way.receipted));
        let observer: Observer = Box::new(move |event| match event {
            Event::Failed { path, message } => {
                let mut list = list.lock().expect("nobody panics");
                list.push((path.clone(), message.clone()));
            }
            Event::Done(_) => receipted(),
            _ => {}
        });
        let sent = send(send_options(source, to, way), observer, Cancel::new()).await;
        if sent.is_err() {
            // It would wait for the next one.
            cancel.cancel();
        }
        sent
    };
    let (received, sent) = tokio::join!(receiving, sending);
    let failed = std::mem::take(&mut *failed.lock().expect("nobody panics"));
    Ended {
        sent,
        received,
        failed,
    }
}

fn code() -> Code {
    Code::given(CODE).expect("a code")
}

fn receive_options(destination: &Path, way: &Way) -> ReceiveOptions {
    ReceiveOptions {
        retry_for: Duration::ZERO,
        assurance: Assurance::default(),
        directory: destination.to_path_buf(),
        listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        security: if way.encrypted {
            ReceiveSecurity::Given(code())
        } else {
            ReceiveSecurity::Insecure
        },
        sessions: Sessions::One,
        existing: Existing::Replace,
        limits: Limits::default(),
        classic: None,
        calls: None,
        stages: None,
        storage: Arc::clone(&way.storage),
    }
}

fn send_options(source: &Path, to: SocketAddr, way: &Way) -> SendOptions {
    SendOptions {
        retry_for: Duration::ZERO,
        assurance: way.assurance,
        sources: vec![Source::Path(source.join("tree"))],
        to: Destination {
            host: to.ip().into(),
            port: to.port(),
            subdirectory: None,
        },
        security: if way.encrypted {
            SendSecurity::Code(code())
        } else {
            SendSecurity::Insecure
        },
        limits: Limits::default(),
        calls: None,
        stages: way.stages.clone(),
    }
}
