//! What is printed where an output is not as it was: the block's lines, those that are gone with `-`, those that are new with `+`.

use std::fmt;

use super::document::{Block, Document};

/// A block that is not as it was.
pub(super) struct Difference {
    /// Its index among the document's parts.
    pub(super) part: usize,
    line: usize,
    info: String,
    lines: Vec<String>,
}

/// The blocks that differ between two versions of a document, which have the same parts.
pub(super) fn between(before: &Document, after: &Document) -> Vec<Difference> {
    let pairs = before.blocks_or_none().zip(after.blocks_or_none()).enumerate();
    let pairs = pairs.filter_map(|(part, (before, after))| Some((part, before?, after?)));
    let differing = pairs.filter(|(_, before, after)| before.body != after.body);
    differing
        .map(|(part, before, after)| Difference::new(part, before, after))
        .collect()
}

// === impl Difference ===

impl Difference {
    fn new(part: usize, before: &Block, after: &Block) -> Difference {
        Difference {
            part,
            line: before.line,
            info: before.info.clone(),
            lines: lines(&before.body, &after.body),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "\nline {}: {}", self.line, self.info)?;
        self.lines.iter().try_for_each(|line| writeln!(formatter, "{line}"))
    }
}

/// Both texts merged along their longest common subsequence.
fn lines(before: &[String], after: &[String]) -> Vec<String> {
    let Some((first_before, rest_before)) = before.split_first() else {
        return after.iter().map(|line| format!("+ {line}")).collect();
    };
    let Some((first_after, rest_after)) = after.split_first() else {
        return before.iter().map(|line| format!("- {line}")).collect();
    };
    let (first, rest) = if first_before == first_after {
        (format!("  {first_before}"), lines(rest_before, rest_after))
    } else if common(rest_before, after) >= common(before, rest_after) {
        (format!("- {first_before}"), lines(rest_before, after))
    } else {
        (format!("+ {first_after}"), lines(before, rest_after))
    };
    std::iter::once(first).chain(rest).collect()
}

/// How many lines the longest common subsequence has.
fn common(before: &[String], after: &[String]) -> usize {
    let mut row = vec![0_usize; after.len() + 1];
    for line in before {
        let mut diagonal = 0;
        let mut left = 0;
        for (cell, other) in row.iter_mut().skip(1).zip(after) {
            let above = *cell;
            *cell = if line == other { diagonal + 1 } else { above.max(left) };
            diagonal = above;
            left = *cell;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_stay_are_not_marked() {
        let text = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            lines(&text("a b c d"), &text("a c e d")),
            ["  a", "- b", "  c", "+ e", "  d"]
        );
        assert_eq!(lines(&text(""), &text("a")), ["+ a"]);
        assert_eq!(lines(&text("a"), &text("")), ["- a"]);
    }
}
