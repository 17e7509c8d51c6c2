//! What was written, with the place of every key and value.

use std::fmt;

/// Mappings and lists inside each other; a configuration has about five. Keeps recursion over the tree shallow.
pub(crate) const MAXIMUM_DEPTH: usize = 32;

/// Line and column in the file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) at: Mark,
    pub(crate) node: Node,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Scalar(Scalar),
    Sequence(Vec<Located>),
    Mapping(Vec<Entry>),
}

/// A whole as it was written, passwords and all: `Debug` shows nothing of it.
#[derive(Clone)]
pub(crate) struct Written(pub(crate) Located);

impl fmt::Debug for Written {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Text that is not split any further.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Scalar {
    /// The text, with variables replaced.
    pub(crate) text: String,
    /// How it was written.
    pub(crate) style: Style,
    /// The text as it was written, where a variable was replaced in it: what may be shown instead of `text`.
    pub(crate) written: Option<String>,
}

/// How a scalar was written, which says what it may be read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// As it is: a number, a truth value, nothing, or text.
    Plain,
    /// In quotes or as a block: it is text, whatever it looks like.
    Quoted,
    /// A text of JSON, where clients of Kafka Connect have nothing else: whatever is expected, a list with commas between too.
    Flat,
}

/// One key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Mark,
    pub(crate) value: Located,
}

/// One thing that is wrong, in a sentence that an operator can act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where; `None` where it concerns the whole file.
    pub(crate) at: Option<Mark>,
    /// Keys from the top to the place, joined by dots.
    pub(crate) path: String,
    /// The key there that is unknown, or missing.
    pub(crate) key: Option<String>,
    /// What is wrong and what to do.
    pub(crate) sentence: String,
}

/// Everything that is wrong with one file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problems {
    file: String,
    list: Vec<Problem>,
}

// === impl Mark ===

impl Mark {
    fn next(count: &mut usize) -> Self {
        *count += 1;
        Self {
            line: *count,
            column: 1,
        }
    }
}

// === impl Located ===

impl Located {
    /// The entries of a mapping; `None` where it is not one.
    pub(crate) fn mapping(&self) -> Option<&[Entry]> {
        match &self.node {
            Node::Mapping(entries) => Some(entries),
            Node::Scalar(_) | Node::Sequence(_) => None,
        }
    }

    /// The value of a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Located> {
        let entry = self.mapping()?.iter().find(|entry| entry.key == key)?;
        Some(&entry.value)
    }

    /// The text of a scalar; `None` where it is none.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.node {
            Node::Scalar(scalar) => Some(&scalar.text),
            Node::Sequence(_) | Node::Mapping(_) => None,
        }
    }

    /// How many keys and places of lists stand above the deepest value.
    pub(crate) fn depth(&self) -> usize {
        let deepest = match &self.node {
            Node::Scalar(_) => None,
            Node::Sequence(elements) => elements.iter().map(Self::depth).max(),
            Node::Mapping(entries) => entries.iter().map(|entry| entry.value.depth()).max(),
        };
        deepest.map_or(0, |below| below + 1)
    }

    /// Goes through every scalar, with its place and the keys on the way to it.
    pub(crate) fn visit_scalars(&mut self, visit: &mut impl FnMut(&mut Scalar, Mark, &[String])) {
        self.visit_below(&mut Vec::new(), visit);
    }

    fn visit_below(&mut self, path: &mut Vec<String>, visit: &mut impl FnMut(&mut Scalar, Mark, &[String])) {
        match &mut self.node {
            Node::Scalar(scalar) => visit(scalar, self.at, path),
            Node::Sequence(elements) => {
                for (index, element) in elements.iter_mut().enumerate() {
                    path.push(index.to_string());
                    element.visit_below(path, visit);
                    path.pop();
                }
            }
            Node::Mapping(entries) => {
                for entry in entries {
                    path.push(entry.key.clone());
                    entry.value.visit_below(path, visit);
                    path.pop();
                }
            }
        }
    }

    /// What this is, for the second half of "expects …, found …". Never shows what a variable held.
    pub(crate) fn describe(&self) -> String {
        match &self.node {
            Node::Mapping(_) => "a mapping".to_owned(),
            Node::Sequence(_) => "a list".to_owned(),
            Node::Scalar(scalar) if scalar.is_null() => "nothing".to_owned(),
            Node::Scalar(Scalar {
                written: Some(written), ..
            }) => format!("the value of `{written}`"),
            Node::Scalar(scalar) if scalar.style != Style::Plain => format!("the text \"{}\"", scalar.text),
            Node::Scalar(scalar) => format!("`{}`", scalar.text),
        }
    }

    /// Gives every value and every key a place of its own, where there are no lines: what is at fault is told by its place from the rest.
    pub(crate) fn number(&mut self) {
        self.number_from(&mut 0);
    }

    fn number_from(&mut self, count: &mut usize) {
        self.at = Mark::next(count);
        match &mut self.node {
            Node::Scalar(_) => {}
            Node::Sequence(elements) => elements.iter_mut().for_each(|element| element.number_from(count)),
            Node::Mapping(entries) => {
                for entry in entries {
                    entry.key_at = Mark::next(count);
                    entry.value.number_from(count);
                }
            }
        }
    }

    /// Removes the entry whose key begins at `at`; returns the key.
    pub(crate) fn remove_key_at(&mut self, at: Mark) -> Option<String> {
        self.remove(&|entry| entry.key_at == at, &|_| false)
    }

    /// Removes the entry or element whose value begins at `at`, the outermost; returns the key.
    pub(crate) fn remove_value_at(&mut self, at: Mark) -> Option<String> {
        self.remove(&|entry| entry.value.at == at, &|element| element.at == at)
    }

    fn remove(&mut self, entry_is: &dyn Fn(&Entry) -> bool, element_is: &dyn Fn(&Located) -> bool) -> Option<String> {
        match &mut self.node {
            Node::Scalar(_) => None,
            Node::Sequence(elements) => {
                if let Some(index) = elements.iter().position(element_is) {
                    elements.remove(index);
                    return Some(index.to_string());
                }
                elements
                    .iter_mut()
                    .find_map(|element| element.remove(entry_is, element_is))
            }
            Node::Mapping(entries) => {
                if let Some(index) = entries.iter().position(entry_is) {
                    return Some(entries.remove(index).key);
                }
                entries
                    .iter_mut()
                    .find_map(|entry| entry.value.remove(entry_is, element_is))
            }
        }
    }
}

// === impl Scalar ===

impl Scalar {
    /// Nothing was written, or YAML's words for nothing.
    pub(crate) fn is_null(&self) -> bool {
        self.style == Style::Plain && self.written.is_none() && matches!(self.text.as_str(), "" | "~" | "null")
    }
}

/// A scalar may hold a password that a variable was replaced by.
impl fmt::Debug for Scalar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.written.as_deref().unwrap_or(&self.text))
    }
}

// === impl Problem ===

impl Problem {
    /// Something at a place.
    pub(crate) fn at(at: Mark, path: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self {
            at: Some(at),
            path: path.into(),
            key: None,
            sentence: sentence.into(),
        }
    }

    /// Something that concerns the whole file.
    pub(crate) fn whole_file(sentence: impl Into<String>) -> Self {
        Self {
            at: None,
            path: String::new(),
            key: None,
            sentence: sentence.into(),
        }
    }
}

// === impl Problems ===

impl Problems {
    /// None so far.
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            list: Vec::new(),
        }
    }

    /// A single one.
    pub(crate) fn one(file: &str, problem: Problem) -> Self {
        Self {
            file: file.to_owned(),
            list: vec![problem],
        }
    }

    pub(crate) fn push(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    /// So many so far.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// All that is wrong.
    pub(crate) fn into_list(self) -> Vec<Problem> {
        self.list
    }

    /// All is well, or all that is wrong.
    pub(crate) fn into_result(self) -> Result<(), Self> {
        if self.list.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted: Vec<&Problem> = self.list.iter().collect();
        sorted.sort_by_key(|problem| problem.at);
        for (index, problem) in sorted.into_iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{}", self.file)?;
            if let Some(at) = problem.at {
                write!(formatter, ":{}:{}", at.line, at.column)?;
            }
            if !problem.path.is_empty() {
                write!(formatter, ": {}", problem.path)?;
            }
            write!(formatter, ": {}", problem.sentence)?;
        }
        Ok(())
    }
}
