//! A Rust file as the rules need it: the same lines once as written and once with comments and literals blanked out, so
//! that braces and words in them do not count.

/// A file below the root.
pub(crate) struct Source {
    /// Its path, with `/`.
    pub(crate) path: String,
    written: Vec<String>,
    code: Vec<String>,
    test: Vec<bool>,
}

/// A function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// Lines of code from its first to its last, comments and empty lines left out.
    pub(crate) lines: usize,
}

// === impl Source ===

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let code = blank_out(text);
        let mut source = Source {
            path: path.to_owned(),
            written: text.lines().map(str::to_owned).collect(),
            code: code.lines().map(str::to_owned).collect(),
            test: Vec::new(),
        };
        source.test = source.find_tests();
        source
    }

    /// Whether the whole file is a test or belongs to one.
    pub(crate) fn is_test_file(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// Lines are counted from 1.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test_file() || self.test[line - 1]
    }

    /// Names of the tests in it: functions right behind an attribute that makes them one.
    pub(crate) fn tests(&self) -> Vec<String> {
        let is_test = |function: &Function| {
            let above = self.code.get(..function.line - 1).unwrap_or_default();
            let attributes = above.iter().rev().map(|line| line.trim());
            let mut attributes = attributes.take_while(|line| line.starts_with("#["));
            attributes.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
        };
        let tests = self.functions().into_iter().filter(is_test);
        tests.map(|function| function.name).collect()
    }

    pub(crate) fn lines(&self) -> usize {
        self.written.len()
    }

    pub(crate) fn lines_without_tests(&self) -> usize {
        self.test.iter().filter(|test| !**test).count()
    }

    pub(crate) fn text_of(&self, line: usize) -> &str {
        &self.written[line - 1]
    }

    pub(crate) fn code_of(&self, line: usize) -> &str {
        &self.code[line - 1]
    }

    /// Lines with these words, outside of comments and literals.
    pub(crate) fn places_of_code(&self, words: &str) -> impl Iterator<Item = usize> {
        self.code
            .iter()
            .enumerate()
            .filter(move |(_, line)| line.contains(words))
            .map(|(index, _)| index + 1)
    }

    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        for (index, line) in self.code.iter().enumerate() {
            let Some(name) = function_name(line) else {
                continue;
            };
            let Some(end) = self.end_of_block(index) else {
                continue;
            };
            if self.is_excused(index) {
                continue;
            }
            let lines = self.code[index..=end]
                .iter()
                .filter(|line| !line.trim().is_empty())
                .count();
            functions.push(Function {
                name,
                line: index + 1,
                lines,
            });
        }
        functions
    }

    /// Whether clippy was told, with a reason, that this function is long.
    fn is_excused(&self, index: usize) -> bool {
        let above = self.code[..index]
            .iter()
            .rev()
            .take_while(|line| !line.trim().is_empty() && !line.contains('}'));
        above.into_iter().any(|line| line.contains("clippy::too_many_lines"))
    }

    /// Lines of public items, fields and variants aside, whose doc line is missing.
    pub(crate) fn undocumented_items(&self) -> Vec<usize> {
        let items = [
            "fn ",
            "async fn ",
            "const fn ",
            "struct ",
            "enum ",
            "trait ",
            "const ",
            "static ",
            "type ",
            "union ",
        ];
        let is_item = |line: &str| {
            line.trim_start()
                .strip_prefix("pub ")
                .is_some_and(|rest| items.iter().any(|item| rest.starts_with(item)))
        };
        let public = (0..self.code.len()).filter(|index| is_item(&self.code[*index]) && !self.test[*index]);
        public
            .filter(|index| !self.has_doc_above(*index))
            .map(|index| index + 1)
            .collect()
    }

    fn has_doc_above(&self, index: usize) -> bool {
        let above = self.written[..index].iter().rev().map(|line| line.trim());
        // Attributes stand between an item and its documentation, over several lines when they are long.
        let mut above = above.skip_while(|line| line.starts_with("#[") || line.ends_with(")]") || line.ends_with(','));
        above.next().is_some_and(|line| line.starts_with("///"))
    }

    fn find_tests(&self) -> Vec<bool> {
        let mut test = vec![false; self.code.len()];
        for index in 0..self.code.len() {
            if !self.code[index].contains("#[cfg(test)]") {
                continue;
            }
            let end = self.end_of_block(index).unwrap_or(index + 1).min(self.code.len() - 1);
            test[index..=end].fill(true);
        }
        test
    }

    /// The line of the brace that closes the first block opened at or after a line; `None` where a `;` comes before.
    fn end_of_block(&self, from: usize) -> Option<usize> {
        let mut depth = 0_usize;
        let mut brackets = 0_usize;
        for (index, line) in self.code.iter().enumerate().skip(from) {
            for character in line.chars() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 1 => return Some(index),
                    '}' => depth = depth.checked_sub(1)?,
                    '(' | '[' => brackets += 1,
                    ')' | ']' => brackets = brackets.saturating_sub(1),
                    // Not the `;` of an array's type among the parameters.
                    ';' if depth == 0 && brackets == 0 => return None,
                    _ => {}
                }
            }
        }
        None
    }
}

/// The name of the function that a line of code defines.
fn function_name(line: &str) -> Option<String> {
    let (before, after) = line.split_once("fn ")?;
    let words = ["pub", "async", "const", "extern", "default"];
    let is_qualifier = |word: &str| words.contains(&word) || word.starts_with("pub(") || word.ends_with(')');
    if !before.split_whitespace().all(is_qualifier) {
        return None;
    }
    let name: String = after
        .chars()
        .take_while(|character| character.is_alphanumeric() || *character == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}

/// The text with the insides of comments, strings and characters replaced by spaces; line breaks stay.
fn blank_out(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = literal_or_comment(rest, code.chars().next_back());
        let length = skipped.unwrap_or(first.len_utf8());
        let (taken, after) = rest.split_at(length);
        if skipped.is_some() {
            // A line that holds nothing but a literal is code, one that holds nothing but a comment is not.
            let mark = if taken.starts_with('/') { ' ' } else { '"' };
            code.push(mark);
            code.extend(
                taken
                    .chars()
                    .skip(1)
                    .map(|character| if character == '\n' { '\n' } else { ' ' }),
            );
        } else {
            code.push_str(taken);
        }
        rest = after;
    }
    code
}

/// The length of the comment or literal that `rest` begins with, in bytes.
fn literal_or_comment(rest: &str, before: Option<char>) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    let in_word = before.is_some_and(|character| character.is_alphanumeric() || character == '_');
    let raw = rest
        .strip_prefix("br")
        .or_else(|| rest.strip_prefix('r'))
        .filter(|_| !in_word);
    if let Some(raw) = raw {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = rest.len() - raw.len() + hashes + 1;
            return Some(
                rest[start..]
                    .find(&end)
                    .map_or(rest.len(), |found| start + found + end.len()),
            );
        }
    }
    if rest.starts_with('"') {
        return Some(end_of_quoted(rest, '"'));
    }
    // A lifetime has no closing quote after one character.
    let mut characters = rest.strip_prefix('\'')?.chars();
    let is_character = match characters.next()? {
        '\\' => true,
        _ => characters.next() == Some('\''),
    };
    is_character.then(|| end_of_quoted(rest, '\''))
}

fn end_of_quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

#[test]
fn braces_in_literals_and_comments_do_not_count() {
    let text = "fn a<'x>(b: &'x str) -> char {\n    // }\n    let c = \"}\\\"}\";\n    let d = r#\"}\"}\"#;\n    '}'\n}\nfn e(f: [u8; 3]);\n";
    let source = Source::new("src/a.rs", text);
    let functions = source.functions();
    assert_eq!(functions.len(), 1);
    assert_eq!(
        (functions[0].name.as_str(), functions[0].line, functions[0].lines),
        ("a", 1, 5)
    );
}

#[test]
fn the_tests_of_a_file_are_told_from_its_code() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
    let source = Source::new("src/a.rs", text);
    assert_eq!(
        (1..=6).filter(|line| source.is_test_line(*line)).collect::<Vec<_>>(),
        [2, 3, 4, 5]
    );
    assert_eq!(source.lines_without_tests(), 2);
}

#[test]
fn a_missing_doc_line_is_found_over_attributes() {
    let text = "/// Said.\n#[derive(\n    Debug,\n)]\npub struct A;\n\n#[must_use]\npub fn b() {}\n";
    assert_eq!(Source::new("src/core/src/a.rs", text).undocumented_items(), [8]);
}
