//! Rows of a source's table as the sink would write them.

use tailrace_core::batch::ChangeBatch;
use tailrace_core::schema::SharedSchema;
use tailrace_core::transform::Transform;
use tailrace_core::{Error, Result};

use super::pairing::{Key, Pairing};
use super::reader::{TableReader, Taking};

/// A source's table, and what happens to its rows on their way.
pub struct Origin {
    reader: TableReader,
    /// The source's own, then the sink's.
    transforms: Vec<Transform>,
    /// What its rows are behind all of them.
    events: SharedSchema,
    /// For each column of the events the column of the table that it is, where nothing stands in its place.
    origins: Vec<Option<usize>>,
}

/// Rows in the order of the table's key.
pub struct OriginChunk {
    /// The rows that pass the transforms.
    pub batch: ChangeBatch,
    /// The key of the last row, to go on behind; `None` where it was the last of the table.
    pub last: Option<Key>,
}

// === impl Origin ===

impl Origin {
    /// A table with what happens to its rows; `None` where its rows do not pass.
    ///
    /// # Errors
    /// Definite `key_missing` where the table has no primary key.
    pub fn new(reader: TableReader, mut transforms: Vec<Transform>) -> Result<Option<Self>> {
        let table = reader.schema();
        if table.key.is_empty() {
            let message = format!(
                "table {} of the source has no primary key, in whose order its rows could be read; give it one, or leave the table out \
                 with --table",
                table.name.qualified()
            );
            return Err(Error::definite("key_missing", message));
        }
        let mut events = SharedSchema::clone(table);
        let mut origins: Vec<Option<usize>> = (0..table.columns.len()).map(Some).collect();
        for transform in &mut transforms {
            let (Some(places), Some(schema)) = (transform.origins(&events)?, transform.describe(&events)?) else {
                return Ok(None);
            };
            origins = places
                .into_iter()
                .map(|place| origins.get(place?).copied().flatten())
                .collect();
            events = schema;
        }
        Ok(Some(Self {
            reader,
            transforms,
            events,
            origins,
        }))
    }

    /// What rows are behind the transforms.
    pub fn events(&self) -> &SharedSchema {
        &self.events
    }

    /// The next rows behind a key of the table.
    ///
    /// # Errors
    /// As of [`TableReader::chunk`]; `cast_impossible` where a row is none of the events.
    pub async fn chunk(&mut self, after: Option<&Key>, limit: u32) -> Result<OriginChunk> {
        let key = self.reader.schema().key.clone();
        let (mut batch, last) = self.reader.chunk(&key, after, limit).await?;
        transform(&mut self.transforms, &mut batch)?;
        Ok(OriginChunk { batch, last })
    }

    /// The rows that have these keys behind the transforms.
    ///
    /// # Errors
    /// Definite `key_not_comparable` where something stands in place of the key; `cast_impossible` where a row is none of the events; as
    /// of [`TableReader::by_keys`].
    pub(super) async fn by_keys(&mut self, pairing: &Pairing, keys: &[&Key], take: &mut Taking<'_>) -> Result<()> {
        let key = self.key(pairing)?;
        let transforms = &mut self.transforms;
        let take = &mut |mut batch| {
            transform(transforms, &mut batch)?;
            take(batch)
        };
        self.reader.by_keys(&key, &pairing.key_spellings(), keys, take).await
    }

    /// Whether rows that were read are found by their keys.
    ///
    /// # Errors
    /// Definite `key_not_comparable`.
    pub(super) fn check_own<'k>(&self, pairing: &Pairing, keys: impl Iterator<Item = &'k Key>) -> Result<()> {
        self.reader.check_own(&self.key(pairing)?, keys)
    }

    /// The columns of the table that the key is.
    ///
    /// # Errors
    /// Definite `key_not_comparable`.
    pub fn key(&self, pairing: &Pairing) -> Result<Vec<usize>> {
        let of = |column| self.origins.get(column).copied().flatten();
        let key: Option<Vec<usize>> = pairing.event_key().map(of).collect();
        key.ok_or_else(|| {
            let message = format!(
                "the key of {} is masked or cast on its way, so that rows of the target cannot be found in the source; leave the table out \
                 with --table",
                self.events.name.qualified()
            );
            Error::definite("key_not_comparable", message)
        })
    }
}

fn transform(transforms: &mut [Transform], batch: &mut ChangeBatch) -> Result<()> {
    for transform in transforms {
        transform.apply(batch)?;
        batch.check_carried()?;
    }
    Ok(())
}
