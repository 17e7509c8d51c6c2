//! Tokens of a statement, as the server that logged it saw them.
//!
//! A small lexer of its own, because everything else depends on what only the server knew: which quotes are names
//! (`ANSI_QUOTES`), whether a backslash escapes, and which comments are not comments (`/*!50701 … */`, MariaDB's `/*M! … */`).
//! It is lazy: of a statement that inserts a gigabyte only the first words are looked at.

use std::borrow::Cow;

use super::SqlContext;
use crate::server::{Flavour, Version};

/// Numbers of versions whose comments MariaDB does not look into unless they are marked as its own: MySQL 5.7 and later, whose
/// features it does not have (seen on 10.11: `/*!99999` is passed over, `/*!100100` is not).
const NOT_FOR_MARIADB: std::ops::Range<u32> = 50_700..100_000;

/// Digits of the version in an executable comment: `50701`, `080013`, `100301`.
const VERSION_DIGITS: std::ops::RangeInclusive<usize> = 5..=6;

/// One token, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// What it is.
    pub(super) kind: TokenKind,
    /// The source text, with quotes.
    pub(super) text: &'a str,
    /// Where it begins, bytes from the start of the statement.
    pub(super) start: usize,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A keyword or a name without quotes.
    Word,
    /// A name in backticks, or in `"` under `ANSI_QUOTES`.
    Quoted,
    /// Text, of any introducer but `_charset`, which is a word of its own.
    Text,
    /// `x'0a'`, `0x0a`
    Hex,
    /// `b'101'`, `0b101`
    Bits,
    /// `1`, `1.5`, `.5e-3`; the sign is a symbol.
    Number,
    /// Any other character.
    Symbol,
    /// Quotes or a comment that do not end. Nothing follows.
    Unfinished,
}

/// Walks through a statement. Copies are cheap: a copy looks ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexer<'a> {
    sql: &'a str,
    at: usize,
    ansi_quotes: bool,
    backslash_escapes: bool,
    flavour: Flavour,
    version: Version,
    in_executable: bool,
}

// === impl Token ===

impl<'a> Token<'a> {
    /// Whether it is this word without quotes, in any case.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is this character.
    pub(super) fn is_symbol(&self, symbol: char) -> bool {
        self.kind == TokenKind::Symbol && self.text.starts_with(symbol)
    }

    /// The name that it stands for, `None` where it cannot be one.
    pub(super) fn name(&self) -> Option<Cow<'a, str>> {
        match self.kind {
            TokenKind::Word => Some(Cow::Borrowed(self.text)),
            TokenKind::Quoted => {
                let quote = self.text.get(..1)?;
                let inner = self.inner()?;
                if !inner.contains(quote) {
                    return Some(Cow::Borrowed(inner));
                }
                Some(Cow::Owned(inner.replace(&quote.repeat(2), quote)))
            }
            _ => None,
        }
    }

    /// What stands between the quotes.
    pub(super) fn inner(&self) -> Option<&'a str> {
        let open = self.text.find(['\'', '"', '`'])?;
        let text = self.text.get(open + 1..)?;
        text.get(..text.len().checked_sub(1)?)
    }

    /// The text of a literal in quotes.
    pub(super) fn literal(&self, backslash_escapes: bool) -> Option<String> {
        if self.kind != TokenKind::Text {
            return None;
        }
        let quote = self.text.chars().find(|c| matches!(c, '\'' | '"'))?;
        let mut characters = self.inner()?.chars();
        let mut literal = String::with_capacity(self.text.len());
        while let Some(character) = characters.next() {
            if character == quote {
                // The lexer has seen to it that the second one is there.
                literal.extend(characters.next());
            } else if character == '\\' && backslash_escapes {
                literal.extend(characters.next().map(unescaped));
            } else {
                literal.push(character);
            }
        }
        Some(literal)
    }

    /// The digits of a hexadecimal or bit literal.
    pub(super) fn digits(&self) -> Option<&'a str> {
        match self.kind {
            TokenKind::Hex | TokenKind::Bits => self.inner().or_else(|| self.text.get(2..)),
            _ => None,
        }
    }
}

fn unescaped(character: char) -> char {
    match character {
        '0' => '\0',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'b' => '\u{8}',
        'Z' => '\u{1a}',
        other => other,
    }
}

// === impl Lexer ===

impl<'a> Lexer<'a> {
    pub(super) fn new(sql: &'a str, context: &SqlContext<'_>) -> Self {
        Self {
            sql,
            at: 0,
            ansi_quotes: context.has_ansi_quotes(),
            backslash_escapes: context.has_backslash_escapes(),
            flavour: context.flavour,
            version: context.version,
            in_executable: false,
        }
    }

    /// Whether a backslash in text escapes what follows.
    pub(super) fn backslash_escapes(&self) -> bool {
        self.backslash_escapes
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.sql.as_bytes().get(self.at + ahead).copied().unwrap_or_default()
    }

    fn rest(&self) -> &'a str {
        self.sql.get(self.at..).unwrap_or_default()
    }

    /// Passes over white space and comments; false where a comment does not end.
    fn skip_blank(&mut self) -> bool {
        while self.at < self.sql.len() {
            match (self.byte(0), self.byte(1)) {
                (byte, _) if byte.is_ascii_whitespace() || matches!(byte, 0x0b | 0) => self.at += 1,
                (b'#', _) => self.skip_line(),
                (b'-', b'-') if self.byte(2) <= b' ' => self.skip_line(),
                (b'/', b'*') => {
                    if !self.skip_comment() {
                        return false;
                    }
                }
                (b'*', b'/') if self.in_executable => {
                    self.in_executable = false;
                    self.at += 2;
                }
                _ => return true,
            }
        }
        true
    }

    fn skip_line(&mut self) {
        self.at += self.rest().find('\n').map_or(self.rest().len(), |end| end + 1);
    }

    /// Passes over a comment, or into it where the server looks into it.
    fn skip_comment(&mut self) -> bool {
        if let Some(header) = self.executable_header() {
            self.in_executable = true;
            self.at += header;
            return true;
        }
        let nests = matches!(self.byte(2), b'!') || self.rest().starts_with("/*M!");
        let inside = self.rest().get(2..).unwrap_or_default();
        match comment_end(inside, nests) {
            Some(end) => {
                self.at += 2 + end;
                true
            }
            None => {
                self.at = self.sql.len();
                false
            }
        }
    }

    /// Length of `/*!50701` where the server looks into the comment.
    fn executable_header(&self) -> Option<usize> {
        let rest = self.rest();
        let (body, is_for_mariadb) = match rest.strip_prefix("/*M!") {
            Some(body) => (body, true),
            None => (rest.strip_prefix("/*!")?, false),
        };
        if is_for_mariadb && self.flavour == Flavour::MySql {
            return None;
        }
        let count = body
            .bytes()
            .take(*VERSION_DIGITS.end())
            .take_while(u8::is_ascii_digit)
            .count();
        let header = rest.len() - body.len();
        if !VERSION_DIGITS.contains(&count) {
            return Some(header);
        }
        let number: u32 = body.get(..count)?.parse().ok()?;
        let skipped = self.flavour == Flavour::MariaDb && !is_for_mariadb && NOT_FOR_MARIADB.contains(&number);
        (!skipped && version_of(number) <= self.version).then_some(header + count)
    }

    fn take(&mut self, kind: TokenKind, length: usize) -> Token<'a> {
        let start = self.at;
        self.at += length;
        let text = self.sql.get(start..self.at).unwrap_or_default();
        Token { kind, text, start }
    }

    /// Quotes that do not end: the rest of the statement is of no use.
    fn unfinished(&mut self) -> Token<'a> {
        let length = self.rest().len();
        self.take(TokenKind::Unfinished, length)
    }

    /// A token in quotes that begin `prefix` bytes from here.
    fn take_quoted(&mut self, kind: TokenKind, prefix: usize) -> Token<'a> {
        let quote = self.byte(prefix);
        let escapes = self.backslash_escapes && kind == TokenKind::Text;
        let inside = self.rest().as_bytes().get(prefix + 1..).unwrap_or_default();
        match quoted_end(inside, quote, escapes) {
            Some(end) => self.take(kind, prefix + 1 + end),
            None => self.unfinished(),
        }
    }

    fn take_number_or_word(&mut self, follows_point: bool) -> Token<'a> {
        let rest = self.rest();
        let word = rest.bytes().take_while(|byte| is_word_byte(*byte)).count();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if follows_point || word == 0 {
            return self.take(TokenKind::Word, word.max(1));
        }
        if let Some(kind) = prefixed_number(rest, word) {
            return self.take(kind, word);
        }
        let number = number_length(rest);
        // `2024_orders` and `1st` are names, `1e5` is a number.
        if word > digits && number <= digits {
            return self.take(TokenKind::Word, word);
        }
        self.take(TokenKind::Number, number)
    }

    fn next_token(&mut self) -> Option<Token<'a>> {
        let before = self.at;
        if !self.skip_blank() {
            return Some(Token {
                kind: TokenKind::Unfinished,
                text: self.sql.get(before..).unwrap_or_default(),
                start: before,
            });
        }
        if self.at >= self.sql.len() {
            return None;
        }
        let follows_point = self.at > 0 && self.sql.as_bytes().get(self.at - 1) == Some(&b'.');
        let (first, second) = (self.byte(0), self.byte(1));
        Some(match first {
            b'`' => self.take_quoted(TokenKind::Quoted, 0),
            b'"' if self.ansi_quotes => self.take_quoted(TokenKind::Quoted, 0),
            b'\'' | b'"' => self.take_quoted(TokenKind::Text, 0),
            b'n' | b'N' if second == b'\'' => self.take_quoted(TokenKind::Text, 1),
            b'x' | b'X' if second == b'\'' => self.take_quoted(TokenKind::Hex, 1),
            b'b' | b'B' if second == b'\'' => self.take_quoted(TokenKind::Bits, 1),
            b'0'..=b'9' => self.take_number_or_word(follows_point),
            b'.' if second.is_ascii_digit() && !self.follows_name() => {
                let length = number_length(self.rest());
                self.take(TokenKind::Number, length)
            }
            byte if is_word_byte(byte) => {
                let length = self.rest().bytes().take_while(|byte| is_word_byte(*byte)).count();
                self.take(TokenKind::Word, length)
            }
            _ => self.take(TokenKind::Symbol, 1),
        })
    }

    /// Whether a name ends just here, so that a point does not begin a number.
    fn follows_name(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|index| self.sql.as_bytes().get(index));
        before.is_some_and(|byte| is_word_byte(*byte) || matches!(byte, b'`' | b'"'))
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.next_token()
    }
}

/// The version that a comment's number names.
fn version_of(number: u32) -> Version {
    let part = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    Version::new(part(number / 10_000), part(number / 100 % 100), part(number % 100))
}

/// Bytes of names without quotes: everything beyond ASCII is a letter.
fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

/// `0x0a`, `0b01`: lower case only, as the server has it.
fn prefixed_number(text: &str, word: usize) -> Option<TokenKind> {
    let (kind, is_digit): (_, fn(&u8) -> bool) = match text.as_bytes() {
        [b'0', b'x', ..] => (TokenKind::Hex, u8::is_ascii_hexdigit),
        [b'0', b'b', ..] => (TokenKind::Bits, |byte| matches!(byte, b'0' | b'1')),
        _ => return None,
    };
    let digits = text.as_bytes().get(2..word)?;
    (!digits.is_empty() && digits.iter().all(is_digit)).then_some(kind)
}

/// Length of a number with point and exponent.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits_from = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let mut length = digits_from(0);
    if bytes.get(length) == Some(&b'.') {
        length += 1 + digits_from(length + 1);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits_from(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}

/// Offset behind the closing quote.
fn quoted_end(inside: &[u8], quote: u8, escapes: bool) -> Option<usize> {
    let mut at = 0;
    loop {
        let byte = *inside.get(at)?;
        if byte == b'\\' && escapes {
            at += 2;
        } else if byte != quote {
            at += 1;
        } else if inside.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return Some(at + 1);
        }
    }
}

/// Offset behind the `*/` that ends a comment; a comment that would have been looked into may hold others.
fn comment_end(inside: &str, nests: bool) -> Option<usize> {
    let mut depth = 1_usize;
    let mut at = 0;
    loop {
        let rest = inside.get(at..)?;
        let close = rest.find("*/")?;
        match rest.find("/*").filter(|open| nests && *open < close) {
            Some(open) => {
                depth += 1;
                at += open + 2;
            }
            None => {
                depth -= 1;
                at += close + 2;
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn context(flavour: Flavour, version: Version, sql_mode: u64) -> SqlContext<'static> {
        SqlContext {
            sql_mode,
            ..SqlContext::new("shop", flavour, version)
        }
    }

    fn texts(sql: &str) -> Vec<&str> {
        lexed(sql, &context(Flavour::MySql, Version::new(8, 0, 36), 0))
    }

    fn lexed<'a>(sql: &'a str, context: &SqlContext<'_>) -> Vec<&'a str> {
        Lexer::new(sql, context).map(|token| token.text).collect()
    }

    fn kinds(sql: &str) -> Vec<TokenKind> {
        let context = context(Flavour::MySql, Version::new(8, 0, 36), 0);
        Lexer::new(sql, &context).map(|token| token.kind).collect()
    }

    #[test]
    fn words_names_and_symbols() {
        assert_eq!(texts("DROP TABLE`a``b`.x;"), ["DROP", "TABLE", "`a``b`", ".", "x", ";"]);
        assert_eq!(texts("größe $a _b"), ["größe", "$a", "_b"]);
        assert_eq!(texts("`my-db`.`t`"), ["`my-db`", ".", "`t`"]);
        let token = Lexer::new("`a``b`", &context(Flavour::MySql, Version::new(8, 0, 0), 0))
            .next()
            .unwrap();
        assert_eq!(token.name().unwrap(), "a`b");
    }

    #[test]
    fn numbers_and_names_that_begin_like_them() {
        use TokenKind::{Bits, Hex, Number, Symbol, Word};
        assert_eq!(
            texts("2024_orders 1e5 1.5e-3 .5 1st 0x1f 0b01"),
            ["2024_orders", "1e5", "1.5e-3", ".5", "1st", "0x1f", "0b01"]
        );
        assert_eq!(
            kinds("2024_orders 1e5 1.5e-3 .5 1st 0x1f 0b01"),
            [Word, Number, Number, Number, Word, Hex, Bits]
        );
        assert_eq!(kinds("db.2024"), [Word, Symbol, Word]);
        assert_eq!(kinds("`db`.5a"), [TokenKind::Quoted, Symbol, Word]);
        assert_eq!(texts("-1"), ["-", "1"]);
        assert_eq!(kinds("x'0a' X'' b'1' 0xzz"), [Hex, Hex, Bits, Word]);
    }

    #[test]
    fn literals() {
        let literal = |sql: &str, escapes: bool| {
            let mode = if escapes { 0 } else { super::super::NO_BACKSLASH_ESCAPES };
            let context = context(Flavour::MySql, Version::new(8, 0, 36), mode);
            let mut tokens = Lexer::new(sql, &context);
            let literal = tokens.next().unwrap().literal(escapes).unwrap();
            assert!(tokens.next().is_none(), "{sql}");
            literal
        };
        assert_eq!(literal("'it''s'", true), "it's");
        assert_eq!(literal(r"'a\'b\\\n'", true), "a'b\\\n");
        assert_eq!(literal(r"'a\'", false), "a\\");
        assert_eq!(literal(r#""say ""x"" 'y'""#, true), "say \"x\" 'y'");
        assert_eq!(literal("N'national'", true), "national");
        assert_eq!(literal("''", true), "");
    }

    #[test]
    fn ansi_quotes_are_names() {
        let ansi = context(Flavour::MySql, Version::new(8, 0, 36), super::super::ANSI_QUOTES);
        let token = Lexer::new(r#""or""der""#, &ansi).next().unwrap();
        assert_eq!(
            (token.kind, token.name().unwrap()),
            (TokenKind::Quoted, Cow::from("or\"der"))
        );
    }

    #[test]
    fn comments_are_blank() {
        assert_eq!(texts("/* a */ DROP -- b\n TABLE # c\n t --"), ["DROP", "TABLE", "t"]);
        assert_eq!(texts("# Dum"), [""; 0]);
        assert_eq!(texts("a--1"), ["a", "-", "-", "1"]);
        assert_eq!(texts("a/**/b/*+ hint */c"), ["a", "b", "c"]);
        assert_eq!(kinds("a /* b"), [TokenKind::Word, TokenKind::Unfinished]);
    }

    #[test]
    fn executable_comments_are_as_old_as_the_server() {
        let on = |flavour, version| context(flavour, version, 0);
        let old = on(Flavour::MySql, Version::new(5, 6, 24));
        let new = on(Flavour::MySql, Version::new(8, 0, 36));
        let maria = on(Flavour::MariaDb, Version::new(10, 11, 6));
        let sql = "a /*!50100 b */ /*!80000 c */ /*M! d */ /*!50701 e */ /*! f */ /*!100100 g */ h";
        assert_eq!(lexed(sql, &old), ["a", "b", "f", "h"]);
        assert_eq!(lexed(sql, &new), ["a", "b", "c", "e", "f", "h"]);
        assert_eq!(lexed(sql, &maria), ["a", "b", "d", "f", "g", "h"]);
        assert_eq!(lexed("/*!50001 DROP /* x */ TABLE*/ t", &new), ["DROP", "TABLE", "t"]);
        assert_eq!(lexed("/*!99999 DROP /* x */ TABLE*/ t", &new), ["t"]);
    }

    #[test]
    fn what_does_not_end_is_one_token() {
        use TokenKind::{Unfinished, Word};
        for sql in ["a 'b c", "a `b", "a \"b\\\"", "a x'0", "a 'b\\"] {
            assert_eq!(kinds(sql), [Word, Unfinished], "{sql}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_tokens_and_none_is_invented(sql in "\\PC*|[a-z0-9'\"`*/!M#\\-\\\\ .;()xbN_é]{0,80}", mode in any::<u64>()) {
            for flavour in [Flavour::MySql, Flavour::MariaDb] {
                let context = context(flavour, Version::new(10, 5, 0), mode);
                let mut end = 0;
                for token in Lexer::new(&sql, &context) {
                    prop_assert!(token.start >= end && !token.text.is_empty());
                    prop_assert_eq!(sql.get(token.start..token.start + token.text.len()), Some(token.text));
                    end = token.start + token.text.len();
                    let _seen = (token.name(), token.literal(true), token.literal(false), token.digits());
                }
            }
        }
    }
}
