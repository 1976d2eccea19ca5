//! What is found of a file whose writer was killed, and what is believed of it.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use packhorse_proto::extent::{ContentTree, EXTENT_SIZE, ExtentHasher, ExtentValue, Whole};
use packhorse_proto::remains::{BootId, Version};
use packhorse_tree::{Directory, Existing, Placed, Remains, Temporary};
use tempfile::{TempDir, tempdir};

use crate::fixture::{directory, metadata, name, names_in};

/// Five extents, the last one short.
const SIZE: u64 = 4 * EXTENT_SIZE + 4321;

/// Subtrees that are taken.
const MOST: usize = 1024;

const THIS_BOOT: BootId = [6; 16];

const ANOTHER_BOOT: BootId = [7; 16];

struct Scene {
    root: TempDir,
    content: Vec<u8>,
    version: Version,
}

impl Scene {
    fn new() -> Self {
        let content = (0..SIZE).map(|at| (at * 31 + (at >> 12)).to_le_bytes()[0]);
        Self {
            root: tempdir().unwrap(),
            content: content.collect(),
            version: Version {
                size: SIZE,
                metadata: metadata(0o640, 1_700_000_000, 5),
            },
        }
    }

    fn directory(&self) -> Arc<Directory> {
        directory(self.root.path())
    }

    /// Where an extent is in the content.
    fn bytes(&self, extent: u64) -> &[u8] {
        let start = usize::try_from(extent * EXTENT_SIZE).unwrap();
        let length = usize::try_from(EXTENT_SIZE).unwrap();
        &self.content[start..self.content.len().min(start + length)]
    }

    fn value(&self, extent: u64) -> ExtentValue {
        let mut hasher = ExtentHasher::new(extent * EXTENT_SIZE).unwrap();
        hasher.update(self.bytes(extent)).unwrap();
        hasher.finish(Whole::Part).unwrap()
    }

    fn write(&self, file: &Temporary, extents: &[u64]) {
        for &extent in extents {
            let turn = file.turn();
            turn.write_at(self.bytes(extent), extent * EXTENT_SIZE)
                .unwrap();
            drop(turn);
            file.note(&self.value(extent));
        }
    }

    fn begin(&self) -> Temporary {
        let begun = self
            .directory()
            .begin_file(name("large"), self.version, THIS_BOOT);
        begun.unwrap().expect("a variant is free")
    }

    /// A writer that has got so far, and is gone.
    fn leave(&self, extents: &[u64]) {
        let file = self.begin();
        file.reserve(SIZE).unwrap();
        self.write(&file, extents);
    }

    fn resume(&self, boot: BootId) -> Option<Remains> {
        let found = self
            .directory()
            .resume_file(name("large"), self.version, boot, MOST);
        found.unwrap()
    }

    #[track_caller]
    fn resume_part(&self, boot: BootId) -> (Temporary, ContentTree) {
        match self.resume(boot) {
            Some(Remains::Part(file, tree)) => (file, tree),
            other => panic!("{other:?}"),
        }
    }

    fn tree_of(&self, extents: &[u64]) -> ContentTree {
        let mut tree = ContentTree::new();
        for &extent in extents {
            tree.insert(&self.value(extent)).unwrap();
        }
        tree
    }

    fn ending(&self, ending: &str) -> PathBuf {
        let names = names_in(self.root.path());
        let found = names.iter().find(|name| name.ends_with(ending));
        self.root.path().join(found.expect(ending))
    }

    fn part(&self) -> PathBuf {
        self.ending(".part")
    }

    fn journal(&self) -> PathBuf {
        self.ending(".journal")
    }

    /// Overwrites a byte in the partial file, later than the journal was written for sure.
    fn spoil(&self, offset: u64) {
        let file = fs::File::options().write(true).open(self.part()).unwrap();
        let changed = |path: &Path| {
            let stat = fs::metadata(path).unwrap();
            Duration::new(
                stat.ctime().try_into().unwrap(),
                stat.ctime_nsec().try_into().unwrap(),
            )
        };
        let journal = changed(&self.journal());
        while changed(&self.part()) < journal + Duration::from_millis(50) {
            file.write_at(b"?", offset).unwrap();
        }
    }
}

#[test]
fn a_partial_file_is_found_again_with_what_it_holds_and_completed() {
    let scene = Scene::new();
    scene.leave(&[0, 2, 4]);
    assert_eq!(names_in(scene.root.path()).len(), 2);
    let (file, tree) = scene.resume_part(THIS_BOOT);
    assert_eq!(tree, scene.tree_of(&[0, 2, 4]));
    scene.write(&file, &[3]);
    drop(file);
    let (file, mut tree) = scene.resume_part(THIS_BOOT);
    assert_eq!(tree, scene.tree_of(&[0, 2, 4, 3]));
    scene.write(&file, &[1]);
    tree.insert(&scene.value(1)).unwrap();
    assert_eq!(
        tree.root(SIZE).unwrap(),
        scene.tree_of(&[0, 1, 2, 3, 4]).root(SIZE).unwrap()
    );
    let placed = file.commit(name("large"), scene.version.metadata, Existing::Keep);
    assert_eq!(placed.unwrap(), Placed::Stored);
    assert_eq!(names_in(scene.root.path()), ["large"]);
    assert!(fs::read(scene.root.path().join("large")).unwrap() == scene.content);
}

/// Bytes that this thread has read from files, as the kernel counts them.
fn read_by_us() -> u64 {
    let io = fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = io.lines().find(|line| line.starts_with("rchar:")).unwrap();
    line["rchar: ".len()..].parse().unwrap()
}

/// Nothing is read where nothing can have happened: the descriptor of the partial file has read no byte.
#[test]
fn a_file_that_was_only_written_is_not_read_again() {
    let scene = Scene::new();
    scene.leave(&[0, 1, 2, 3]);
    let before = read_by_us();
    let (_file, tree) = scene.resume_part(THIS_BOOT);
    assert_eq!(tree.covered(), 4 * EXTENT_SIZE);
    assert!(read_by_us() - before < 64 << 10);
}

#[test]
fn what_somebody_else_wrote_to_is_read_and_what_is_wrong_dropped() {
    let scene = Scene::new();
    scene.leave(&[0, 1, 2, 4]);
    scene.spoil(EXTENT_SIZE + 17);
    let (file, tree) = scene.resume_part(THIS_BOOT);
    assert_eq!(tree, scene.tree_of(&[0, 2, 4]));
    // The journal was written anew: what it says now holds for the next one, too.
    scene.write(&file, &[1]);
    drop(file);
    let (_file, tree) = scene.resume_part(THIS_BOOT);
    assert_eq!(tree, scene.tree_of(&[0, 2, 4, 1]));
}

#[test]
fn after_the_machine_was_started_anew_everything_is_read() {
    let scene = Scene::new();
    scene.leave(&[0, 1, 4]);
    let (file, tree) = scene.resume_part(ANOTHER_BOOT);
    assert_eq!(tree, scene.tree_of(&[0, 1, 4]));
    drop(file);
    // As a filesystem leaves what it had no time to write.
    let part = fs::File::options().write(true).open(scene.part()).unwrap();
    part.write_at(&[0; 4096], 4 * EXTENT_SIZE).unwrap();
    part.set_len(4 * EXTENT_SIZE + 4096).unwrap();
    let (_file, tree) = scene.resume_part(THIS_BOOT);
    assert_eq!(tree, scene.tree_of(&[0, 1]));
}

#[test]
fn what_a_checkpoint_covers_is_not_read_after_the_machine_was_started_anew() {
    let scene = Scene::new();
    let file = scene.begin();
    scene.write(&file, &[0, 2, 1]);
    let checkpoints = file.checkpointer().expect("it has a journal");
    assert!(checkpoints.checkpoint().unwrap());
    // Nothing new: nothing more is written.
    let length = fs::metadata(scene.journal()).unwrap().len();
    assert!(checkpoints.checkpoint().unwrap());
    assert_eq!(fs::metadata(scene.journal()).unwrap().len(), length);
    scene.write(&file, &[4]);
    drop(file);
    assert!(!checkpoints.checkpoint().unwrap(), "nobody writes it");
    for boot in [ANOTHER_BOOT, THIS_BOOT] {
        let before = read_by_us();
        let (file, tree) = scene.resume_part(boot);
        let read = read_by_us() - before;
        assert_eq!(tree, scene.tree_of(&[0, 2, 1, 4]));
        // The last extent, and journals.
        assert!((4321..64 << 10).contains(&read), "{read}");
        drop(file);
    }
    // Whoever writes to it takes the belief away.
    scene.spoil(17);
    let (_file, tree) = scene.resume_part(ANOTHER_BOOT);
    assert_eq!(tree, scene.tree_of(&[2, 1, 4]));
}

/// What is not told is not in the journal either: nobody gives back its room and believes it to be there afterwards.
#[test]
fn of_remains_that_are_scattered_some_are_dropped_for_good() {
    let scene = Scene::new();
    scene.leave(&[0, 2, 4]);
    let found = scene
        .directory()
        .resume_file(name("large"), scene.version, THIS_BOOT, 2);
    let Ok(Some(Remains::Part(file, tree))) = found else {
        panic!("{found:?}");
    };
    assert_eq!(tree, scene.tree_of(&[0, 2]));
    assert!(file.release(SIZE));
    drop(file);
    let (_file, tree) = scene.resume_part(THIS_BOOT);
    assert_eq!(tree, scene.tree_of(&[0, 2]));
}

#[test]
fn a_damaged_journal_claims_nothing_that_is_not_there() {
    let scene = Scene::new();
    let noted = [0, 2, 3, 4];
    for cut in (0..512 + 4 * 48).step_by(17) {
        for flip in [false, true] {
            scene.leave(&noted);
            let mut damaged = fs::read(scene.journal()).unwrap();
            match flip {
                true => damaged[cut] ^= 0x40,
                false => damaged.truncate(cut),
            }
            fs::write(scene.journal(), damaged).unwrap();
            match scene.resume(THIS_BOOT) {
                Some(Remains::Part(file, tree)) => {
                    let good = (cut - 512) / 48;
                    assert_eq!(tree, scene.tree_of(&noted[..good]), "{cut} {flip}");
                    file.discard();
                }
                Some(Remains::Whole(..)) => panic!("{cut} {flip}"),
                None => assert!(cut < 512, "{cut} {flip}"),
            }
            assert!(names_in(scene.root.path()).is_empty(), "{cut} {flip}");
        }
    }
}

#[test]
fn another_version_starts_over_and_leaves_nothing() {
    let scene = Scene::new();
    let mut others = [scene.version; 5];
    others[0].size += 1;
    others[1].metadata = metadata(0o600, 1_700_000_000, 5);
    others[2].metadata = metadata(0o640, 1_700_000_001, 5);
    others[3].metadata = metadata(0o640, 1_700_000_000, 6);
    others[4].metadata.change = Some(9);
    for other in others {
        scene.leave(&[0, 1]);
        let found = scene
            .directory()
            .resume_file(name("large"), other, THIS_BOOT, MOST);
        assert!(found.unwrap().is_none(), "{other:?}");
        assert!(names_in(scene.root.path()).is_empty());
    }
}

#[test]
fn a_partial_file_without_its_journal_or_the_other_way_is_nothing() {
    let scene = Scene::new();
    scene.leave(&[0]);
    fs::remove_file(scene.journal()).unwrap();
    assert!(scene.resume(THIS_BOOT).is_none());
    scene.leave(&[0, 1]);
    fs::remove_file(scene.part()).unwrap();
    assert!(scene.resume(THIS_BOOT).is_none());
    assert!(names_in(scene.root.path()).is_empty());
    // Another file in its place, with the same content, is not the one that the journal is about.
    scene.leave(&[0, 1]);
    fs::write(scene.root.path().join("other"), &scene.content).unwrap();
    fs::rename(scene.root.path().join("other"), scene.part()).unwrap();
    assert!(scene.resume(THIS_BOOT).is_none());
    assert!(names_in(scene.root.path()).is_empty());
}

#[test]
fn links_in_the_place_of_either_are_not_followed() {
    let scene = Scene::new();
    let beside = tempdir().unwrap();
    let target = beside.path().join("target");
    fs::write(&target, "do not touch").unwrap();
    for which in [".part", ".journal"] {
        scene.leave(&[0]);
        let place = scene.ending(which);
        fs::remove_file(&place).unwrap();
        std::os::unix::fs::symlink(&target, &place).unwrap();
        assert!(scene.resume(THIS_BOOT).is_none());
        let begun = scene.begin();
        scene.write(&begun, &[0]);
        begun.discard();
        assert_eq!(fs::read(&target).unwrap(), b"do not touch");
        for left in names_in(scene.root.path()) {
            fs::remove_file(scene.root.path().join(left)).unwrap();
        }
    }
}

/// Who holds a file's journal has it alone, and whoever dies lets go of it.
#[test]
fn two_writers_of_one_name_have_a_partial_file_each() {
    let scene = Scene::new();
    let (one, other) = (scene.begin(), scene.begin());
    scene.write(&one, &[0]);
    scene.write(&other, &[3]);
    assert!(scene.resume(THIS_BOOT).is_none(), "both are held");
    drop(other);
    let (found, tree) = scene.resume_part(THIS_BOOT);
    assert_eq!(tree, scene.tree_of(&[3]));
    drop(one);
    let (_second, tree) = scene.resume_part(THIS_BOOT);
    assert_eq!(tree, scene.tree_of(&[0]));
    assert!(scene.resume(THIS_BOOT).is_none(), "both are held again");
    drop(found);
}

/// Killed between the file's getting its name and the journal's going.
#[test]
fn a_file_that_got_its_name_is_whole() {
    let scene = Scene::new();
    for spoilt in [false, true] {
        scene.leave(&[0, 1, 2, 3, 4]);
        let large = scene.root.path().join("large");
        let part = fs::File::options().write(true).open(scene.part()).unwrap();
        fs::rename(scene.part(), &large).unwrap();
        if spoilt {
            part.write_at(b"?", 5).unwrap();
        }
        let modified = UNIX_EPOCH + Duration::new(1_700_000_000, 5);
        fs::set_permissions(&large, fs::Permissions::from_mode(0o640)).unwrap();
        part.set_modified(modified).unwrap();
        let boot = if spoilt { ANOTHER_BOOT } else { THIS_BOOT };
        let Some(Remains::Whole(tree, journal)) = scene.resume(boot) else {
            panic!("it is there");
        };
        let whole = scene.tree_of(&[0, 1, 2, 3, 4]).root(SIZE).unwrap();
        assert_eq!(tree.root(SIZE).unwrap() == whole, !spoilt);
        // Until it is noted elsewhere that the file is complete.
        assert_eq!(names_in(scene.root.path()).len(), 2);
        journal.remove();
        assert_eq!(names_in(scene.root.path()), ["large"]);
    }
}
