//! From one release to the next, and from one process to the next.
//!
//! | module | what it asks |
//! |---|---|
//! | `golden` | does what earlier releases left on disks mean what it did, and does work go on there? |
//! | `refused` | does an older release say of a newer state whose it is? |
//! | `rolling` | does a new process lose nothing, and say how long nobody was there? |

mod golden;
mod refused;
mod rolling;
