//! The configuration: from bytes of YAML to what is meant.
//!
//! ```text
//!   bytes ─yaml─▶ Located tree ─expand─▶ Located tree ─deserialize─▶ Spec (as written) ─plan─▶ Plan (as meant)
//! ```
//!
//! The reader on top of the YAML events is our own for one reason: every problem, also one that serde finds deep inside
//! a connector's own struct, is told with file, line, column and the nearest valid name, and as many problems as
//! possible are told at once.

pub(crate) mod deserialize;
pub(crate) mod expand;
pub(crate) mod fault;
pub(crate) mod flat;
pub(crate) mod formats;
pub(crate) mod plan;
pub(crate) mod reference;
pub(crate) mod schema;
pub(crate) mod shown;
pub(crate) mod spec;
pub(crate) mod submitted;
pub(crate) mod tree;
pub(crate) mod yaml;

use std::path::Path;

use self::expand::Surroundings;
use self::plan::Plan;
use self::spec::Spec;
use self::tree::{Problem, Problems};

/// A configuration file is written by hand; one that is larger than this is something else. Bytes.
const MAXIMUM_FILE_BYTES: u64 = 1024 * 1024;

/// Reads a file on disk and says what it means, or everything that is wrong with it.
pub(crate) fn load(path: &Path) -> Result<Plan, Problems> {
    let file = path.display().to_string();
    let bytes = read(path).map_err(|sentence| Problems::one(&file, Problem::whole_file(sentence)))?;
    understand(&file, &bytes, &Surroundings::of_process())
}

/// The same for bytes that were read already.
pub(crate) fn understand(file: &str, bytes: &[u8], surroundings: &Surroundings) -> Result<Plan, Problems> {
    let mut problems = Problems::new(file);
    let tree = yaml::parse(bytes, &mut problems);
    let Some(mut tree) = tree else {
        return Err(problems);
    };
    expand::expand(&mut tree, surroundings, &mut problems);
    let spec = Spec::read(&tree, &mut problems);
    problems.into_result()?;
    plan::make(file, spec)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let described = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !described.is_file() {
        return Err("this is not a file; name the YAML file itself".to_owned());
    }
    if described.len() > MAXIMUM_FILE_BYTES {
        return Err(format!(
            "the file has {} bytes; a configuration has at most {MAXIMUM_FILE_BYTES}",
            described.len()
        ));
    }
    std::fs::read(path).map_err(|error| unreadable(&error))
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "this user may not read the file".to_owned(),
        _ => format!("the file cannot be read: {error}"),
    }
}
