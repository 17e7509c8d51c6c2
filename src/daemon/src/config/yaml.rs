//! YAML events to a located tree, strictly: no aliases (so no alias bomb), no tags, no second document, no duplicate keys.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::tree::{Entry, Located, MAXIMUM_DEPTH, Mark, Node, Problem, Problems, Scalar, Style};

/// Builds the tree from events. An error has been put into `problems` already.
struct Builder<'a, 'input> {
    parser: Parser<'input, StrInput<'input>>,
    text: &'input str,
    problems: &'a mut Problems,
    path: Vec<String>,
}

/// The tree cannot be built; the problem is noted.
struct Refused;

/// The tree of a file, or `None` where there is none; problems are noted either way.
pub(crate) fn parse(bytes: &[u8], problems: &mut Problems) -> Option<Located> {
    let text = match decode(bytes) {
        Ok(text) => text,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        text,
        problems,
        path: Vec::new(),
    };
    builder.document().ok()
}

fn decode(bytes: &[u8]) -> Result<&str, Problem> {
    let start = Mark { line: 1, column: 1 };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Problem::at(start, "", "the file is UTF-16; save it as UTF-8"));
    }
    if bytes.starts_with(&[0xef, 0xbb, 0xbf]) {
        return Err(Problem::at(
            start,
            "",
            "the file begins with a byte order mark; save it as UTF-8 without one",
        ));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line_start = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let before = String::from_utf8_lossy(good.get(line_start..).unwrap_or_default());
        let at = Mark {
            line: good.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: before.chars().count() + 1,
        };
        Problem::at(at, "", "this byte is not UTF-8; save the file as UTF-8")
    })
}

fn mark(marker: &Marker) -> Mark {
    Mark {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

// === impl Builder ===

impl<'input> Builder<'_, 'input> {
    fn document(&mut self) -> Result<Located, Refused> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                (Event::StreamEnd | Event::DocumentEnd, _) => {
                    return Err(self.refuse(Mark { line: 1, column: 1 }, "the file is empty"));
                }
                (event, span) => {
                    let root = self.value(event, &span)?;
                    self.nothing_more()?;
                    return Ok(root);
                }
            }
        }
    }

    fn nothing_more(&mut self) -> Result<(), Refused> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentStart(_), span) => {
                    return Err(self.refuse(
                        mark(&span.start),
                        "a second document begins here; a file holds one configuration",
                    ));
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'input>, Span), Refused> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.not_yaml(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn not_yaml(&mut self, error: &ScanError) -> Refused {
        // Where the text is not YAML, the keys above it may be wrong as well.
        self.path.clear();
        let at = mark(error.marker());
        let tab = |line: usize| {
            let text = self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
            let indent = text.chars().take_while(|letter| letter.is_whitespace());
            indent
                .enumerate()
                .find(|(_, letter)| *letter == '\t')
                .map(|(column, _)| column + 1)
        };
        // The scanner notices a tab where the next token begins, which may be on the line after.
        for line in [at.line, at.line.saturating_sub(1)] {
            if let Some(column) = tab(line) {
                return self.refuse(
                    Mark { line, column },
                    "a tab indents this line; YAML is indented with spaces only",
                );
            }
        }
        if let Some(column) = self.bare_variable(at.line) {
            let line = at.line;
            return self.refuse(
                Mark { line, column },
                "between `{ }` or `[ ]` a variable stands in quotes: \"${NAME}\"",
            );
        }
        self.refuse(at, format!("this is not YAML: {}", error.info()))
    }

    /// The column of a `${` that is not in quotes, in a line that YAML did not understand.
    fn bare_variable(&self, line: usize) -> Option<usize> {
        let text = self.text.lines().nth(line.saturating_sub(1))?;
        let (before, _) = text.split_once("${")?;
        let quotes = before.chars().filter(|letter| matches!(letter, '"' | '\'')).count();
        quotes.is_multiple_of(2).then(|| before.chars().count() + 1)
    }

    fn refuse(&mut self, at: Mark, sentence: impl Into<String>) -> Refused {
        let path = self.path.join(".");
        self.problems.push(Problem::at(at, path, sentence));
        Refused
    }

    fn value(&mut self, event: Event<'input>, span: &Span) -> Result<Located, Refused> {
        let at = mark(&span.start);
        if self.path.len() > MAXIMUM_DEPTH {
            return Err(self.refuse(at, format!("nested more than {MAXIMUM_DEPTH} levels deep")));
        }
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => (*anchor, tag),
            Event::Alias(_) => return Err(self.refuse(at, ALIAS)),
            _ => return Err(self.refuse(at, "a value is expected here")),
        };
        if anchor != 0 {
            return Err(self.refuse(at, ALIAS));
        }
        if let Some(tag) = tag {
            return Err(self.refuse(at, format!("the tag `{tag}` has no meaning here; remove it")));
        }
        let node = match event {
            Event::Scalar(text, style, _, _) => Node::Scalar(Scalar {
                text: text.into_owned(),
                style: match style {
                    ScalarStyle::Plain => Style::Plain,
                    _ => Style::Quoted,
                },
                written: None,
            }),
            Event::SequenceStart(..) => Node::Sequence(self.elements()?),
            _ => Node::Mapping(self.entries()?),
        };
        Ok(Located { at, node })
    }

    fn elements(&mut self) -> Result<Vec<Located>, Refused> {
        let mut elements = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(elements);
            }
            self.path.push(elements.len().to_string());
            elements.push(self.value(event, &span)?);
            self.path.pop();
        }
    }

    fn entries(&mut self) -> Result<Vec<Entry>, Refused> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(entries);
            }
            let key_at = mark(&span.start);
            let key = self.key(event, key_at)?;
            if let Some(first) = entries.iter().find(|entry| entry.key == key).map(|entry| entry.key_at) {
                let sentence = format!(
                    "the key `{key}` is here a second time; the first is in line {}",
                    first.line
                );
                // Reading goes on, so that the other problems are told too.
                let _: Refused = self.refuse(key_at, sentence);
            }
            self.path.push(key.clone());
            let (event, span) = self.next()?;
            let value = self.value(event, &span)?;
            self.path.pop();
            // The first stays; its successor was told of.
            if entries.iter().all(|entry| entry.key != key) {
                entries.push(Entry { key, key_at, value });
            }
        }
    }

    fn key(&mut self, event: Event<'input>, at: Mark) -> Result<String, Refused> {
        match event {
            Event::Scalar(text, _, 0, None) => Ok(text.into_owned()),
            Event::Alias(_) => Err(self.refuse(at, ALIAS)),
            Event::Scalar(_, _, anchor, _) if anchor != 0 => Err(self.refuse(at, ALIAS)),
            Event::Scalar(..) => Err(self.refuse(at, "a key has no tag; remove it")),
            _ => Err(self.refuse(at, "a key is a plain word")),
        }
    }
}

const ALIAS: &str =
    "anchors (`&name`) and aliases (`*name`) are not read; write the value out, or in quotes if it is text";

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(bytes: &[u8]) -> String {
        let mut problems = Problems::new("x.yaml");
        parse(bytes, &mut problems);
        problems.to_string()
    }

    #[test]
    fn keys_and_values_know_their_place() {
        let mut problems = Problems::new("x.yaml");
        let tree = parse(b"a: 1\nlist:\n  - x\n  - {k: \"v\"}\n", &mut problems).unwrap();
        let entries = tree.mapping().unwrap();
        assert_eq!(entries[1].key_at, Mark { line: 2, column: 1 });
        let Node::Sequence(elements) = &entries[1].value.node else {
            panic!("a list")
        };
        assert_eq!(elements[0].at, Mark { line: 3, column: 5 });
        assert_eq!(elements[1].get("k").unwrap().at, Mark { line: 4, column: 9 });
        assert_eq!(elements[1].get("k").unwrap().describe(), "the text \"v\"");
        assert_eq!(problems.len(), 0);
    }

    #[test]
    fn what_is_not_plain_yaml_is_refused_with_its_place() {
        let table: &[(&[u8], &str)] = &[
            (b"", "x.yaml:1:1: the file is empty"),
            (
                b"\xef\xbb\xbfa: 1",
                "x.yaml:1:1: the file begins with a byte order mark; save it as UTF-8 without one",
            ),
            (b"\xff\xfea\0", "x.yaml:1:1: the file is UTF-16; save it as UTF-8"),
            (
                b"a: 1\nb: gr\xfc\xdfe\n",
                "x.yaml:2:6: this byte is not UTF-8; save the file as UTF-8",
            ),
            (
                b"a:\n\tb: 1\n",
                "x.yaml:2:1: a tab indents this line; YAML is indented with spaces only",
            ),
            (
                b"a: 1\nb: 2\na: 3\n",
                "x.yaml:3:1: the key `a` is here a second time; the first is in line 1",
            ),
            (
                b"a: &x [1]\nb: *x\n",
                "x.yaml:1:4: a: anchors (`&name`) and aliases (`*name`) are not read; write the value out, or in quotes if it is text",
            ),
            (
                b"a: 1\n---\nb: 2\n",
                "x.yaml:2:1: a second document begins here; a file holds one configuration",
            ),
            (
                b"a: {b: ${HOME}/x}\n",
                "x.yaml:1:8: between `{ }` or `[ ]` a variable stands in quotes: \"${NAME}\"",
            ),
            (b"? [a]\n: 1\n", "x.yaml:1:3: a key is a plain word"),
        ];
        for (bytes, expected) in table {
            assert_eq!(&problems_of(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
        assert!(problems_of(b"a: [1, 2\n").contains("this is not YAML"));
        assert!(problems_of(b"a: !!str 1\n").contains("has no meaning here; remove it"));
    }

    #[test]
    fn depth_is_bounded() {
        assert!(problems_of("[".repeat(40).as_bytes()).contains("nested more than 32 levels deep"));
        assert_ne!(problems_of("[".repeat(20_000).as_bytes()), "");
        assert_ne!(problems_of("- ".repeat(20_000).as_bytes()), "");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            problems_of(&bytes);
        }

        #[test]
        fn no_yaml_like_text_panics(text in "[-a:\\[\\]{}\"' \t\n&*!?|>#%,]{0,120}") {
            problems_of(text.as_bytes());
        }
    }
}
