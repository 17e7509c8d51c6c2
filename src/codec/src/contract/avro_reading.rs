//! What readers of one Avro schema cannot read of what another wrote: the specification's schema resolution, decided
//! without a value.
//!
//! Where readers in use differ from each other, the stricter one counts. The specification lets logical types be ignored
//! (a reader of `timestamp-micros` would take milliseconds for microseconds) and compares enums and fixed without their
//! namespace (Java's readers compare it): both are mismatches here.

use std::collections::BTreeSet;

use super::avro_schema::{AvroSchema, Body, Definition, Field, Form, Type};
use super::compatibility::{IncompatibilityKind, Mismatch};

/// Compares two schemas, from the root down.
struct Reading<'a> {
    reader: &'a AvroSchema,
    writer: &'a AvroSchema,
    /// Pairs of names that were met before: what is wrong with them was said there.
    met: BTreeSet<(&'a str, &'a str)>,
    found: Vec<Mismatch>,
}

/// Everything that stands between a reader and what was written; empty where it can read every value.
pub(crate) fn mismatches(reader: &AvroSchema, writer: &AvroSchema) -> Vec<Mismatch> {
    let mut reading = Reading {
        reader,
        writer,
        met: BTreeSet::new(),
        found: Vec::new(),
    };
    reading.read("", &reader.root, &writer.root);
    reading.found
}

// === impl Reading ===

impl<'a> Reading<'a> {
    fn read(&mut self, path: &str, reader: &'a Type, writer: &'a Type) {
        match (&reader.form, &writer.form) {
            (_, Form::Union(branches)) => self.read_branches(path, reader, writer, branches),
            (Form::Union(branches), _) => self.read_into_union(path, (reader, branches), writer),
            (Form::Named(left), Form::Named(right)) => self.read_named(path, (reader, left), (writer, right)),
            (Form::Array(left), Form::Array(right)) => self.read(&format!("{path}[]"), left, right),
            (Form::Map(left), Form::Map(right)) => self.read(&format!("{path}{{}}"), left, right),
            (left, right) if is_readable(left, right) => self.compare_logical(path, reader, writer),
            _ => self.mismatch(path, IncompatibilityKind::Type, reader, writer),
        }
    }

    /// Any branch may have been written.
    fn read_branches(&mut self, path: &str, reader: &'a Type, writer: &'a Type, branches: &'a [Type]) {
        let before = self.found.len();
        for branch in branches {
            self.read(path, reader, branch);
        }
        // What does not fit as a whole is said once, of the whole.
        let is_of_whole = |found: &Mismatch| found.path == path && matches!(found.kind, IncompatibilityKind::Type);
        let added = self.found.split_off(before);
        let (of_whole, inner): (Vec<_>, Vec<_>) = added.into_iter().partition(is_of_whole);
        if !of_whole.is_empty() {
            self.mismatch(path, IncompatibilityKind::Type, reader, writer);
        }
        self.found.extend(inner);
    }

    /// Readers take the branch that is the written type itself, or the first that it can be read as; not all of them look
    /// for the former, so that both must be able to.
    fn read_into_union(&mut self, path: &str, (reader, branches): (&'a Type, &'a [Type]), writer: &'a Type) {
        let exact = branches.iter().find(|branch| self.is_itself(branch, writer));
        let first = branches.iter().find(|branch| self.is_match(branch, writer));
        let Some(exact) = exact.or(first) else {
            self.mismatch(path, IncompatibilityKind::Type, reader, writer);
            return;
        };
        self.read(path, exact, writer);
        // A wider number or the other of text and bytes would be read, though as what it was not written as.
        if let Some(first) = first.filter(|first| !std::ptr::eq(*first, exact)) {
            self.read(path, first, writer);
        }
    }

    fn is_itself(&self, reader: &Type, writer: &Type) -> bool {
        match (&reader.form, &writer.form) {
            (Form::Named(left), Form::Named(right)) => left == right && self.is_match(reader, writer),
            (left, right) => std::mem::discriminant(left) == std::mem::discriminant(right),
        }
    }

    /// The specification's "match", which does not look into the parts.
    fn is_match(&self, reader: &Type, writer: &Type) -> bool {
        match (&reader.form, &writer.form) {
            (Form::Named(left), Form::Named(right)) => {
                let (Some(reading), Some(written)) = (self.reader.definition(left), self.writer.definition(right))
                else {
                    return false;
                };
                match (&reading.body, &written.body) {
                    (Body::Fixed { size: left_size, .. }, Body::Fixed { size: right_size, .. }) => {
                        left_size == right_size && is_named((left, reading), (right, written))
                    }
                    _ => is_named((left, reading), (right, written)),
                }
            }
            (left, right) => is_readable(left, right),
        }
    }

    fn read_named(&mut self, path: &str, (reader, left): (&'a Type, &'a str), (writer, right): (&'a Type, &'a str)) {
        if !self.met.insert((left, right)) {
            return;
        }
        let definitions = self.reader.definition(left).zip(self.writer.definition(right));
        let Some((reading, written)) = definitions else {
            return;
        };
        match (&reading.body, &written.body) {
            (Body::Record(fields), Body::Record(written_fields)) => {
                self.compare_names(path, (left, reading), (right, written));
                self.read_record(path, fields, written_fields);
            }
            (Body::Enum { symbols, default }, Body::Enum { symbols: others, .. }) => {
                self.compare_names(path, (left, reading), (right, written));
                let unknown: Vec<&str> = others
                    .iter()
                    .filter(|symbol| !symbols.contains(symbol))
                    .map(String::as_str)
                    .collect();
                if default.is_none() && !unknown.is_empty() {
                    self.found.push(Mismatch {
                        path: path.to_owned(),
                        kind: IncompatibilityKind::Symbols,
                        reader: String::new(),
                        writer: unknown.join(", "),
                    });
                }
            }
            (Body::Fixed { size: left_size, .. }, Body::Fixed { size: right_size, .. }) => {
                self.compare_names(path, (left, reading), (right, written));
                if left_size != right_size {
                    self.mismatch(path, IncompatibilityKind::Type, reader, writer);
                }
                self.compare_logical(path, reader, writer);
            }
            (Body::Record(_) | Body::Enum { .. } | Body::Fixed { .. }, _) => {
                self.mismatch(path, IncompatibilityKind::Type, reader, writer);
            }
        }
    }

    fn read_record(&mut self, path: &str, fields: &'a [Field], written: &'a [Field]) {
        for field in fields {
            let path = if path.is_empty() {
                field.name.clone()
            } else {
                format!("{path}.{}", field.name)
            };
            let by_name = written.iter().find(|other| other.name == field.name);
            let by_alias = written.iter().find(|other| field.aliases.contains(&other.name));
            // Readers differ in whether a name or an alias comes first, and in what becomes of the field whose name it is.
            let is_taken = by_alias.is_some_and(|alias| fields.iter().any(|other| other.name == alias.name));
            if is_taken {
                self.found.push(Mismatch {
                    path: path.clone(),
                    kind: IncompatibilityKind::Undecided,
                    reader: "one of its aliases is also the name of another field".to_owned(),
                    writer: String::new(),
                });
            }
            match (by_name.or(by_alias), &field.default) {
                (Some(other), _) => self.read(&path, &field.of, &other.of),
                (None, Some(default)) if self.reader.admits(&field.of, default) => {}
                (None, default) => {
                    let kind = if default.is_some() {
                        IncompatibilityKind::Default
                    } else {
                        IncompatibilityKind::Field
                    };
                    self.found.push(Mismatch {
                        path,
                        kind,
                        reader: self.reader.describe(&field.of),
                        writer: String::new(),
                    });
                }
            }
        }
    }

    fn compare_names(&mut self, path: &str, reader: (&str, &Definition), writer: (&str, &Definition)) {
        if !is_named(reader, writer) {
            self.found.push(Mismatch {
                path: path.to_owned(),
                kind: IncompatibilityKind::Name,
                reader: reader.0.to_owned(),
                writer: writer.0.to_owned(),
            });
        }
    }

    fn compare_logical(&mut self, path: &str, reader: &Type, writer: &Type) {
        if self.reader.logical(reader) != self.writer.logical(writer) {
            self.mismatch(path, IncompatibilityKind::LogicalType, reader, writer);
        }
    }

    fn mismatch(&mut self, path: &str, kind: IncompatibilityKind, reader: &Type, writer: &Type) {
        self.found.push(Mismatch {
            path: path.to_owned(),
            kind,
            reader: self.reader.describe(reader),
            writer: self.writer.describe(writer),
        });
    }
}

/// The promotions of the specification; each form is readable as itself. Named ones are compared elsewhere.
fn is_readable(reader: &Form, writer: &Form) -> bool {
    match writer {
        Form::Int => matches!(reader, Form::Int | Form::Long | Form::Float | Form::Double),
        Form::Long => matches!(reader, Form::Long | Form::Float | Form::Double),
        Form::Float => matches!(reader, Form::Float | Form::Double),
        Form::Bytes | Form::String => matches!(reader, Form::Bytes | Form::String),
        Form::Null | Form::Boolean | Form::Double | Form::Array(_) | Form::Map(_) => {
            std::mem::discriminant(reader) == std::mem::discriminant(writer)
        }
        Form::Union(_) | Form::Named(_) => false,
    }
}

/// Whether a reader takes what was written under a name for its own: records by the last part of the name, enums and fixed
/// by the whole; all also by alias.
fn is_named((left, reading): (&str, &Definition), (right, written): (&str, &Definition)) -> bool {
    if left == right || reading.aliases.iter().any(|alias| alias == right) {
        return true;
    }
    let last = |name: &str| name.rsplit('.').next().map(str::to_owned);
    matches!((&reading.body, &written.body), (Body::Record(_), Body::Record(_))) && last(left) == last(right)
}
