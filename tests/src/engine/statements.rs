//! Statements out of a script: where a semicolon ends one, and where it is inside of a literal, a name, a function's body or
//! a comment (PostgreSQL documentation, "Lexical Structure"; MySQL quotes names with backquotes).

/// The statements of a script, without the semicolons between them.
pub(super) fn split(script: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut statement = String::new();
    let mut rest = script;
    while let Some(character) = rest.chars().next() {
        if character == ';' {
            statements.push(std::mem::take(&mut statement));
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let length = length_of_token(rest).max(character.len_utf8()).min(rest.len());
        let (token, after) = rest.split_at(length);
        statement.push_str(token);
        rest = after;
    }
    statements.push(statement);
    let statements = statements.into_iter().map(|statement| statement.trim().to_owned());
    statements.filter(|statement| !statement.is_empty()).collect()
}

/// How far the literal, name or comment reaches that begins here; 0 where none does.
fn length_of_token(text: &str) -> usize {
    for quote in ["'", "\"", "`"] {
        if let Some(inside) = text.strip_prefix(quote) {
            // A doubled quote ends one literal and begins the next, which comes to the same.
            return inside.find(quote).map_or(text.len(), |end| end + 2);
        }
    }
    for (begin, end) in [("--", "\n"), ("/*", "*/")] {
        if text.starts_with(begin) {
            return text.find(end).map_or(text.len(), |at| at + end.len());
        }
    }
    let Some(tag) = dollar_tag(text) else { return 0 };
    let inside = text.get(tag.len()..).unwrap_or_default();
    inside.find(tag).map_or(text.len(), |end| end + 2 * tag.len())
}

/// `$$` or `$body$`, where the text begins with one.
fn dollar_tag(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('$')?;
    let name = inside.find('$')?;
    let tag = inside.get(..name)?;
    let is_name = tag
        .chars()
        .all(|character| character.is_alphanumeric() || character == '_');
    is_name.then(|| text.get(..name + 2)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_inside_of_something_end_nothing() {
        let script = "a 'x;''y;' b; \"c;\" -- d;\n e; do $$ f; $$; /* g; */ h $i$ $$;$$ $i$;\n;";
        let expected = [
            "a 'x;''y;' b",
            "\"c;\" -- d;\n e",
            "do $$ f; $$",
            "/* g; */ h $i$ $$;$$ $i$",
        ];
        assert_eq!(split(script), expected);
    }

    #[test]
    fn what_is_not_closed_reaches_to_the_end() {
        for script in ["'a; é", "$$ a;", "/* a;", "-- a;", "$1 a é"] {
            assert_eq!(split(script), [script]);
        }
    }
}
