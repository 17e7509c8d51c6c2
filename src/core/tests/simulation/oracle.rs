//! What was promised, checked whenever anything happens.
//!
//! ```text
//!   deliver ≺ durable ≺ saved ≺ confirm
//!             │         │       └─ the log forgets: never more than the checkpoint says
//!             │         └─ every change and row that the progress covers was acknowledged, in this life or before an older checkpoint
//!             └─ written records: known to the database, in order per key, the same bytes under the same id
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tailrace_core::batch::Operation;
use tailrace_core::dead_letter::LetterOrder;
use tailrace_core::position::{Checkpoint, Position, Progress};
use tailrace_core::snapshot::{Resume, Run, RunStage, log_position};

use crate::connector::{IDENTITY, log_number};
use crate::database::{Database, RowChange, Rows, TABLES, table_number, version_of};
use crate::log::{Place, finished_tables, log_place, names};
use crate::windows::WINDOW;
use crate::world::Profile;

type Verdict = Result<(), String>;

/// One event, as the encoder wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) table: usize,
    pub(crate) key: u32,
    pub(crate) version: u64,
    pub(crate) operation: String,
    pub(crate) schema: usize,
}

/// The newest reading of a table.
#[derive(Debug, Clone)]
struct Scan {
    rows: Vec<String>,
    /// It was not the first, or the log says again what its rows contain.
    again: bool,
}

/// What is known of the pipeline that runs now.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pub(crate) tables: BTreeSet<usize>,
    /// Codes of the errors that ports gave.
    pub(crate) raised: Vec<&'static str>,
    /// Progress of the batch that the source handed out last.
    pub(crate) handed_out: Option<Progress>,
    pub(crate) batches: usize,
    positions: HashSet<String>,
    acknowledged: HashSet<String>,
    /// What the checkpoint covers that the life began with, and what was found covered since.
    covered: Place,
}

pub(crate) struct Oracle {
    rows_first: bool,
    leaves_out: Option<usize>,
    in_flight_bytes: usize,
    /// The source sends again what its progress has passed: consumers leave out ids that they have seen. Without
    /// that, the last record of a key must be its newest, however often records come.
    repeats: bool,
    pub(crate) life: Life,
    pub(crate) saved: Option<Checkpoint>,
    pub(crate) confirmed: u64,
    events: HashMap<String, Event>,
    /// Table and key → newest version, in the order of first writings, and whether it came from the log.
    newest: BTreeMap<(usize, u32), (u64, bool)>,
    /// What a consumer makes of the topic.
    consumed: BTreeMap<(usize, u32), u64>,
    scans: [Option<Scan>; TABLES],
    /// Tables whose every row a saved checkpoint covers.
    captured: BTreeSet<usize>,
    /// From where on every change of a table must be carried.
    captured_from: BTreeMap<usize, u64>,
    /// Events that were durably set aside.
    set_aside: HashSet<String>,
    /// Rows of which letters went out without order.
    disordered: HashSet<(usize, u32)>,
    keeps_order: bool,
    /// Records that were written, duplicates too.
    writes: u64,
    /// Table, key and version → the number of the record that said so last.
    last_said: HashMap<(usize, u32, u64), u64>,
    /// Snapshots that a durable checkpoint has named.
    runs: HashSet<String>,
    /// Snapshots that have come to their end.
    pub(crate) finished_runs: usize,
    /// A pipeline has begun in the middle of a snapshot.
    pub(crate) goes_on: bool,
    schemas: HashSet<(usize, usize)>,
    topics: HashSet<usize>,
}

// === impl Event ===

impl Event {
    pub(crate) fn to_text(&self) -> String {
        let Self {
            id,
            table,
            key,
            version,
            operation,
            schema,
        } = self;
        format!("{id} {table} {key} {version} {operation} {schema}")
    }

    pub(crate) fn from_text(text: &str) -> Self {
        let mut words = text.split(' ');
        let mut next = || words.next().unwrap();
        Self {
            id: next().to_owned(),
            table: next().parse().unwrap(),
            key: next().parse().unwrap(),
            version: next().parse().unwrap(),
            operation: next().to_owned(),
            schema: next().parse().unwrap(),
        }
    }

    fn of(position: u64, ordinal: usize, change: &RowChange) -> Self {
        Self {
            id: log_id(position, ordinal),
            table: change.table,
            key: change.key,
            version: change.version,
            operation: change.operation.code().to_owned(),
            schema: version_of(&change.schema),
        }
    }

    fn is_row(&self) -> bool {
        self.operation == Operation::Read.code()
    }
}

fn log_id(position: u64, ordinal: usize) -> String {
    format!("{IDENTITY}:{position}:{ordinal}")
}

/// Promised, or else broken in these words.
fn promise(kept: bool, broken: impl FnOnce() -> String) -> Verdict {
    if kept { Ok(()) } else { Err(broken()) }
}

// === impl Oracle: what happens ===

impl Oracle {
    pub(crate) fn new(profile: &Profile) -> Self {
        Self {
            rows_first: profile.rows_first,
            leaves_out: profile.leaves_out,
            in_flight_bytes: profile.in_flight_bytes,
            repeats: profile.repeats > 0.0,
            life: Life::default(),
            saved: None,
            confirmed: 0,
            events: HashMap::new(),
            newest: BTreeMap::new(),
            consumed: BTreeMap::new(),
            scans: [const { None }; TABLES],
            captured: BTreeSet::new(),
            captured_from: BTreeMap::new(),
            set_aside: HashSet::new(),
            disordered: HashSet::new(),
            keeps_order: profile.letters != Some(LetterOrder::None),
            writes: 0,
            last_said: HashMap::new(),
            runs: HashSet::new(),
            finished_runs: 0,
            goes_on: false,
            schemas: HashSet::new(),
            topics: HashSet::new(),
        }
    }

    /// A pipeline starts from the checkpoint that is stored.
    pub(crate) fn life_begins(&mut self, stored: Option<&Checkpoint>) -> Verdict {
        let covered = stored.map(|checkpoint| log_place(&checkpoint.progress));
        if stored.is_some_and(|checkpoint| open_run(&checkpoint.progress).is_some()) {
            self.goes_on = true;
        }
        self.life = Life {
            covered: covered.unwrap_or_default(),
            ..Life::default()
        };
        let (known, stored) = (sequence(self.saved.as_ref()), sequence(stored));
        promise(known == stored, || {
            format!("checkpoint {known} was durable, and {stored} is found")
        })
    }

    /// The slot is made: from here on everything counts.
    pub(crate) fn capture_begins(&mut self, database: &Database, began_at: u64) {
        if self.rows_first {
            return;
        }
        self.consumed.clear();
        for (table, rows) in database.rows.iter().enumerate() {
            self.captured_from.insert(table, began_at);
            self.consumed
                .extend(rows.iter().map(|(key, version)| ((table, *key), *version)));
        }
    }

    /// Rows of a table will be handed out.
    pub(crate) fn scan_begins(&mut self, table: usize, point: u64, rows: &Rows) {
        let id = |key: &u32| {
            format!(
                "{IDENTITY}:rows@{point}:{}",
                u64::from(*key) * TABLES as u64 + table as u64
            )
        };
        self.scans[table] = Some(Scan {
            rows: rows.keys().map(id).collect(),
            again: self.scans[table].is_some(),
        });
        self.captured_from.insert(table, point);
    }

    /// The log will say again what the rows of these tables contain.
    pub(crate) fn log_goes_over<'a>(&mut self, tables: impl Iterator<Item = &'a usize>) {
        for table in tables {
            if let Some(scan) = &mut self.scans[*table] {
                scan.again = true;
            }
        }
    }

    /// Rows of the table may have been carried before.
    pub(crate) fn was_scanned(&self, table: usize) -> bool {
        self.scans[table].is_some()
    }

    /// The log is read from there, which is said again where a snapshot has news before the log has.
    pub(crate) fn log_starts(&mut self, place: Place) {
        self.life.positions.insert(place.position.to_string());
    }

    pub(crate) fn handed_out(&mut self, progress: &Progress) {
        self.life.batches += 1;
        self.life.positions.insert(progress.position.to_string());
        self.life.handed_out = Some(progress.clone());
    }

    pub(crate) fn schema_recorded(&mut self, table: usize, version: usize) {
        self.schemas.insert((table, version));
    }

    pub(crate) fn topic_made(&mut self, table: usize) {
        self.topics.insert(table);
    }

    /// A batch is handed to the stream, while so much is on its way already.
    pub(crate) fn delivered(&self, outstanding_bytes: usize, events: &[Event]) -> Verdict {
        promise(outstanding_bytes < self.in_flight_bytes, || {
            format!(
                "a batch is delivered with {outstanding_bytes} bytes in flight of {}",
                self.in_flight_bytes
            )
        })?;
        for Event { id, table, schema, .. } in events {
            promise(self.schemas.contains(&(*table, *schema)), || {
                format!("{id} is delivered before its schema is saved")
            })?;
            promise(self.topics.contains(table), || {
                format!("{id} is delivered before its topic is there")
            })?;
        }
        Ok(())
    }

    /// A record is in the stream, for good.
    pub(crate) fn written(&mut self, database: &Database, event: &Event) -> Verdict {
        self.writes += 1;
        self.last_said
            .insert((event.table, event.key, event.version), self.writes);
        let known = self.events.get(&event.id);
        let verdict = known.map_or(Ok(()), |known| {
            promise(known == event, || format!("{known:?} and {event:?} have the same id"))
        });
        if known.is_none() || !self.repeats {
            self.consume(event);
        }
        verdict?;
        // Also where it was written before it was refused: it goes out again behind newer ones.
        if !self.keeps_order && self.set_aside.contains(&event.id) {
            self.disordered.insert((event.table, event.key));
        }
        if self.events.contains_key(&event.id) {
            return Ok(());
        }
        self.events.insert(event.id.clone(), event.clone());
        self.is_known(database, event)?;
        self.is_in_order(event)
    }

    fn consume(&mut self, event: &Event) {
        let row = (event.table, event.key);
        if event.operation == Operation::Delete.code() {
            self.consumed.remove(&row);
        } else {
            self.consumed.insert(row, event.version);
        }
    }

    fn is_known(&self, database: &Database, event: &Event) -> Verdict {
        promise(self.leaves_out != Some(event.table), || {
            format!("{event:?} should have been left out")
        })?;
        let place = event.id.split(':').collect::<Vec<_>>();
        let known = match place.as_slice() {
            [_, position, ordinal] if !event.is_row() => {
                let (position, ordinal) = (position.parse().unwrap(), ordinal.parse().unwrap());
                let committed = database.committed_at(position);
                let change = committed.and_then(|committed| committed.changes.get(ordinal));
                change.is_some_and(|change| Event::of(position, ordinal, change) == *event)
            }
            [_, point, _] if point.starts_with(WINDOW) => {
                let mut log = database.log.iter().flat_map(|committed| &committed.changes);
                log.any(|change| (change.table, change.key, change.version) == (event.table, event.key, event.version))
            }
            [_, point, _] => point.starts_with("rows@"),
            _ => false,
        };
        promise(known, || format!("{event:?} was never committed"))
    }

    fn is_in_order(&mut self, event: &Event) -> Verdict {
        let row = (event.table, event.key);
        let from_log = !event.is_row();
        let before = self.newest.insert(row, (event.version, from_log));
        let Some((version, was_from_log)) = before else {
            return Ok(());
        };
        let again = self.scans[event.table].as_ref().is_some_and(|scan| scan.again);
        let in_order = match (was_from_log, from_log) {
            // Read again between changes: never older than what was said before.
            (_, false) if event.id.contains(WINDOW) => event.version >= version,
            (true, true) => event.version > version,
            (true, false) => false,
            // Read under a newer point after an interruption: the log goes over the same ground once more.
            (false, true) => event.version > version || again,
            (false, false) => event.version >= version && again,
        };
        promise(in_order || self.disordered.contains(&row), || {
            format!("{event:?} comes after version {version} of the same row")
        })
    }

    /// The stream has told the pipeline so.
    pub(crate) fn acknowledged(&mut self, events: &[Event]) {
        self.life
            .acknowledged
            .extend(events.iter().map(|event| event.id.clone()));
    }

    /// A checkpoint is handed to the store.
    pub(crate) fn saves(&mut self, database: &Database, checkpoint: &Checkpoint) -> Verdict {
        let known = sequence(self.saved.as_ref());
        promise(checkpoint.sequence == known + 1, || {
            format!("checkpoint {} follows {known}", checkpoint.sequence)
        })?;
        let progress = &checkpoint.progress;
        promise(
            self.life
                .positions
                .contains(log_position(&progress.position).unwrap().as_str())
                || finished_tables(progress).is_some(),
            || format!("{progress:?} is saved, and no batch of this source had it"),
        )?;
        match finished_tables(progress) {
            Some((tables, complete)) => {
                promise(!complete || tables == self.life.tables, || {
                    format!(
                        "the snapshot of {} is complete with {}",
                        names(&self.life.tables),
                        names(&tables)
                    )
                })?;
                tables.iter().try_for_each(|table| self.is_captured(*table))
            }
            None => self.log_is_covered(database, Place::of(progress)),
        }
    }

    fn is_captured(&self, table: usize) -> Verdict {
        if self.captured.contains(&table) || self.leaves_out == Some(table) {
            return Ok(());
        }
        let rows = self.scans[table].as_ref().map(|scan| &scan.rows);
        let missing = rows.into_iter().flatten().find(|row| !self.is_safe(row));
        promise(missing.is_none(), || {
            format!("table {table} is saved as finished without {missing:?}")
        })
    }

    fn log_is_covered(&mut self, database: &Database, until: Place) -> Verdict {
        promise(!self.rows_first || self.life.tables.is_subset(&self.captured), || {
            format!("{until:?} is saved before the rows of {}", names(&self.life.tables))
        })?;
        let saved = self.saved.as_ref().map(|checkpoint| log_place(&checkpoint.progress));
        let before = saved.unwrap_or_default();
        promise(until.position >= before.position, || {
            format!("the checkpoint goes back from {before:?} to {until:?}")
        })?;
        for committed in &database.log[database.first_behind(self.life.covered.position)..] {
            let from = if self.life.covered.position < committed.position {
                self.life.covered.changes
            } else {
                0
            };
            if committed.position > until.position {
                self.are_acknowledged(committed.position, &committed.changes[..until.changes], from)?;
                self.life.covered = self.life.covered.max(until);
                break;
            }
            self.are_acknowledged(committed.position, &committed.changes, from)?;
            self.life.covered = Place {
                position: committed.position,
                changes: 0,
            };
        }
        Ok(())
    }

    fn are_acknowledged(&self, position: u64, changes: &[RowChange], from: usize) -> Verdict {
        for (ordinal, change) in changes.iter().enumerate().skip(from) {
            let id = log_id(position, ordinal);
            promise(!self.is_due(position, change) || self.is_safe(&id), || {
                format!("{id} is not known to be durable, and progress behind it is saved")
            })?;
        }
        Ok(())
    }

    /// An event is in the stream or in the letters.
    fn is_safe(&self, id: &str) -> bool {
        self.life.acknowledged.contains(id) || self.set_aside.contains(id)
    }

    /// A letter is durable.
    pub(crate) fn set_aside(&mut self, id: &str) {
        self.set_aside.insert(id.to_owned());
    }

    /// A letter is about to be closed.
    pub(crate) fn replayed(&self, id: &str) -> Verdict {
        promise(self.life.acknowledged.contains(id), || {
            format!("letter {id} is closed, and not known to be durable")
        })
    }

    /// The change must be carried.
    fn is_due(&self, position: u64, change: &RowChange) -> bool {
        let from = self.captured_from.get(&change.table);
        self.life.tables.contains(&change.table)
            && self.leaves_out != Some(change.table)
            && from.is_some_and(|from| position > *from)
    }

    /// What a checkpoint says of a snapshot must be so: of a table that it names as finished every row was said again since.
    fn run_is_saved(&mut self, database: &Database, run: &Run) -> Verdict {
        self.runs.insert(run.id.0.clone());
        let before = self.saved.as_ref().map(|checkpoint| &checkpoint.progress);
        let before = Run::from_progress(before).unwrap().filter(|before| before.id == run.id);
        let was_finished = before.is_some_and(|before| before.stage == RunStage::Finished);
        if run.stage == RunStage::Finished && !was_finished {
            self.finished_runs += 1;
        }
        let (asked_after, end) = run.by.split_once(':').unwrap();
        let (asked_after, end): (u64, u64) = (asked_after.parse().unwrap(), end.parse().unwrap());
        let finished = run.tables.iter().filter(|table| table.finished);
        for table in finished.map(|table| table_number(&table.name)) {
            if self.leaves_out == Some(table) || !self.set_aside.is_empty() {
                continue;
            }
            for (key, version) in &database.rows[table] {
                let said = self
                    .last_said
                    .get(&(table, *key, *version))
                    .copied()
                    .unwrap_or_default();
                let is_older = database.log[..database.first_behind(end)]
                    .iter()
                    .flat_map(|committed| &committed.changes)
                    .any(|change| (change.table, change.key, change.version) == (table, *key, *version));
                promise(!is_older || said > asked_after, || {
                    format!("table {table} is saved as read again, and version {version} of {key} was not said")
                })?;
            }
        }
        Ok(())
    }

    /// Somebody was told that a snapshot is under way.
    pub(crate) fn run_is_promised(&self, run: &str) -> Verdict {
        promise(self.runs.contains(run), || {
            "somebody was told of a snapshot that no checkpoint names".to_owned()
        })
    }

    /// So many records were written.
    pub(crate) fn written_so_far(&self) -> u64 {
        self.writes
    }

    /// A checkpoint is durable, whether the pipeline was told so or not.
    pub(crate) fn is_saved(&mut self, database: &Database, checkpoint: &Checkpoint) -> Verdict {
        let run = Run::from_progress(Some(&checkpoint.progress)).unwrap();
        let verdict = run.map_or(Ok(()), |run| self.run_is_saved(database, &run));
        if let Some((tables, _)) = finished_tables(&checkpoint.progress) {
            self.captured.extend(tables);
        }
        self.saved = Some(checkpoint.clone());
        verdict
    }

    /// The handover begins the log.
    pub(crate) fn log_begins(&self, start: &Position, read_at: &BTreeMap<String, Position>) -> Verdict {
        let saved = self.saved.as_ref().map(|checkpoint| &checkpoint.progress);
        let resume = Resume::from_progress(saved).unwrap();
        let complete = matches!(&resume, Resume::Snapshot(snapshot)
            if snapshot.complete && snapshot.log_start == *start && snapshot.read_at == *read_at);
        promise(complete, || {
            format!("the log is begun at {start}, and {resume:?} is saved")
        })
    }

    /// The server is told that it may forget.
    pub(crate) fn confirmed(&mut self, position: &Position) -> Verdict {
        promise(self.life.positions.contains(position.as_str()), || {
            format!("{position} is confirmed, and no batch of this source had it")
        })?;
        let saved = self.saved.as_ref().map(|checkpoint| log_place(&checkpoint.progress));
        let saved = saved.unwrap_or_default().position;
        self.confirmed = log_number(position);
        promise(self.confirmed <= saved, || {
            format!("{position} is confirmed, and {saved} is saved")
        })
    }
}

/// The snapshot that goes on from there.
fn open_run(progress: &Progress) -> Option<Run> {
    Run::from_progress(Some(progress)).unwrap().filter(Run::is_open)
}

fn sequence(checkpoint: Option<&Checkpoint>) -> u64 {
    checkpoint.map_or(0, |checkpoint| checkpoint.sequence)
}

// === impl Oracle: the end ===

impl Oracle {
    /// Everything that the database has committed is carried, saved and confirmed.
    pub(crate) fn is_caught_up(&self, database: &Database) -> bool {
        let newest = database.log.last().map_or(0, |committed| committed.position);
        let saved = self.saved.as_ref().map(|checkpoint| &checkpoint.progress);
        let saved =
            saved.is_some_and(|progress| finished_tables(progress).is_none() && log_place(progress).position >= newest);
        saved && self.confirmed >= newest
    }

    /// Nothing is missing, and who reads the topic has the tables as they are.
    pub(crate) fn is_complete(&self, database: &Database) -> Verdict {
        for committed in &database.log {
            for (ordinal, change) in committed.changes.iter().enumerate() {
                let id = log_id(committed.position, ordinal);
                promise(
                    !self.is_due(committed.position, change) || self.events.contains_key(&id),
                    || format!("{id} was lost"),
                )?;
            }
        }
        let carried = self.life.tables.iter().filter(|table| self.leaves_out != Some(**table));
        for table in carried {
            let rows = self.consumed.iter().filter(|((of, _), _)| of == table);
            let ordered = |key: &u32| !self.disordered.contains(&(*table, *key));
            let rows = rows.map(|((_, key), version)| (*key, *version));
            let rows: Rows = rows.filter(|(key, _)| ordered(key)).collect();
            let mut expected = database.rows[*table].clone();
            expected.retain(|key, _| ordered(key));
            promise(rows == expected, || {
                format!("table {table} is {expected:?}, and its topic says {rows:?}")
            })?;
        }
        Ok(())
    }
}
