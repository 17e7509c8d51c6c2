//! Reads a statement word by word, looking ahead as far as needed.

use std::fmt;

use tailrace_core::schema::TableName;

use super::SqlContext;
use super::lexer::{Lexer, Token, TokenKind};

/// A place in a statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    lexer: Lexer<'a>,
    sql: &'a str,
    context: &'a SqlContext<'a>,
}

/// Where a statement stopped making sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotUnderstood(pub(super) String);

/// What reading a part of a statement gives.
pub(super) type Read<T> = Result<T, NotUnderstood>;

// === impl NotUnderstood ===

impl fmt::Display for NotUnderstood {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

// === impl Cursor ===

impl<'a> Cursor<'a> {
    pub(super) fn new(sql: &'a str, context: &'a SqlContext<'a>) -> Self {
        let lexer = Lexer::new(sql, context);
        Self { lexer, sql, context }
    }

    /// At a place that another cursor over the same statement had reached.
    pub(super) fn resumed_at(mut self, place: usize) -> Self {
        while self.place() < place && self.next().is_some() {}
        self
    }

    /// Where the next token begins.
    pub(super) fn place(&self) -> usize {
        self.peek().map_or(self.sql.len(), |token| token.start)
    }

    pub(super) fn context(&self) -> &'a SqlContext<'a> {
        self.context
    }

    pub(super) fn peek(&self) -> Option<Token<'a>> {
        let mut lexer = self.lexer;
        lexer.next()
    }

    /// The token behind the next one.
    pub(super) fn peek_second(&self) -> Option<Token<'a>> {
        let mut lexer = self.lexer;
        lexer.nth(1)
    }

    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        self.lexer.next()
    }

    pub(super) fn is_at_word(&self, word: &str) -> bool {
        self.peek().is_some_and(|token| token.is_word(word))
    }

    pub(super) fn is_at_any(&self, words: &[&str]) -> bool {
        self.peek()
            .is_some_and(|token| words.iter().any(|word| token.is_word(word)))
    }

    pub(super) fn is_at_symbol(&self, symbol: char) -> bool {
        self.peek().is_some_and(|token| token.is_symbol(symbol))
    }

    /// Whether nothing follows but a semicolon.
    pub(super) fn is_at_end(&self) -> bool {
        let mut lexer = self.lexer;
        lexer.all(|token| token.is_symbol(';'))
    }

    /// Passes over a word, if it is there.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_at_word(word);
        if found {
            self.next();
        }
        found
    }

    /// Passes over one of several words.
    pub(super) fn take_any(&mut self, words: &[&str]) -> bool {
        let found = self.is_at_any(words);
        if found {
            self.next();
        }
        found
    }

    /// Passes over several words in a row, or over none.
    pub(super) fn take_words(&mut self, words: &[&str]) -> bool {
        let mut ahead = *self;
        let found = words.iter().all(|word| ahead.take_word(word));
        if found {
            *self = ahead;
        }
        found
    }

    pub(super) fn take_symbol(&mut self, symbol: char) -> bool {
        let found = self.is_at_symbol(symbol);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Read<()> {
        if self.take_word(word) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    pub(super) fn expect_symbol(&mut self, symbol: char) -> Read<()> {
        if self.take_symbol(symbol) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    pub(super) fn expect_end(&self) -> Read<()> {
        if self.is_at_end() {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    /// What to say where the next token is not one that could stand here.
    pub(super) fn unexpected(&self) -> NotUnderstood {
        const SHOWN_CHARACTERS: usize = 40;
        let near: String = self
            .sql
            .get(self.place()..)
            .unwrap_or_default()
            .chars()
            .take(SHOWN_CHARACTERS)
            .collect();
        NotUnderstood(match near.as_str() {
            "" => "it ends too early".to_owned(),
            near => format!("`{near}` is not known here"),
        })
    }

    /// A name, with or without quotes.
    pub(super) fn name(&mut self) -> Read<String> {
        let name = self.peek().and_then(|token| token.name());
        let name = name.ok_or_else(|| self.unexpected())?;
        self.next();
        Ok(name.into_owned())
    }

    /// `table`, `schema.table`, `.table`
    pub(super) fn table_name(&mut self) -> Read<TableName> {
        if self.take_symbol('.') {
            let table = self.name()?;
            return Ok(self.context.table_name(None, &table));
        }
        let first = self.name()?;
        if !self.take_symbol('.') {
            return Ok(self.context.table_name(None, &first));
        }
        let table = self.name()?;
        Ok(self.context.table_name(Some(&first), &table))
    }

    /// Text in quotes, several in a row being one.
    pub(super) fn text(&mut self) -> Read<String> {
        let mut text = self.text_part().ok_or_else(|| self.unexpected())?;
        while let Some(more) = self.text_part() {
            text.push_str(&more);
        }
        Ok(text)
    }

    fn text_part(&mut self) -> Option<String> {
        let part = self.peek()?.literal(self.lexer.backslash_escapes())?;
        self.next();
        Some(part)
    }

    /// What stands in the parentheses that open here, as it is written.
    pub(super) fn parenthesised(&mut self) -> Read<&'a str> {
        self.expect_symbol('(')?;
        let from = self.place();
        let mut depth = 1_usize;
        loop {
            let token = self.next().ok_or_else(|| self.unexpected())?;
            if token.is_symbol('(') {
                depth += 1;
            } else if token.is_symbol(')') {
                depth -= 1;
            } else if token.kind == TokenKind::Unfinished {
                return Err(NotUnderstood("quotes or a comment do not end".to_owned()));
            }
            if depth == 0 {
                let text = self.sql.get(from..token.start).unwrap_or_default();
                return Ok(text.trim());
            }
        }
    }

    /// Passes over one token, or over all that stands in the parentheses that open here.
    pub(super) fn skip_one(&mut self) -> Read<()> {
        if self.is_at_symbol('(') {
            return self.parenthesised().map(|_| ());
        }
        match self.next() {
            Some(token) if token.kind != TokenKind::Unfinished && !token.is_symbol(')') => Ok(()),
            _ => Err(self.unexpected()),
        }
    }

    /// Passes over everything up to the next comma or closing parenthesis of this level, the end, or one of `words`.
    pub(super) fn skip_clause(&mut self, words: &[&str]) -> Read<()> {
        while !self.is_at_end() && !self.is_at_symbol(',') && !self.is_at_symbol(')') && !self.is_at_any(words) {
            self.skip_one()?;
        }
        Ok(())
    }

    /// The source text from a place that this cursor has passed up to where it is.
    pub(super) fn text_since(&self, place: usize) -> &'a str {
        self.sql.get(place..self.place()).unwrap_or_default().trim()
    }
}
