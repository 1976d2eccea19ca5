//! Directory trees by descriptor: walked on the sending side, written on the receiving side.
//!
//! - [`Walk`] goes over sources in the manifest's canonical order, in bounded memory, and
//!   [`SourceFile`] reads one file of them and tells whether it changed meanwhile.
//! - [`Directory`] is an open directory. Everything beneath it is reached by names that were checked
//!   (`RelativePath`, `Name`), and never through a symbolic link, so no peer can lead out of it.
//! - [`Temporary`] is an unfinished file. It gets its name in one step, after its metadata. A large one outlives its
//!   process: [`Directory::resume_file`] finds it again.
//! - [`Roll`] says which files of a session are complete, for one that goes on where it ended: [`Rolls`].
//! - [`Leftover`] is what neither of them came back for.
//!
//! What changes a destination goes through a [`Storage`], which tests replace.
//!
//! Only Linux is spoken here, and all of it through rustix: paths are never joined and opened as text.

mod beneath;
mod boot;
mod directory;
#[cfg(feature = "faults")]
pub mod faults;
#[cfg(not(feature = "faults"))]
mod faults;
mod file;
mod leftover;
mod lock;
mod node;
mod partial;
mod place;
mod roll;
mod source;
mod storage;
mod temporary;
mod walk;

pub use directory::Directory;
pub use leftover::{Left, LeftJournal, Leftover, OwnFile, Removal, Sighting, Unfinished};
pub use node::NodeKind;
pub use partial::{Checkpointer, Remains};
pub use place::{Existing, Made, PlaceError, Placed};
pub use roll::{IS_OWN, Known, Roll, Rolls, is_own};
pub use source::{Identity, Moment, SourceFile};
pub use storage::{Disk, Storage};
pub use temporary::{Room, Temporary, Turn};
pub use walk::{FileAt, Found, SourceError, Walk, WalkError, WalkLimits, WalkProblem, WalkSource};
