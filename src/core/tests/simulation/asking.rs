//! People who ask for snapshots, and change their minds.

use std::sync::Arc;

use rand::RngExt;
use tailrace_core::snapshot::SnapshotRequest;
use tailrace_core::task::spawn_named;

use crate::database::table_name;
use crate::world::World;

/// Somebody asks for a snapshot, or for another of what is under way.
pub(crate) fn something(world: &Arc<World>) {
    let (wish, table) = world.with(|state| (state.dice.random_range(0..8), state.dice.random_range(0..2)));
    let desk = Arc::clone(&world.snapshots);
    match wish {
        0..3 => ask(world, vec![table_name(table)]),
        3 => ask_for_all(world),
        4 => {
            tell(world, "snapshot paused", async move { desk.pause().await.is_ok() });
        }
        5..7 => resume(world),
        _ => tell(world, "snapshot aborted", async move { desk.abort().await.is_ok() }),
    }
}

/// Somebody wants every row.
pub(crate) fn ask_for_all(world: &Arc<World>) {
    ask(world, Vec::new());
}

/// Somebody wants that a snapshot that was paused goes on.
pub(crate) fn resume(world: &Arc<World>) {
    let desk = Arc::clone(&world.snapshots);
    tell(world, "snapshot resumed", async move { desk.resume().await.is_ok() });
}

fn ask(world: &Arc<World>, tables: Vec<String>) {
    let desk = Arc::clone(&world.snapshots);
    let asked = world.with(|state| format!("{}:{}", state.oracle.written_so_far(), state.database.end));
    let request = SnapshotRequest {
        tables,
        conditions: Vec::new(),
        by: asked,
    };
    let shared = Arc::clone(world);
    tell(world, "snapshot asked for", async move {
        let Ok(run) = desk.request(request).await else {
            return false;
        };
        // One that was given up before any checkpoint named it is over, and others follow it.
        if shared.snapshots.state().run.as_ref() == Some(&run) {
            shared.with(|state| {
                let verdict = state.oracle.run_is_promised(&run.0);
                state.journal.judge(verdict);
            });
        }
        true
    });
}

/// Somebody waits for an answer, however often the pipeline dies meanwhile.
fn tell(world: &Arc<World>, what: &'static str, wish: impl Future<Output = bool> + Send + 'static) {
    let world = Arc::clone(world);
    drop(spawn_named("asking", async move {
        if wish.await {
            world.with(|state| {
                state.journal.note(what);
                state.journal.count(what);
            });
        }
    }));
}
