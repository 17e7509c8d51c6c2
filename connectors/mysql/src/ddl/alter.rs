//! A table's definition before and after.
//!
//! As the server does it: names in clauses are those from before the statement, so that `CHANGE a b int, CHANGE b a int` swaps
//! two columns; what is dropped or changed is worked off first, then columns are added and moved in the order in which it is said.

use tailrace_core::schema::TableName;

use super::SqlContext;
use super::clause::{Clause, ColumnSpec, KeyKind, KeySpec, PRIMARY, Place, TableOption, TableSpec};
use super::cursor::{NotUnderstood, Read};
use super::rewrite::{Rewrite, conversion_of, is_filled, rewrite_of_unknown, rows_rewrite};
use super::type_text::{column_type, converted, printed_default};
use crate::charset::Charset;
use crate::column_type::{ColumnType, TypeKind};
use crate::server::{Flavour, Version};
use crate::table::{ColumnDefault, ColumnDefinition, TableDefinition, UniqueKey};

/// The columns that MariaDB adds to a table with system versioning that names none of its own. They are in the log's rows and not
/// in the catalogue.
const VERSION_COLUMNS: [&str; 2] = ["row_start", "row_end"];
/// Their type.
const VERSION_TYPE: &str = "timestamp(6)";
/// From here on CONVERT TO CHARACTER SET always changes what new columns are in.
const CONVERTS_EMPTY: Version = Version::new(5, 7, 0);

/// A table after a statement.
pub(super) struct Altered {
    /// `None` where it was not known before.
    pub(super) definition: Option<TableDefinition>,
    /// Values that changed and are not in the log.
    pub(super) rewrites: Vec<Rewrite>,
}

/// A column on its way from before to after.
struct Column {
    /// What keys know it by, whatever it is called.
    number: usize,
    /// Its name before; `None` for a new one.
    old_name: Option<String>,
    definition: ColumnDefinition,
    /// A clause of this statement says what it is.
    is_changed: bool,
    /// The server gives it a default of its own: a bare TIMESTAMP.
    has_implicit_default: bool,
    /// The server numbers the rows that are there.
    is_numbered: bool,
}

/// A unique key on its way.
struct Key {
    name: String,
    /// Numbers of its columns; none where a part of it is an expression.
    columns: Vec<usize>,
}

/// A table that is being changed.
struct Change<'a> {
    context: &'a SqlContext<'a>,
    columns: Vec<Column>,
    /// Number of the next new column.
    next_number: usize,
    keys: Vec<Key>,
    /// MariaDB's periods of this statement, by name, with the numbers of their columns.
    periods: Vec<Key>,
    /// What new columns are in.
    charset: Option<Charset>,
    rewrites: Vec<Rewrite>,
}

/// A new table.
pub(super) fn new_table(
    table: &TableName,
    spec: &TableSpec,
    schema_charset: Option<Charset>,
    context: &SqlContext<'_>,
) -> Read<TableDefinition> {
    if spec.columns.is_empty() {
        return Err(NotUnderstood("it names no columns".to_owned()));
    }
    let mut change = Change {
        context,
        columns: Vec::with_capacity(spec.columns.len()),
        next_number: 0,
        keys: Vec::new(),
        periods: Vec::new(),
        charset: spec.charset.or(schema_charset),
        rewrites: Vec::new(),
    };
    for column in &spec.columns {
        change.add_column(column, &Place::Unchanged)?;
    }
    let (periods, keys): (Vec<&KeySpec>, Vec<&KeySpec>) = spec.keys.iter().partition(|key| key.kind == KeyKind::Period);
    for key in periods.into_iter().chain(keys) {
        change.add_key(key)?;
    }
    if spec.system_versioned {
        change.add_version_columns()?;
    }
    change.settle_timestamps();
    Ok(change.finish(TableDefinition {
        schema: table.schema.clone(),
        table: table.table.clone(),
        columns: Vec::new(),
        key: Vec::new(),
        unique_keys: Vec::new(),
        charset: None,
        documentation: spec.comment.clone().filter(|comment| !comment.is_empty()),
        engine: spec.engine.clone(),
    }))
}

/// A table after ALTER TABLE, CREATE INDEX or DROP INDEX.
pub(super) fn alter(
    known: Option<&TableDefinition>,
    clauses: &[Clause],
    schema_charset: Option<Charset>,
    context: &SqlContext<'_>,
) -> Read<Altered> {
    let Some(known) = known else {
        let rewrites = clauses.iter().filter_map(rewrite_of_unknown).collect();
        return Ok(Altered {
            definition: None,
            rewrites,
        });
    };
    let mut change = Change::of(known, context);
    let mut definition = known.clone();
    change.charset = new_charset(clauses, known.charset, schema_charset);
    for clause in clauses {
        change.settle_old(clause)?;
        table_option(clause, &mut definition);
    }
    for clause in clauses {
        change.settle_new(clause)?;
    }
    for clause in clauses {
        if let Clause::AddKey(key) = clause {
            change.add_key(key)?;
        }
    }
    if let Some(to) = conversion(clauses, schema_charset) {
        let converts = change.convert(to)?;
        // MySQL 5.6 leaves the table's own set as it is where there is nothing to convert, some of its releases at least.
        if !converts
            && change.charset != known.charset
            && context.flavour == Flavour::MySql
            && context.version < CONVERTS_EMPTY
        {
            change.charset = None;
        }
    }
    change.settle_timestamps();
    change.settle_filled();
    let rewrites = std::mem::take(&mut change.rewrites);
    Ok(Altered {
        definition: Some(change.finish(definition)),
        rewrites,
    })
}

/// What columns without a character set of their own are in after the statement, wherever in it that is said.
fn new_charset(clauses: &[Clause], known: Option<Charset>, schema: Option<Charset>) -> Option<Charset> {
    let said = clauses.iter().rev().find_map(|clause| match clause {
        Clause::Option(TableOption::Charset(charset)) | Clause::ConvertCharset(charset) => Some(*charset),
        _ => None,
    });
    match said {
        Some(charset) => charset.or(schema),
        None => known,
    }
}

fn conversion(clauses: &[Clause], schema: Option<Charset>) -> Option<Charset> {
    clauses.iter().rev().find_map(|clause| match clause {
        Clause::ConvertCharset(charset) => charset.or(schema),
        _ => None,
    })
}

fn table_option(clause: &Clause, definition: &mut TableDefinition) {
    match clause {
        Clause::Option(TableOption::Comment(comment)) => {
            definition.documentation = Some(comment.clone()).filter(|comment| !comment.is_empty());
        }
        Clause::Option(TableOption::Engine(engine)) => definition.engine = Some(engine.clone()),
        _ => {}
    }
}

fn unknown_column(name: &str) -> NotUnderstood {
    NotUnderstood(format!("the table has no column `{name}` that is known"))
}

fn same(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}

// === impl Change ===

impl<'a> Change<'a> {
    fn of(known: &TableDefinition, context: &'a SqlContext<'a>) -> Self {
        let column = |(number, definition): (usize, &ColumnDefinition)| Column {
            number,
            old_name: Some(definition.name.clone()),
            definition: definition.clone(),
            is_changed: false,
            has_implicit_default: false,
            is_numbered: false,
        };
        let key = |key: UniqueKey| Key {
            columns: key.columns.iter().filter_map(|name| known.column_index(name)).collect(),
            name: key.name,
        };
        Self {
            context,
            columns: known.columns.iter().enumerate().map(column).collect(),
            next_number: known.columns.len(),
            keys: known.known_unique_keys().into_iter().map(key).collect(),
            periods: Vec::new(),
            charset: None,
            rewrites: Vec::new(),
        }
    }

    /// A column by its name from before.
    fn old(&self, name: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.old_name.as_deref().is_some_and(|old| same(old, name)))
    }

    /// A column by its name as it is now.
    fn current(&self, name: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| same(&column.definition.name, name))
    }

    /// A column that a clause names; `None` where it is missing and may be.
    fn named(&self, name: &str, if_exists: bool) -> Read<Option<usize>> {
        match self.old(name) {
            Some(index) => Ok(Some(index)),
            None if if_exists => Ok(None),
            None => Err(unknown_column(name)),
        }
    }

    /// What is said of columns and keys that are there.
    fn settle_old(&mut self, clause: &Clause) -> Read<()> {
        match clause {
            Clause::DropColumn { name, if_exists } => {
                if let Some(index) = self.named(name, *if_exists)? {
                    let dropped = self.columns.remove(index).number;
                    for key in &mut self.keys {
                        key.columns.retain(|number| *number != dropped);
                    }
                }
            }
            Clause::RenameColumn { from, to, if_exists } => {
                let index = self.named(from, *if_exists)?;
                if let Some(column) = index.and_then(|index| self.columns.get_mut(index)) {
                    column.definition.name.clone_from(to);
                }
            }
            Clause::ChangeColumn {
                from,
                column,
                if_exists,
                ..
            } => {
                if let Some(index) = self.named(from, *if_exists)? {
                    self.change_column(index, column)?;
                }
            }
            Clause::SetDefault { column, default } => {
                let index = self.named(column, true)?;
                if let Some(column) = index.and_then(|index| self.columns.get_mut(index)) {
                    let kind = &column.definition.column_type.kind;
                    column.definition.default = default.clone().map(|default| printed_default(default, kind));
                }
            }
            Clause::DropKey(name) => self.keys.retain(|key| !same(&key.name, name)),
            Clause::RenameKey { from, to } => {
                if let Some(key) = self.keys.iter_mut().find(|key| same(&key.name, from)) {
                    key.name.clone_from(to);
                }
            }
            Clause::DropSystemVersioning => {
                let is_version = |column: &Column| {
                    VERSION_COLUMNS.contains(&column.definition.name.as_str()) && column.definition.generated
                };
                self.columns.retain(|column| !is_version(column));
            }
            other => self.rewrites.extend(rows_rewrite(other)),
        }
        Ok(())
    }

    /// What is said of columns and keys that come or move.
    fn settle_new(&mut self, clause: &Clause) -> Read<()> {
        match clause {
            Clause::AddColumn {
                column,
                place,
                if_not_exists,
            } => {
                if *if_not_exists && self.current(&column.name).is_some() {
                    return Ok(());
                }
                self.add_column(column, place)?;
            }
            Clause::ChangeColumn { column, place, .. } => {
                if let Some(index) = self.current(&column.name).filter(|_| *place != Place::Unchanged) {
                    let moved = self.columns.remove(index);
                    self.insert(moved, place)?;
                }
            }
            Clause::AddSystemVersioning | Clause::Option(TableOption::SystemVersioning) => {
                self.add_version_columns()?
            }
            _ => {}
        }
        Ok(())
    }

    // --- columns

    fn define(&self, column: &ColumnSpec) -> Read<ColumnDefinition> {
        let column_type = column_type(column, self.charset, self.context)?;
        let is_bare_timestamp =
            matches!(column_type.kind, TypeKind::Timestamp { .. }) && !self.context.has_explicit_timestamps();
        let never_null = column.primary || column.auto_increment || (is_bare_timestamp && column.nullable.is_none());
        let nullable = column.nullable.unwrap_or(true) && !never_null;
        let default = column
            .default
            .clone()
            .flatten()
            .map(|default| printed_default(default, &column_type.kind));
        Ok(ColumnDefinition {
            name: column.name.clone(),
            column_type,
            nullable,
            default,
            generated: column.generated,
            documentation: column.comment.clone().filter(|comment| !comment.is_empty()),
        })
    }

    /// Whether the server gives a column a default that nobody wrote.
    fn has_implicit_default(&self, column: &ColumnSpec, definition: &ColumnDefinition) -> bool {
        let is_timestamp = matches!(definition.column_type.kind, TypeKind::Timestamp { .. });
        is_timestamp && !definition.nullable && column.default.is_none() && !self.context.has_explicit_timestamps()
    }

    /// Without `explicit_defaults_for_timestamp` the first TIMESTAMP of a table is when the row was written, the others are zero.
    fn settle_timestamps(&mut self) {
        let function = match self.context.flavour {
            Flavour::MySql => "CURRENT_TIMESTAMP",
            Flavour::MariaDb => "current_timestamp()",
        };
        let timestamps = self
            .columns
            .iter_mut()
            .filter(|column| matches!(column.definition.column_type.kind, TypeKind::Timestamp { .. }));
        for (index, column) in timestamps.enumerate() {
            if column.has_implicit_default {
                let zero = || {
                    printed_default(
                        ColumnDefault::Constant("0".to_owned()),
                        &column.definition.column_type.kind,
                    )
                };
                let default = if index == 0 {
                    ColumnDefault::Expression(function.to_owned())
                } else {
                    zero()
                };
                column.definition.default = Some(default);
            }
        }
    }

    /// New columns whose values the server computed.
    fn settle_filled(&mut self) {
        let is_filled =
            |column: &&Column| column.old_name.is_none() && (column.is_numbered || is_filled(&column.definition));
        let filled = self.columns.iter().filter(is_filled);
        self.rewrites
            .extend(filled.map(|column| Rewrite::ColumnFilled(column.definition.name.clone())));
    }

    fn add_column(&mut self, column: &ColumnSpec, place: &Place) -> Read<()> {
        if self.current(&column.name).is_some() {
            return Err(NotUnderstood(format!(
                "the table has a column `{}` already",
                column.name
            )));
        }
        let definition = self.define(column)?;
        let has_implicit_default = self.has_implicit_default(column, &definition);
        let mut added = self.new_column(definition);
        added.has_implicit_default = has_implicit_default;
        added.is_numbered = column.auto_increment;
        self.insert(added, place)?;
        self.add_keys_of(column)
    }

    fn new_column(&mut self, definition: ColumnDefinition) -> Column {
        let number = self.next_number;
        self.next_number += 1;
        Column {
            number,
            old_name: None,
            definition,
            is_changed: true,
            has_implicit_default: false,
            is_numbered: false,
        }
    }

    fn insert(&mut self, column: Column, place: &Place) -> Read<()> {
        let index = match place {
            Place::First => 0,
            Place::Unchanged => self.end(),
            Place::After(name) => {
                let after = self.current(name).or_else(|| self.old(name));
                1 + after.ok_or_else(|| unknown_column(name))?
            }
        };
        self.columns.insert(index, column);
        Ok(())
    }

    /// Where new columns go: before those that MariaDB hides.
    fn end(&self) -> usize {
        let is_hidden =
            |column: &Column| column.definition.generated && VERSION_COLUMNS.contains(&column.definition.name.as_str());
        let hidden = self.columns.iter().rev().take_while(|column| is_hidden(column)).count();
        self.columns.len() - hidden
    }

    fn change_column(&mut self, index: usize, spec: &ColumnSpec) -> Read<()> {
        let definition = self.define(spec)?;
        let has_implicit_default = self.has_implicit_default(spec, &definition);
        let Some(column) = self.columns.get_mut(index) else {
            return Ok(());
        };
        let rewrite = conversion_of(&column.definition, &definition, self.context.is_strict());
        column.definition = definition;
        column.is_changed = true;
        column.has_implicit_default = has_implicit_default;
        let number = column.number;
        self.rewrites.extend(rewrite);
        let is_primary = self
            .keys
            .iter()
            .any(|key| key.name == PRIMARY && key.columns.contains(&number));
        if is_primary {
            self.forbid_null(number);
        }
        self.add_keys_of(spec)
    }

    fn forbid_null(&mut self, number: usize) {
        if let Some(column) = self.columns.iter_mut().find(|column| column.number == number) {
            column.definition.nullable = false;
        }
    }

    /// All characters that are not bytes; false where there are none in another set. Even of columns that another clause gives a character set of their own.
    fn convert(&mut self, to: Charset) -> Read<bool> {
        let mut converts = false;
        for column in &mut self.columns {
            let Some(column_type) = converted(&column.definition.column_type, to, !column.is_changed) else {
                continue;
            };
            let mut after = column.definition.clone();
            after.column_type = column_type?;
            converts |= after != column.definition;
            if !column.is_changed {
                self.rewrites
                    .extend(conversion_of(&column.definition, &after, self.context.is_strict()));
            }
            column.definition = after;
        }
        Ok(converts)
    }

    fn add_version_columns(&mut self) -> Read<()> {
        // Columns that are declared as GENERATED ALWAYS AS ROW START take their place.
        let has_own = self.columns.iter().any(|column| {
            column.definition.generated
                && !column.definition.nullable
                && column.definition.column_type.source_type() == VERSION_TYPE
        });
        if has_own {
            return Ok(());
        }
        for name in VERSION_COLUMNS {
            let column_type =
                ColumnType::parse(VERSION_TYPE, None).map_err(|error| NotUnderstood(error.to_string()))?;
            let column = self.new_column(ColumnDefinition {
                name: name.to_owned(),
                column_type,
                nullable: false,
                default: None,
                generated: true,
                documentation: None,
            });
            self.columns.push(column);
        }
        Ok(())
    }

    // --- keys

    fn add_keys_of(&mut self, column: &ColumnSpec) -> Read<()> {
        for (is_key, name) in [(column.primary, Some(PRIMARY)), (column.unique, None)] {
            if is_key {
                self.add_key(&KeySpec {
                    name: name.map(str::to_owned),
                    columns: vec![column.name.clone()],
                    kind: KeyKind::Unique,
                })?;
            }
        }
        Ok(())
    }

    fn add_key(&mut self, key: &KeySpec) -> Read<()> {
        let name = key.name.clone().unwrap_or_else(|| self.free_name(key));
        if key.kind == KeyKind::Replacement {
            self.keys.retain(|known| !same(&known.name, &name));
        }
        let mut columns = Vec::with_capacity(key.columns.len());
        for column in &key.columns {
            columns.extend(self.key_part(column)?);
        }
        if key.kind == KeyKind::Period || name == PRIMARY {
            for number in &columns {
                self.forbid_null(*number);
            }
        }
        if key.kind == KeyKind::Beginnings {
            columns.clear();
        }
        let added = Key { name, columns };
        if key.kind == KeyKind::Period {
            self.periods.push(added);
        } else if !self.keys.iter().any(|known| same(&known.name, &added.name)) {
            // Another of the same name may be there: IF NOT EXISTS.
            self.keys.push(added);
        }
        Ok(())
    }

    /// Numbers of what a key names: a column, or a period's two, the end first as the server has them.
    fn key_part(&self, name: &str) -> Read<Vec<usize>> {
        if let Some(column) = self.current(name).and_then(|index| self.columns.get(index)) {
            return Ok(vec![column.number]);
        }
        let period = self.periods.iter().find(|period| same(&period.name, name));
        let period = period.ok_or_else(|| unknown_column(name))?;
        Ok(period.columns.iter().rev().copied().collect())
    }

    /// The name that the server gives a key without one: its first column's, with a number where that is taken.
    fn free_name(&self, key: &KeySpec) -> String {
        let base = key.columns.first().map_or("functional_index", String::as_str);
        let is_free = |name: &String| !self.keys.iter().any(|known| same(&known.name, name));
        let numbered = (2..).map(|number: u32| format!("{base}_{number}"));
        let mut names = std::iter::once(base.to_owned()).chain(numbered);
        names.find(is_free).unwrap_or_default()
    }

    /// The whole, with its key.
    fn finish(self, definition: TableDefinition) -> TableDefinition {
        let name_of = |number: &usize| {
            let column = self.columns.iter().find(|column| column.number == *number);
            column.map(|column| column.definition.name.clone())
        };
        let key = |key: Key| UniqueKey {
            columns: key.columns.iter().filter_map(name_of).collect(),
            name: key.name,
        };
        let unique_keys = self.keys.into_iter().map(key).collect();
        let mut finished = TableDefinition {
            columns: self.columns.into_iter().map(|column| column.definition).collect(),
            unique_keys,
            charset: self.charset,
            ..definition
        };
        finished.settle_key();
        finished
    }
}
