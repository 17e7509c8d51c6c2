//! `${NAME}`, `${NAME:-default}` and `${file:/path}` in values, replaced once: what a variable holds is never read as
//! YAML and never expanded again. `$$` is a dollar sign.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::tree::{Located, Problem, Problems};

/// A password or a certificate fits; a database dump named by mistake does not. Bytes.
const MAXIMUM_SECRET_BYTES: u64 = 64 * 1024;

/// Where values of variables come from.
pub(crate) struct Surroundings {
    environment: BTreeMap<String, Option<String>>,
}

// === impl Surroundings ===

impl Surroundings {
    /// The environment of this process and the files that it may read: for a configuration on disk.
    pub(crate) fn of_process() -> Self {
        let variables =
            std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.into_string().ok()));
        Self {
            environment: variables.collect(),
        }
    }

    /// Only these variables, and files.
    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())));
        Self {
            environment: variables.collect(),
        }
    }

    fn variable(&self, name: &str) -> Result<Option<&str>, String> {
        match self.environment.get(name) {
            None => Ok(None),
            Some(Some(value)) => Ok(Some(value)),
            Some(None) => Err(format!("the environment variable `{name}` is not UTF-8")),
        }
    }

    fn file(path: &str) -> Result<String, String> {
        let place = Path::new(path);
        if !place.is_absolute() {
            return Err(format!("`${{file:{path}}}`: write the whole path, from `/`"));
        }
        let failed = |reason: String| format!("`${{file:{path}}}`: {reason}");
        let described = fs::metadata(place).map_err(|error| failed(error.to_string()))?;
        if !described.is_file() {
            return Err(failed("this is not a regular file".to_owned()));
        }
        if described.len() > MAXIMUM_SECRET_BYTES {
            return Err(failed(format!("the file has more than {MAXIMUM_SECRET_BYTES} bytes")));
        }
        let bytes = fs::read(place).map_err(|error| failed(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| failed("the file is not UTF-8".to_owned()))?;
        let line = text
            .strip_suffix('\n')
            .map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        Ok(line.to_owned())
    }
}

/// Expands every value of the tree; keys stay as they are.
pub(crate) fn expand(tree: &mut Located, surroundings: &Surroundings, problems: &mut Problems) {
    tree.visit_scalars(&mut |scalar, at, path| {
        if !scalar.text.contains('$') {
            return;
        }
        match expand_text(&scalar.text, surroundings) {
            Ok((text, true)) => scalar.written = Some(std::mem::replace(&mut scalar.text, text)),
            Ok((text, false)) => scalar.text = text,
            Err(sentence) => problems.push(Problem::at(at, path.join("."), sentence)),
        }
    });
}

/// What stands between the braces of every variable of a text.
pub(crate) fn variables(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once('$')?;
            if let Some(after) = after.strip_prefix('$') {
                rest = after;
            } else if let Some((inside, after)) = after.strip_prefix('{').and_then(|after| after.split_once('}')) {
                rest = after;
                return Some(inside);
            } else {
                rest = after;
            }
        }
    })
}

/// The text with its variables replaced, and whether there were any.
fn expand_text(text: &str, surroundings: &Surroundings) -> Result<(String, bool), String> {
    let mut out = String::with_capacity(text.len());
    let mut replaced = false;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let Some((inside, after)) = after.split_once('}') else {
                return Err("a `${` has no `}`; write `$${` for the characters themselves".to_owned());
            };
            out.push_str(&value_of(inside, surroundings)?);
            replaced = true;
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Ok((out, replaced))
}

fn value_of(inside: &str, surroundings: &Surroundings) -> Result<String, String> {
    if let Some(path) = inside.strip_prefix("file:") {
        return Surroundings::file(path);
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if default.is_some_and(|default| default.contains("${")) {
        return Err(format!(
            "the default of `{name}` holds another variable; a default is plain text"
        ));
    }
    let legal = |(index, letter): (usize, char)| {
        letter == '_' || letter.is_ascii_alphabetic() || (index > 0 && letter.is_ascii_digit())
    };
    if name.is_empty() || !name.chars().enumerate().all(legal) {
        return Err(format!(
            "`${{{inside}}}` names no environment variable; write `$${{` for the characters themselves"
        ));
    }
    let found = surroundings.variable(name)?;
    match (found, default) {
        (Some(value), None) => Ok(value.to_owned()),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value.to_owned()),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "the environment variable `{name}` is not set; set it, or write `${{{name}:-default}}`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        let surroundings = Surroundings::of(&[("HOST", "db"), ("EMPTY", ""), ("TRICK", "${HOST} $$ {a: b}")]);
        expand_text(text, &surroundings).map(|(text, _)| text)
    }

    #[test]
    fn variables_are_replaced_once() {
        let table = [
            ("plain", "plain"),
            ("postgres://${HOST}:5432/${HOST}", "postgres://db:5432/db"),
            ("${MISSING:-there}", "there"),
            ("${EMPTY:-there}", "there"),
            ("[${EMPTY}]", "[]"),
            ("${HOST:-there}", "db"),
            ("${MISSING:-}", ""),
            ("${TRICK}", "${HOST} $$ {a: b}"),
            ("a$$b", "a$b"),
            ("$${HOST}", "${HOST}"),
            ("^orders$", "^orders$"),
            ("$5", "$5"),
        ];
        for (text, expected) in table {
            assert_eq!(expanded(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_refused() {
        let table = [
            (
                "${MISSING}",
                "the environment variable `MISSING` is not set; set it, or write `${MISSING:-default}`",
            ),
            ("${HOST", "a `${` has no `}`; write `$${` for the characters themselves"),
            (
                "${A:-${HOST}}",
                "the default of `A` holds another variable; a default is plain text",
            ),
            (
                "${1}",
                "`${1}` names no environment variable; write `$${` for the characters themselves",
            ),
            (
                "${}",
                "`${}` names no environment variable; write `$${` for the characters themselves",
            ),
            ("${file:secret}", "`${file:secret}`: write the whole path, from `/`"),
            ("${file:/}", "`${file:/}`: this is not a regular file"),
        ];
        for (text, expected) in table {
            assert_eq!(expanded(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_file_gives_its_text_without_the_last_newline() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "two\nlines ${HOST}\r\n").unwrap();
        let text = format!("${{file:{}}}", path.display());
        assert_eq!(expanded(&text).as_deref(), Ok("two\nlines ${HOST}"));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(expanded(&text).unwrap_err().ends_with("the file is not UTF-8"));
    }

    #[test]
    fn what_a_variable_held_is_not_shown() {
        let mut problems = Problems::new("x.yaml");
        let mut tree = super::super::yaml::parse(b"password: ${HOST}\n", &mut problems).unwrap();
        expand(&mut tree, &Surroundings::of(&[("HOST", "hunter2")]), &mut problems);
        assert_eq!(tree.get("password").unwrap().describe(), "the value of `${HOST}`");
        assert!(!format!("{tree:?}").contains("hunter2"));
    }
}
