//! Definitions after a statement, and what else there is to tell of it.

use std::collections::{BTreeMap, BTreeSet};

use tailrace_core::schema::TableName;

use super::alter::{Altered, alter, new_table};
use super::clause::{Clause, TableBody, TableOption};
use super::cursor::{Cursor, NotUnderstood, Read};
use super::rewrite::{Rewrite, rewrites_between};
use super::{Ddl, DdlError, DdlKind, SqlContext, grammar, key};
use crate::charset::Charset;
use crate::table::TableDefinition;

/// Every table that is known, and what new tables of each schema are in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Definitions {
    tables: BTreeMap<TableName, TableDefinition>,
    charsets: BTreeMap<String, Charset>,
}

/// Whose definitions matter, and how much.
#[derive(Clone, Copy)]
pub(crate) struct Tracking<'a> {
    /// Whether a table of this schema and name is captured.
    pub(crate) is_captured: &'a dyn Fn(&str, &str) -> bool,
    /// The log says what its rows are (`binlog_row_metadata=FULL`), so that a definition may be lost.
    pub(crate) log_has_columns: bool,
}

/// What a statement did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Applied {
    /// What there is to tell of captured tables, in order.
    pub(crate) effects: Vec<Effect>,
    /// Tables, captured or not, that have a definition now that they did not have, or none any more.
    pub(crate) changed: BTreeSet<TableName>,
    /// Schemas whose default character set is another, or gone.
    pub(crate) changed_schemas: BTreeSet<String>,
}

/// What happened to a captured table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It is new, and empty until rows come.
    Created(TableName),
    /// It may have other columns, and rows that are not in the log.
    Altered { table: TableName, rewrites: Vec<Rewrite> },
    /// It has another name, or a table came to a captured name where none was.
    Renamed { from: TableName, to: TableName },
    /// Another table took its name in the same statement, as tools for online schema changes do.
    Replaced {
        table: TableName,
        by: TableName,
        rewrites: Vec<Rewrite>,
    },
    /// Its rows are gone.
    Truncated(TableName),
    /// It is gone.
    Dropped(TableName),
}

/// Applies a statement. Nothing is changed where it fails.
///
/// # Errors
///
/// The statement touches a captured table, its definition is needed, and what it becomes cannot be known.
pub(crate) fn apply(
    definitions: &mut Definitions,
    ddl: &Ddl<'_>,
    context: &SqlContext<'_>,
    tracking: &Tracking<'_>,
) -> Result<Applied, DdlError> {
    let mut application = Application {
        definitions,
        ddl,
        context,
        tracking,
        applied: Applied::default(),
    };
    application.run()?;
    Ok(application.applied)
}

/// A statement that is being applied.
struct Application<'a> {
    definitions: &'a mut Definitions,
    ddl: &'a Ddl<'a>,
    context: &'a SqlContext<'a>,
    tracking: &'a Tracking<'a>,
    applied: Applied,
}

// === impl Definitions ===

impl Definitions {
    /// Tables as they are, and what new tables of each schema are in.
    pub(crate) fn of<'s>(
        tables: impl Iterator<Item = TableDefinition>,
        charsets: impl Iterator<Item = (&'s str, Charset)>,
    ) -> Self {
        let mut all: Self = tables.collect();
        for (schema, charset) in charsets {
            all.define_schema(schema, charset);
        }
        all
    }

    /// What new tables of a schema are in, where it is known.
    pub(crate) fn schema_charset(&self, schema: &str) -> Option<Charset> {
        self.charsets.get(schema).copied()
    }

    /// A table's definition, where it is known.
    pub(crate) fn get(&self, schema: &str, table: &str) -> Option<&TableDefinition> {
        self.tables.get(&table_name(schema, table))
    }

    /// A table is as it is described from here on.
    pub(crate) fn define(&mut self, definition: TableDefinition) {
        let name = table_name(&definition.schema, &definition.table);
        self.tables.insert(name, definition);
    }

    /// A schema's default character set, as the catalogue has it.
    pub(crate) fn define_schema(&mut self, schema: &str, charset: Charset) {
        self.charsets.insert(schema.to_owned(), charset);
    }
}

impl FromIterator<TableDefinition> for Definitions {
    fn from_iter<I: IntoIterator<Item = TableDefinition>>(definitions: I) -> Self {
        let mut all = Self::default();
        for definition in definitions {
            all.define(definition);
        }
        all
    }
}

fn table_name(schema: &str, table: &str) -> TableName {
    TableName {
        database: String::new(),
        schema: schema.to_owned(),
        table: table.to_owned(),
    }
}

fn renamed(mut definition: TableDefinition, to: &TableName) -> TableDefinition {
    definition.schema.clone_from(&to.schema);
    definition.table.clone_from(&to.table);
    definition
}

// === impl Application ===

impl<'a> Application<'a> {
    fn run(&mut self) -> Result<(), DdlError> {
        let ddl = self.ddl;
        match &ddl.kind {
            DdlKind::CreateTable {
                table,
                if_not_exists,
                or_replace,
            } => {
                if *if_not_exists && self.definitions.tables.contains_key(table) {
                    return Ok(());
                }
                self.create(table, *or_replace)
            }
            DdlKind::AlterTable(table) => {
                let clauses = grammar::alter_clauses(&mut self.body());
                self.alter(table, clauses)
            }
            DdlKind::CreateIndex { table, or_replace } => {
                let clauses = key::create_index(&mut self.body(), *or_replace);
                self.alter(table, clauses)
            }
            DdlKind::DropIndex(table) => {
                let clauses = key::drop_index(&mut self.body());
                self.alter(table, clauses)
            }
            DdlKind::RenameTables(renames) => self.rename(renames),
            DdlKind::DropTables(tables) => {
                for table in tables {
                    self.drop_table(table);
                }
                Ok(())
            }
            DdlKind::TruncateTable(table) => {
                self.tell(table, Effect::Truncated(table.clone()));
                Ok(())
            }
            DdlKind::CreateSchema(schema) | DdlKind::AlterSchema(schema) => {
                self.schema_options(schema);
                Ok(())
            }
            DdlKind::DropSchema(schema) => {
                self.drop_schema(schema);
                Ok(())
            }
            DdlKind::Unclear(tables) => self.unclear(tables),
        }
    }

    /// The part of the statement that follows the names.
    fn body(&self) -> Cursor<'a> {
        Cursor::new(self.ddl.sql, self.context).resumed_at(self.ddl.body)
    }

    fn is_captured(&self, table: &TableName) -> bool {
        (self.tracking.is_captured)(&table.schema, &table.table)
    }

    /// Adds an effect where its table is captured.
    fn tell(&mut self, table: &TableName, effect: Effect) {
        if self.is_captured(table) {
            self.applied.effects.push(effect);
        }
    }

    fn define(&mut self, definition: TableDefinition) {
        let table = table_name(&definition.schema, &definition.table);
        self.applied.changed.insert(table.clone());
        self.definitions.tables.insert(table, definition);
    }

    fn forget(&mut self, table: &TableName) -> Option<TableDefinition> {
        let known = self.definitions.tables.remove(table);
        if known.is_some() {
            self.applied.changed.insert(table.clone());
        }
        known
    }

    /// What a table became is not known: an error where it matters, else forgotten.
    fn lose(&mut self, table: &TableName, reason: &NotUnderstood) -> Result<(), DdlError> {
        if self.is_captured(table) && !self.tracking.log_has_columns {
            return Err(self.ddl.not_understood(table, reason.to_string()));
        }
        self.forget(table);
        Ok(())
    }

    fn unclear(&mut self, tables: &[TableName]) -> Result<(), DdlError> {
        let reason = NotUnderstood("its form is not known".to_owned());
        let needed = tables
            .iter()
            .find(|table| self.is_captured(table) && !self.tracking.log_has_columns);
        if let Some(table) = needed {
            return Err(self.ddl.not_understood(table, reason.to_string()));
        }
        for table in tables {
            self.forget(table);
            self.tell_not_understood(table, &reason);
        }
        Ok(())
    }

    fn tell_not_understood(&mut self, table: &TableName, reason: &NotUnderstood) {
        let rewrites = vec![Rewrite::NotUnderstood(reason.to_string())];
        self.tell(
            table,
            Effect::Altered {
                table: table.clone(),
                rewrites,
            },
        );
    }

    // --- tables come and go

    fn create(&mut self, table: &TableName, or_replace: bool) -> Result<(), DdlError> {
        let created = match grammar::create_body(&mut self.body()) {
            Ok(TableBody::Columns(spec)) => new_table(
                table,
                &spec,
                self.definitions.schema_charset(&table.schema),
                self.context,
            ),
            Ok(TableBody::Like(model)) => match self.definitions.tables.get(&model) {
                Some(known) => Ok(renamed(known.clone(), table)),
                None => return self.create_like_unknown(table, &model, or_replace),
            },
            Ok(TableBody::Selected) => Err(NotUnderstood("its columns are those of a SELECT".to_owned())),
            Err(error) => Err(error),
        };
        match created {
            Ok(definition) => {
                self.tell_created(table, or_replace);
                self.define(definition);
            }
            Err(reason) => {
                self.lose(table, &reason)?;
                self.tell_created(table, or_replace);
            }
        }
        Ok(())
    }

    fn create_like_unknown(&mut self, table: &TableName, model: &TableName, or_replace: bool) -> Result<(), DdlError> {
        if self.is_captured(table) && !self.tracking.log_has_columns {
            return Err(self.definition_unknown(table, model));
        }
        self.tell_created(table, or_replace);
        self.forget(table);
        Ok(())
    }

    fn tell_created(&mut self, table: &TableName, or_replace: bool) {
        if or_replace && self.definitions.tables.contains_key(table) {
            self.tell(table, Effect::Dropped(table.clone()));
        }
        self.tell(table, Effect::Created(table.clone()));
    }

    fn definition_unknown(&self, table: &TableName, source: &TableName) -> DdlError {
        DdlError::DefinitionUnknown {
            statement: self.ddl.shown(),
            table: table.qualified(),
            source_table: source.qualified(),
        }
    }

    fn drop_table(&mut self, table: &TableName) {
        self.forget(table);
        self.tell(table, Effect::Dropped(table.clone()));
    }

    fn drop_schema(&mut self, schema: &str) {
        let tables: Vec<TableName> = self
            .definitions
            .tables
            .keys()
            .filter(|table| table.schema == schema)
            .cloned()
            .collect();
        for table in &tables {
            self.drop_table(table);
        }
        if self.definitions.charsets.remove(schema).is_some() {
            self.applied.changed_schemas.insert(schema.to_owned());
        }
    }

    // --- schemas

    fn schema_options(&mut self, schema: &str) {
        let mut body = self.body();
        let is_new = matches!(self.ddl.kind, DdlKind::CreateSchema(_));
        let mut charset = if is_new {
            self.context.server_charset
        } else {
            self.definitions.schema_charset(schema)
        };
        while let Ok(Some(option)) = grammar::table_option(&mut body) {
            if let TableOption::Charset(named) = option {
                charset = named.or(charset);
            }
        }
        if charset != self.definitions.schema_charset(schema) {
            self.applied.changed_schemas.insert(schema.to_owned());
        }
        match charset {
            Some(charset) => self.definitions.define_schema(schema, charset),
            None => {
                self.definitions.charsets.remove(schema);
            }
        }
    }

    // --- tables change

    fn alter(&mut self, table: &TableName, clauses: Read<Vec<Clause>>) -> Result<(), DdlError> {
        let clauses = match clauses {
            Ok(clauses) => clauses,
            Err(reason) => return self.alter_lost(table, &reason),
        };
        let known = self.definitions.tables.get(table);
        match alter(
            known,
            &clauses,
            self.definitions.schema_charset(&table.schema),
            self.context,
        ) {
            Ok(altered) => self.alter_done(table, altered, &clauses),
            Err(reason) => self.alter_lost(table, &reason),
        }
    }

    fn alter_lost(&mut self, table: &TableName, reason: &NotUnderstood) -> Result<(), DdlError> {
        self.lose(table, reason)?;
        self.tell_not_understood(table, reason);
        Ok(())
    }

    fn alter_done(&mut self, table: &TableName, altered: Altered, clauses: &[Clause]) -> Result<(), DdlError> {
        let Altered { definition, rewrites } = altered;
        let new_name = clauses.iter().rev().find_map(|clause| match clause {
            Clause::RenameTable(name) => Some(name),
            _ => None,
        });
        if let Some(new_name) = new_name {
            self.check_source(table, new_name)?;
        }
        let changes = definition.as_ref() != self.definitions.tables.get(table);
        if changes || !rewrites.is_empty() {
            let table = table.clone();
            self.tell(&table.clone(), Effect::Altered { table, rewrites });
        }
        if let Some(definition) = definition.filter(|_| changes) {
            self.define(definition);
        }
        self.partitions(table, clauses);
        match new_name {
            Some(new_name) => self.rename(&[(table.clone(), new_name.clone())]),
            None => Ok(()),
        }
    }

    /// Partitions that become tables and the other way round.
    fn partitions(&mut self, table: &TableName, clauses: &[Clause]) {
        for clause in clauses {
            match clause {
                Clause::RowsExchanged(other) => {
                    let rewrites = vec![Rewrite::Rows(format!(
                        "its rows were exchanged with a partition of {}",
                        table.qualified()
                    ))];
                    let effect = Effect::Altered {
                        table: other.clone(),
                        rewrites,
                    };
                    self.tell(other, effect);
                }
                Clause::PartitionBecomesTable(other) => {
                    self.tell(other, Effect::Created(other.clone()));
                    if let Some(definition) = self.definitions.tables.get(table).cloned() {
                        self.define(renamed(definition, other));
                    }
                }
                Clause::TableBecomesPartition(other) => self.drop_table(other),
                _ => {}
            }
        }
    }

    // --- names

    /// A captured name may only get a definition that is known. A captured table without one is a view or a sequence.
    fn check_source(&self, from: &TableName, to: &TableName) -> Result<(), DdlError> {
        let is_needed = self.is_captured(to) && !self.tracking.log_has_columns && !self.is_captured(from);
        if is_needed && !self.definitions.tables.contains_key(from) {
            return Err(self.definition_unknown(to, from));
        }
        Ok(())
    }

    fn rename(&mut self, renames: &[(TableName, TableName)]) -> Result<(), DdlError> {
        let moves = net_moves(renames);
        for (from, to) in &moves {
            self.check_source(from, to)?;
        }
        let left: BTreeMap<TableName, Option<TableDefinition>> = moves
            .iter()
            .map(|(from, _)| (from.clone(), self.forget(from)))
            .collect();
        let arrived: BTreeSet<&TableName> = moves.iter().map(|(_, to)| to).collect();
        for (from, to) in &moves {
            let definition = left
                .get(from)
                .cloned()
                .flatten()
                .map(|definition| renamed(definition, to));
            let effect = match left.get(to) {
                Some(before) => Effect::Replaced {
                    table: to.clone(),
                    by: from.clone(),
                    rewrites: rewrites_between(before.as_ref(), definition.as_ref()),
                },
                None => Effect::Renamed {
                    from: from.clone(),
                    to: to.clone(),
                },
            };
            if self.is_captured(to) || (self.is_captured(from) && !arrived.contains(from)) {
                self.applied.effects.push(effect);
            }
            if let Some(definition) = definition {
                self.define(definition);
            }
        }
        Ok(())
    }
}

/// Where each table is after all renames, without names that are only passed through.
fn net_moves(renames: &[(TableName, TableName)]) -> Vec<(TableName, TableName)> {
    let mut moves: Vec<(TableName, TableName)> = Vec::new();
    for (from, to) in renames {
        match moves.iter_mut().find(|(_, now)| now == from) {
            Some((_, now)) => now.clone_from(to),
            None => moves.push((from.clone(), to.clone())),
        }
    }
    moves.retain(|(from, to)| from != to);
    moves
}
