//! CRC-32 of a row: the table's name and every field but the checksum itself, each with its kind and length, so that no
//! two rows share one text.

/// Adds up the fields of one row.
pub(crate) struct RowChecksum(crc32fast::Hasher);

impl RowChecksum {
    pub(crate) fn of(table: &str) -> Self {
        Self(crc32fast::Hasher::new()).text(table)
    }

    pub(crate) fn text(self, value: &str) -> Self {
        self.text_bytes(value.as_bytes())
    }

    /// Text whose bytes may be damaged so that they are no UTF-8 any more.
    pub(crate) fn text_bytes(self, value: &[u8]) -> Self {
        self.field(b't', value)
    }

    pub(crate) fn integer(self, value: i64) -> Self {
        self.field(b'i', &value.to_le_bytes())
    }

    pub(crate) fn optional_text(self, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(value),
            None => self.field(b'n', &[]),
        }
    }

    pub(crate) fn optional_integer(self, value: Option<i64>) -> Self {
        match value {
            Some(value) => self.integer(value),
            None => self.field(b'n', &[]),
        }
    }

    pub(crate) fn finish(self) -> i64 {
        i64::from(self.0.finalize())
    }

    fn field(mut self, kind: u8, bytes: &[u8]) -> Self {
        self.0.update(&[kind]);
        self.0
            .update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        self.0.update(bytes);
        self
    }
}

/// Checksums of the rows of each table; the order of fields is part of the file format.
pub(crate) mod row {
    use super::RowChecksum;

    pub(crate) fn store(instance_id: &str, inode: i64, created_us: Option<i64>, epoch: i64) -> i64 {
        let sum = RowChecksum::of("store").text(instance_id).integer(inode);
        sum.optional_integer(created_us).integer(epoch).finish()
    }

    pub(crate) fn connector(name: &str, epoch: i64, newest_slot: i64, newest_sequence: i64) -> i64 {
        let sum = RowChecksum::of("connectors").text(name).integer(epoch);
        sum.integer(newest_slot).integer(newest_sequence).finish()
    }

    pub(crate) fn checkpoint(connector: &str, slot: i64, sequence: i64, progress: &[u8], saved_at_ms: i64) -> i64 {
        let sum = RowChecksum::of("checkpoints").text(connector).integer(slot);
        sum.integer(sequence).text_bytes(progress).integer(saved_at_ms).finish()
    }

    pub(crate) fn schema(connector: &str, table: &str, version: i64, table_schema: &str, position: &str) -> i64 {
        let sum = RowChecksum::of("schema_history").text(connector).text(table);
        sum.integer(version).text(table_schema).text(position).finish()
    }

    pub(crate) fn announced(connector: &str, table: &str, version: i64) -> i64 {
        let sum = RowChecksum::of("announced_schemas").text(connector).text(table);
        sum.integer(version).finish()
    }

    pub(crate) fn dead_letter(connector: &str, (id, attempts): (i64, i64), text: [&str; 4]) -> i64 {
        let sum = RowChecksum::of("dead_letters")
            .text(connector)
            .integer(id)
            .integer(attempts);
        text.into_iter().fold(sum, RowChecksum::text).finish()
    }

    pub(crate) fn memory(connector: &str, memory: &str) -> i64 {
        RowChecksum::of("source_memory").text(connector).text(memory).finish()
    }

    pub(crate) fn created(name: &str, config: &str) -> i64 {
        RowChecksum::of("created_connectors").text(name).text(config).finish()
    }

    pub(crate) fn wish(connector: &str, wanted: &str, by: &str, at_us: i64) -> i64 {
        let sum = RowChecksum::of("wanted_states").text(connector).text(wanted);
        sum.text(by).integer(at_us).finish()
    }

    pub(crate) fn journal((id, at_us): (i64, i64), connector: Option<&str>, text: [&str; 3]) -> i64 {
        let sum = RowChecksum::of("journal").integer(id).integer(at_us);
        let sum = sum.optional_text(connector);
        text.into_iter().fold(sum, RowChecksum::text).finish()
    }

    pub(crate) fn release(id: i64, version: &str, (layout, opened_at_ms): (i64, i64)) -> i64 {
        let sum = RowChecksum::of("releases").integer(id).text(version);
        sum.integer(layout).integer(opened_at_ms).finish()
    }

    pub(crate) fn carried(connector: &str, at_ms: i64, ended: i64) -> i64 {
        let sum = RowChecksum::of("carried_until").text(connector);
        sum.integer(at_ms).integer(ended).finish()
    }

    pub(crate) fn registry_schema(id: i64, schema_type: &str, text: &str, properties: &str, tags: &str) -> i64 {
        let sum = RowChecksum::of("registry_schemas").integer(id).text(schema_type);
        sum.text(text).text(properties).text(tags).finish()
    }

    pub(crate) fn registry_subject(subject: &str, compatibility: Option<&str>, deprecated: Option<&str>) -> i64 {
        let sum = RowChecksum::of("registry_subjects").text(subject);
        sum.optional_text(compatibility).optional_text(deprecated).finish()
    }

    pub(crate) fn registry_version(
        subject: &str,
        version: i64,
        schema: i64,
        deleted: i64,
        registered_at_ms: i64,
    ) -> i64 {
        let sum = RowChecksum::of("registry_versions").text(subject).integer(version);
        sum.integer(schema).integer(deleted).integer(registered_at_ms).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let split = |left: &str, right: &str| RowChecksum::of("t").text(left).text(right).finish();
        assert_ne!(split("ab", "c"), split("a", "bc"));
        let number = RowChecksum::of("t").optional_integer(None).finish();
        assert_ne!(number, RowChecksum::of("t").optional_integer(Some(0)).finish());
    }

    #[test]
    fn the_checksum_of_a_released_row_never_changes() {
        assert_eq!(
            row::checkpoint("orders", 1, 42, br#"{"position":"0/16B3748"}"#, 1_700_000_000_000),
            GOLDEN
        );
    }

    /// Written by the first release.
    const GOLDEN: i64 = 3_359_438_523;
}
