//! Rules, compiled: once per connector ([`RulePlan`]) and once per table version ([`TablePlan`]).

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use regex::Regex;
use sha2::{Digest, Sha256};

use super::cast::{self, CastType};
use super::config::{Condition, Mask, Route, Rule};
use crate::batch::{BatchFull, Change, ChangeBatch, Row, RowView};
use crate::error::{Error, Result};
use crate::pattern::TablePattern;
use crate::schema::{Column, SharedSchema, TableName, TableSchema};
use crate::secret::Secret;
use crate::value::{LogicalType, TextKind, Value};

/// A rule whose patterns are read.
pub(super) struct RulePlan {
    tables: Option<Vec<TablePattern>>,
    route: Option<(Regex, String)>,
    conditions: Vec<(String, ConditionPlan)>,
    masks: Vec<(String, MaskPlan)>,
    casts: Vec<(String, CastType)>,
    rule: Rule,
}

/// What happens to the changes of one table version.
pub(super) enum TablePlan {
    /// They are left out.
    Drop,
    /// They pass as they are.
    Keep {
        /// The row's own updated-at column.
        updated_at: Option<usize>,
    },
    /// Their rows are written anew.
    Rewrite(Rewrite),
}

/// How rows of one table version are written anew.
pub(super) struct Rewrite {
    /// What they look like afterwards.
    pub(super) schema: SharedSchema,
    pub(super) columns: Vec<ColumnPlan>,
    pub(super) conditions: Vec<TableCondition>,
    pub(super) topic: Option<Arc<str>>,
    pub(super) updated_at: Option<usize>,
    /// Columns are left out, renamed, cast or masked.
    pub(super) alters_rows: bool,
}

/// Where a column of the new row comes from.
pub(super) struct ColumnPlan {
    pub(super) index: usize,
    pub(super) content: Content,
}

/// What stands in a column of the new row.
pub(super) enum Content {
    /// The value.
    Copied,
    /// Its masked form.
    Masked(MaskPlan),
    /// The value of this column, as another type.
    Cast(Column, CastType),
}

/// What stands in place of a value.
#[derive(Clone)]
pub(super) enum MaskPlan {
    Fixed(String),
    Hash(Secret),
    Truncate(usize),
}

/// A condition on a column of one table version.
pub(super) struct TableCondition {
    name: String,
    /// Where it is; `None` in records that have no more than a key.
    column: Option<usize>,
    plan: ConditionPlan,
}

#[derive(Clone)]
struct ConditionPlan {
    one_of: Option<HashSet<String>>,
    none_of: HashSet<String>,
    is_null: Option<bool>,
    matches: Option<Regex>,
}

// === impl RulePlan ===

impl RulePlan {
    pub(super) fn compile(rule: &Rule) -> Result<Self> {
        let patterns = |tables: &Vec<String>| tables.iter().map(|text| TablePattern::new(text, None)).collect();
        let conditions = rule
            .conditions
            .iter()
            .map(|condition| Ok((condition.column.clone(), ConditionPlan::compile(condition)?)));
        let masks = rule
            .mask
            .iter()
            .map(|(column, mask)| Ok((column.clone(), MaskPlan::compile(column, mask)?)));
        let casts = rule
            .cast
            .iter()
            .map(|(column, written)| Ok((column.clone(), compile_cast(column, written)?)));
        if let Some(column) = rule.cast.keys().find(|column| rule.mask.contains_key(*column)) {
            return Err(masked_and_cast(column, ""));
        }
        Ok(Self {
            tables: rule.tables.as_ref().map(patterns),
            route: rule.route.as_ref().map(compile_route).transpose()?,
            conditions: conditions.collect::<Result<_>>()?,
            masks: masks.collect::<Result<_>>()?,
            casts: casts.collect::<Result<_>>()?,
            rule: rule.clone(),
        })
    }

    /// The new names of columns.
    pub(super) fn renames(&self) -> &BTreeMap<String, String> {
        &self.rule.rename
    }

    pub(super) fn selects(&self, name: &TableName) -> bool {
        let patterns = self.tables.as_ref();
        patterns.is_none_or(|patterns| {
            patterns
                .iter()
                .any(|pattern| pattern.matches(&name.schema, &name.table))
        })
    }
}

fn compile_route(route: &Route) -> Result<(Regex, String)> {
    Ok((compile_regex(&route.pattern)?, route.topic.clone()))
}

fn compile_cast(column: &str, written: &str) -> Result<CastType> {
    CastType::parse(written).ok_or_else(|| {
        let message = format!(
            "column `{column}` cannot be cast to `{written}`, which is no type; choose one of {}",
            cast::KNOWN
        );
        Error::definite("transform_invalid", message)
    })
}

fn masked_and_cast(column: &str, place: &str) -> Error {
    let message = format!(
        "column `{column}`{place} is both masked and cast, and a mask is text of its own; take it out of `mask` or out of `cast`"
    );
    Error::definite("transform_invalid", message)
}

fn compile_regex(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| {
        Error::definite("transform_invalid", format!("`{pattern}` is not a regular expression")).with_source(error)
    })
}

// === impl MaskPlan ===

impl MaskPlan {
    fn compile(column: &str, mask: &Mask) -> Result<Self> {
        match (&mask.fixed, &mask.hash_salt, mask.truncate_characters) {
            (Some(text), None, None) => Ok(Self::Fixed(text.clone())),
            (None, Some(salt), None) => Ok(Self::Hash(salt.clone())),
            (None, None, Some(characters)) => Ok(Self::Truncate(characters)),
            _ => Err(Error::definite(
                "transform_invalid",
                format!(
                    "the mask of column `{column}` needs exactly one of `fixed`, `hash_salt`, `truncate_characters`"
                ),
            )),
        }
    }

    fn apply(&self, text: &str, masked: &mut String) {
        match self {
            Self::Fixed(fixed) => masked.push_str(fixed),
            Self::Truncate(characters) => masked.extend(text.chars().take(*characters)),
            Self::Hash(salt) => {
                let digest = Sha256::new().chain_update(salt.expose()).chain_update(text).finalize();
                for byte in digest.iter() {
                    // Writing into a string cannot fail.
                    let _infallible = write!(masked, "{byte:02x}");
                }
            }
        }
    }
}

/// Pushes the masked form of a cell; NULL and unchanged values stay what they are.
pub(super) fn push_masked(mask: &MaskPlan, row: Row, column: usize, batch: &mut ChangeBatch) -> Result<(), BatchFull> {
    let mut masked = String::new();
    match batch.row(row).get(column) {
        Value::Null | Value::Unchanged => {
            batch.push_copy(row, column);
            return Ok(());
        }
        value => mask.apply(&canonical_text(value), &mut masked),
    }
    batch.push_text(&masked)
}

// === impl ConditionPlan ===

impl ConditionPlan {
    fn compile(condition: &Condition) -> Result<Self> {
        let set = |values: &Vec<String>| values.iter().cloned().collect::<HashSet<_>>();
        Ok(Self {
            one_of: condition.one_of.as_ref().map(set),
            none_of: condition.none_of.as_ref().map(set).unwrap_or_default(),
            is_null: condition.is_null,
            matches: condition.matches.as_deref().map(compile_regex).transpose()?,
        })
    }
}

// === impl TableCondition ===

impl TableCondition {
    /// True where the condition holds or cannot be decided.
    pub(super) fn holds(&self, row: RowView<'_>) -> bool {
        let plan = &self.plan;
        let value = self.column.map_or(Value::Unchanged, |column| row.get(column));
        if value == Value::Unchanged {
            return true;
        }
        if plan.is_null.is_some_and(|wanted| wanted != (value == Value::Null)) {
            return false;
        }
        if value == Value::Null {
            return plan.one_of.is_none() && plan.matches.is_none();
        }
        let text = canonical_text(value);
        plan.one_of.as_ref().is_none_or(|values| values.contains(&text))
            && !plan.none_of.contains(&text)
            && plan.matches.as_ref().is_none_or(|regex| regex.is_match(&text))
    }
}

/// The value as text, the same for equal values: what masks hash and conditions compare.
fn canonical_text(value: Value<'_>) -> String {
    match value {
        Value::Text(text) => text.to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float32(value) => value.to_string(),
        Value::Float64(value) => value.to_string(),
        other => format!("{:?}", other.to_datum()),
    }
}

// === impl TablePlan ===

impl TablePlan {
    pub(super) fn compile(schema: &SharedSchema, rules: &[RulePlan], updated_at_column: Option<&str>) -> Result<Self> {
        let rules: Vec<_> = rules.iter().filter(|rule| rule.selects(&schema.name)).collect();
        let updated_at = updated_at_column.and_then(|name| schema.column_index(name));
        if rules.iter().any(|rule| rule.rule.drop) {
            return Ok(Self::Drop);
        }
        if rules.is_empty() {
            return Ok(Self::Keep { updated_at });
        }
        let columns = kept_columns(schema, &rules)?;
        let renamed = renamed_schema(schema, &columns, &rules)?;
        let alters_rows =
            renamed != **schema || columns.iter().any(|column| !matches!(column.content, Content::Copied));
        Ok(Self::Rewrite(Rewrite {
            schema: Arc::new(renamed),
            alters_rows,
            columns,
            conditions: conditions(schema, &rules)?,
            topic: topic(schema, &rules),
            updated_at,
        }))
    }
}

// === impl Content ===

impl Content {
    /// What it makes of a column.
    fn describe(&self, column: &mut Column) {
        match self {
            Self::Copied => return,
            Self::Masked(_) => column.logical_type = LogicalType::Text(TextKind::Masked),
            Self::Cast(_, to) => {
                column.logical_type = to.logical_type();
                column.source_type = String::new();
                column.default_is_computed = false;
            }
        }
        column.default = None;
    }
}

// === impl Rewrite ===

impl Rewrite {
    /// Whether rows can be held against every row filter: what has no more than a key cannot.
    ///
    /// # Errors
    /// Definite `transform_invalid`.
    pub(super) fn check_conditions(&self) -> Result<()> {
        let mut unknown = self.conditions.iter().filter(|condition| condition.column.is_none());
        unknown
            .next()
            .map_or(Ok(()), |condition| Err(unknown_column(&self.schema, &condition.name)))
    }

    /// Nothing but the casts, for rows whose columns have the names that rules gave them; `None` where none of them is cast.
    pub(super) fn of_casts(schema: &SharedSchema, rules: &[RulePlan]) -> Result<Option<Self>> {
        let rules: Vec<_> = rules.iter().filter(|rule| rule.selects(&schema.name)).collect();
        let mut columns = Vec::new();
        let mut described = TableSchema::clone(schema);
        for (index, column) in described.columns.iter_mut().enumerate() {
            let mut casts = rules.iter().flat_map(|rule| &rule.casts);
            let content = match casts.rfind(|(name, _)| renamed(name, &rules) == column.name) {
                // What stands in place of a value has no other type.
                Some((_, to)) if !column.is_masked() => cast_column(schema, column, *to)?,
                Some(_) | None => Content::Copied,
            };
            content.describe(column);
            columns.push(ColumnPlan { index, content });
        }
        let is_copied = |column: &ColumnPlan| matches!(column.content, Content::Copied);
        if columns.iter().all(is_copied) {
            return Ok(None);
        }
        Ok(Some(Self {
            schema: Arc::new(described),
            columns,
            conditions: Vec::new(),
            topic: None,
            updated_at: None,
            alters_rows: true,
        }))
    }
}

fn kept_columns(schema: &TableSchema, rules: &[&RulePlan]) -> Result<Vec<ColumnPlan>> {
    let mut kept = Vec::new();
    for (index, column) in schema.columns.iter().enumerate() {
        let in_key = schema.key.contains(&index);
        let excluded = rules
            .iter()
            .any(|rule| rule.rule.exclude_columns.contains(&column.name));
        if excluded && in_key {
            let table = schema.name.qualified();
            let message = format!(
                "column `{}` is part of the key of {table} and cannot be excluded; mask it instead",
                column.name
            );
            return Err(Error::definite("transform_invalid", message));
        }
        let mut includes = rules.iter().filter_map(|rule| rule.rule.include_columns.as_ref());
        let included = in_key || includes.all(|names| names.contains(&column.name));
        if included && !excluded {
            let content = content(schema, column, rules)?;
            kept.push(ColumnPlan { index, content });
        }
    }
    Ok(kept)
}

fn content(schema: &TableSchema, column: &Column, rules: &[&RulePlan]) -> Result<Content> {
    let mut masks = rules.iter().flat_map(|rule| &rule.masks);
    let mask = masks.rfind(|(name, _)| *name == column.name);
    let mut casts = rules.iter().flat_map(|rule| &rule.casts);
    let cast = casts.rfind(|(name, _)| *name == column.name);
    match (mask, cast) {
        (None, None) => Ok(Content::Copied),
        (Some((_, mask)), None) => Ok(Content::Masked(mask.clone())),
        (None, Some((_, to))) => cast_column(schema, column, *to),
        (Some(_), Some(_)) => Err(masked_and_cast(
            &column.name,
            &format!(" of {}", schema.name.qualified()),
        )),
    }
}

fn cast_column(schema: &TableSchema, column: &Column, to: CastType) -> Result<Content> {
    if to.takes(&column.logical_type) {
        return Ok(Content::Cast(column.clone(), to));
    }
    let from = match column.source_type.as_str() {
        "" => format!("{:?}", column.logical_type),
        declared => declared.to_owned(),
    };
    let message = format!(
        "column `{}` of {} is {from}, which cannot be cast to {to}; choose another type, or take the column out of `cast`",
        column.name,
        schema.name.qualified()
    );
    Err(Error::definite("transform_invalid", message))
}

/// The name that a column has behind the rules.
pub(super) fn renamed<'a>(name: &'a str, rules: &[&'a RulePlan]) -> &'a str {
    let mut renames = rules.iter().filter_map(|rule| rule.rule.rename.get(name));
    renames.next_back().map_or(name, String::as_str)
}

fn renamed_schema(schema: &TableSchema, kept: &[ColumnPlan], rules: &[&RulePlan]) -> Result<TableSchema> {
    let mut columns: Vec<Column> = Vec::with_capacity(kept.len());
    for plan in kept {
        let Some(column) = schema.columns.get(plan.index) else {
            continue;
        };
        let mut column = column.clone();
        column.name = renamed(&column.name, rules).to_owned();
        plan.content.describe(&mut column);
        if columns.iter().any(|known| known.name == column.name) {
            let message = format!(
                "two columns of {} would be named `{}`",
                schema.name.qualified(),
                column.name
            );
            return Err(Error::definite("transform_invalid", message));
        }
        columns.push(column);
    }
    let position = |index: &usize| kept.iter().position(|plan| plan.index == *index);
    Ok(TableSchema {
        columns,
        key: schema.key.iter().filter_map(position).collect(),
        ..schema.clone()
    })
}

fn conditions(schema: &TableSchema, rules: &[&RulePlan]) -> Result<Vec<TableCondition>> {
    // Records that delete may have nothing but the key, and those that truncate have nothing.
    let may_be_part = schema.key.len() == schema.columns.len();
    let condition = |(name, plan): &(String, ConditionPlan)| {
        let column = schema.column_index(name);
        if column.is_none() && !may_be_part {
            return Err(unknown_column(schema, name));
        }
        Ok(TableCondition {
            name: name.clone(),
            column,
            plan: plan.clone(),
        })
    };
    rules.iter().flat_map(|rule| &rule.conditions).map(condition).collect()
}

/// The refusal of a row filter that no row can be held against.
fn unknown_column(schema: &TableSchema, name: &str) -> Error {
    let message = format!(
        "a row filter names column `{name}`, which {} does not have",
        schema.name.qualified()
    );
    Error::definite("transform_invalid", message)
}

fn topic(schema: &TableSchema, rules: &[&RulePlan]) -> Option<Arc<str>> {
    let name = schema.name.qualified();
    let routes = rules.iter().filter_map(|rule| rule.route.as_ref());
    let mut fitting = routes.filter(|(pattern, _)| pattern.is_match(&name));
    fitting
        .next_back()
        .map(|(pattern, topic)| pattern.replace(&name, topic.as_str()).into())
}

/// The row's own updated-at, microseconds since 1970. A delete has none, even where the log has the whole row: what is in
/// there is when the row was last updated before it went.
pub(super) fn updated_at_us(batch: &ChangeBatch, change: &Change, column: usize) -> Option<i64> {
    let row = change.after?;
    let table = batch.tables.get(change.table)?;
    let Value::Int(value) = batch.row(row).get(column) else {
        return None;
    };
    match table.columns.get(column)?.logical_type {
        LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. } => {
            (value != i64::MAX && value != i64::MIN).then_some(value)
        }
        LogicalType::Date => value.checked_mul(86_400_000_000),
        _ => None,
    }
}
