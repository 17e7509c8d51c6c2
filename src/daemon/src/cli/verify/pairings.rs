//! Which events of a topic are about a table, and by which columns each version of them is compared.

use std::collections::BTreeSet;
use std::sync::Arc;

use tailrace_core::schema::{SharedSchema, TableName};
use tailrace_core::{Error, Result};
use tailrace_sql::sink::config::{DeleteMode, TruncateMode, WriteConfig};
use tailrace_sql::verify::pairing::Pairing;

/// Which table's events are looked at, and how they are compared.
pub(super) struct Pairings {
    /// The target's table.
    pub(super) target: SharedSchema,
    /// Whether events that say they are of a table are written into the target's.
    pub(super) is_written_there: Box<dyn Fn(&TableName) -> bool + Send>,
    /// Knows of blanks that events say nothing of.
    pub(super) known: Option<Arc<Pairing>>,
    /// Truncates are told as the sink carries them out, and not as the source did.
    pub(super) as_written: bool,
    /// Tables that the topic's events are of, too, and that are written elsewhere: one event's of each.
    pub(super) others: Vec<SharedSchema>,
    config: WriteConfig,
    made: Vec<(SharedSchema, Option<Arc<Pairing>>)>,
    /// Why a version of the table's events could not be compared, the first one.
    problem: Option<Error>,
}

// === impl Pairings ===

impl Pairings {
    /// Of a target's table.
    pub(super) fn new(
        target: SharedSchema,
        config: &WriteConfig,
        is_written_there: impl Fn(&TableName) -> bool + Send + 'static,
    ) -> Self {
        Self {
            target,
            is_written_there: Box::new(is_written_there),
            known: None,
            as_written: false,
            others: Vec::new(),
            config: config.clone(),
            made: Vec::new(),
            problem: None,
        }
    }

    /// How events of a schema are compared; `None` where they cannot be, or are written elsewhere.
    pub(super) fn of(&mut self, schema: &SharedSchema) -> Option<Arc<Pairing>> {
        if let Some((_, made)) = self.made.iter().find(|(known, _)| Arc::ptr_eq(known, schema)) {
            return made.clone();
        }
        let is_ours = (self.is_written_there)(&schema.name);
        if !is_ours && !self.others.iter().any(|other| other.name == schema.name) {
            self.others.push(Arc::clone(schema));
        }
        let pairing = if is_ours { self.pair(schema) } else { None };
        self.made.push((Arc::clone(schema), pairing.clone()));
        pairing
    }

    fn pair(&mut self, schema: &SharedSchema) -> Option<Arc<Pairing>> {
        let made = Pairing::new(schema, &self.target, &self.config).and_then(|pairing| match &self.known {
            Some(known) if known.target_key() != pairing.target_key() => Err(key_changed(schema)),
            Some(known) => Ok(pairing.with_forms_of(known)),
            None => Ok(pairing),
        });
        match made {
            Ok(pairing) => Some(Arc::new(pairing)),
            Err(error) => {
                self.problem.get_or_insert(error);
                None
            }
        }
    }

    /// Whether all events of the table could be compared: without them the topic does not say what a row is.
    ///
    /// # Errors
    /// Those of the version that could not.
    pub(super) fn check(&mut self) -> Result<()> {
        self.problem.take().map_or(Ok(()), Err)
    }

    /// Whether some could not: then the topic does not say all of the table.
    pub(super) fn is_unpaired(&self) -> bool {
        self.problem.is_some()
    }

    /// Columns that some version of the events has and that are not compared.
    pub(super) fn left_out(&self) -> Vec<String> {
        let made = self.made.iter().filter_map(|(_, made)| made.as_ref());
        let columns: BTreeSet<&String> = made.flat_map(|pairing| &pairing.left_out).collect();
        columns.into_iter().cloned().collect()
    }

    /// Whether the sink leaves rows where their table was emptied.
    pub(super) fn ignores_truncates(&self) -> bool {
        self.as_written && (self.config.truncates == TruncateMode::Ignore || self.config.deletes == DeleteMode::Ignore)
    }
}

fn key_changed(schema: &SharedSchema) -> Error {
    let message = format!(
        "the events of {} have had several keys, so that what the topic says of a row is not known by one of them; give the sink a `key`, or \
         compare with the source",
        schema.name.qualified()
    );
    Error::definite("key_changed", message)
}
