//! Kinds of settings that are told apart where a configuration does not come from the file on disk, and where it is shown: by the
//! `format` of their JSON Schema. A field says it with its type, or with `#[schemars(with = "LocalFile")]`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::secret::Secret;

/// `format` of what must never be shown.
pub const SECRET: &str = "password";
/// `format` of what names a file or folder of this machine.
pub const LOCAL_FILE: &str = "path";
/// `format` of what is run by a database as it stands.
pub const SQL: &str = "sql";

/// A file or folder of this machine.
pub struct LocalFile;

/// A statement, or a part of one.
pub struct SqlText;

fn text(format: &str) -> Schema {
    json_schema!({ "type": "string", "format": format })
}

macro_rules! formats {
    ($($kind:ident $format:ident)*) => {$(
        impl JsonSchema for $kind {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($kind).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                text($format)
            }
        }
    )*};
}

formats! { Secret SECRET LocalFile LOCAL_FILE SqlText SQL }
