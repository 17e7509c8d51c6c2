//! The state of a Tailrace: checkpoints, schema history, dead letters, what sources remember, what people asked for over HTTP, and the
//! embedded registry of schemas, in one SQLite file.
//!
//! A position that is lost, torn, swapped or two hours old is a gap or a flood of duplicates downstream, so this crate
//! is mostly refusals. What it promises, and where:
//!
//! | what may happen | what is done | where |
//! |---|---|---|
//! | two daemons on one state | the second is refused: an OS lock on `<state>.lock` | `file.rs` |
//! | the file is another program's | refused by magic and application id, before SQLite sees it | `file.rs` |
//! | the file is empty, cut or has flipped bits | refused, never "first run": a new file appears under its name only when it is whole (write, fsync, rename), so an empty one is damage; SQLite's integrity check, the layout, and a CRC per row are compared at each open | `verify.rs` |
//! | the newest checkpoint has flipped bits | the one before is used, with a warning: duplicates, not loss | `connector.rs` |
//! | the state was written by a newer release | refused with that release's name, nothing touched | `upgrade.rs` |
//! | an upgrade fails, or is regretted | the layout changes in one transaction, behind a copy of the whole state | `upgrade.rs` |
//! | the file was copied (`cp`, a restored backup, a second host) | refused until a person adopts it: the file remembers its own inode and birth time | `store.rs` |
//! | the disk is full or broken | the save fails as transient and nothing is confirmed to the source | `connector.rs` |
//! | the file is deleted under the running daemon | the next write is refused: it would go nowhere | `store.rs` |
//! | a connector was opened twice | the older handle is fenced by its epoch | `connector.rs` |
//!
//! *Why inode and birth time, and neither device number nor machine id.* Device numbers change when a volume is
//! mounted again, and machine ids when a container is scheduled elsewhere with its volume; both would cry wolf. A copy
//! always has another inode or birth time. A clone of a whole disk is not seen here: the source's own slot is what
//! fences that.
//!
//! *What SQLite's log can lose.* Frames of the write-ahead file that are damaged after a crash end the log there, so
//! that an older state comes back. It is a state that was true: an older position means duplicates, and a source that
//! was told more than its state knows refuses by itself. What must not happen is that nothing is left; so the opening
//! of a connector and its first checkpoint are moved into the main file at once.

mod beginning;
mod carried;
mod checksum;
mod connector;
mod dead_letters;
mod error;
mod file;
mod journal;
mod looking;
mod people;
mod registry;
mod store;
mod upgrade;
mod verify;
mod versions;

pub use beginning::Beginning;
pub use carried::CarriedUntil;
pub use file::path_from_url;
pub use journal::{Entry, NewEntry};
pub use people::{CreatedConnector, Wanted, Wish};
pub use registry::EmbeddedRegistry;
pub use store::{ConnectorState, StateStore};
pub use upgrade::Outdated;
pub use versions::TableVersion;
