//! Patterns that select tables: `public.orders`, `public.order_*`, `*.audit_?`.
//!
//! `*` stands for any characters within one part of the name, `?` for one. A pattern has as many parts as the names it
//! is compared with; without a dot it means the table alone and a default schema is put before it by whoever knows one.

/// One pattern, split into its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePattern {
    text: String,
    schema: Option<String>,
    table: String,
}

// === impl TablePattern ===

impl TablePattern {
    /// Reads a pattern; `default_schema` stands where it names none. A part may be quoted (`"a.b"`) to hold a dot.
    pub fn new(text: &str, default_schema: Option<&str>) -> Self {
        let (schema, table) = split_qualified(text);
        Self {
            text: text.to_owned(),
            schema: schema.or_else(|| default_schema.map(str::to_owned)),
            table,
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The patterns of the schema, where there is one, and of the table.
    pub fn parts(&self) -> (Option<&str>, &str) {
        (self.schema.as_deref(), &self.table)
    }

    /// Schema and table, where it fits one table alone.
    pub fn exact(&self) -> Option<(&str, &str)> {
        let schema = self.schema.as_deref()?;
        let is_name = |part: &str| !part.contains(['*', '?']);
        (is_name(schema) && is_name(&self.table)).then_some((schema, self.table.as_str()))
    }

    /// True where schema and table both fit; a pattern without a schema fits any.
    pub fn matches(&self, schema: &str, table: &str) -> bool {
        let schema_fits = self
            .schema
            .as_deref()
            .is_none_or(|pattern| glob_matches(pattern, schema));
        schema_fits && glob_matches(&self.table, table)
    }
}

/// Splits at the first dot that is outside quotes, and takes the quotes off.
fn split_qualified(text: &str) -> (Option<String>, String) {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            '.' if !quoted && parts.len() == 1 => parts.push(String::new()),
            other => {
                if let Some(part) = parts.last_mut() {
                    part.push(other);
                }
            }
        }
    }
    let table = parts.pop().unwrap_or_default();
    (parts.pop(), table)
}

/// True where a name fits a pattern as a whole: `*` stands for any characters, `?` for one.
///
/// Greedy, with one point to fall back to: linear in practice, quadratic at worst.
pub fn glob_matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut seen) = (0, 0);
    let mut fallback: Option<(usize, usize)> = None;
    while let Some(character) = name.get(seen) {
        match pattern.get(at) {
            Some('*') => {
                fallback = Some((at, seen));
                at += 1;
                continue;
            }
            Some(wanted) if *wanted == '?' || wanted == character => {
                at += 1;
                seen += 1;
                continue;
            }
            Some(_) | None => {}
        }
        let Some((star, from)) = fallback else {
            return false;
        };
        fallback = Some((star, from + 1));
        at = star + 1;
        seen = from + 1;
    }
    pattern.iter().skip(at).all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stay_within_their_part() {
        let cases = [
            ("public.orders", "public", "orders", true),
            ("public.orders", "public", "orders2", false),
            ("public.order_*", "public", "order_lines", true),
            ("public.order_*", "sales", "order_lines", false),
            ("*.audit_?", "sales", "audit_1", true),
            ("*.audit_?", "sales", "audit_12", false),
            ("orders", "public", "orders", true),
            ("orders", "sales", "orders", false),
            ("public.*a*b", "public", "xaybzb", true),
            ("\"odd.schema\".t", "odd.schema", "t", true),
            ("public.Orders", "public", "orders", false),
        ];
        for (pattern, schema, table, expected) in cases {
            let matched = TablePattern::new(pattern, Some("public")).matches(schema, table);
            assert_eq!(matched, expected, "{pattern} against {schema}.{table}");
        }
        assert!(TablePattern::new("orders", None).matches("any", "orders"));
    }

    #[test]
    fn some_patterns_fit_one_table_alone() {
        let exact = |text: &str| {
            TablePattern::new(text, Some("public"))
                .exact()
                .map(|(schema, table)| format!("{schema}/{table}"))
        };
        assert_eq!(exact("orders").as_deref(), Some("public/orders"));
        assert_eq!(exact("\"a.b\".c").as_deref(), Some("a.b/c"));
        assert_eq!((exact("public.*"), exact("s?.t")), (None, None));
        assert_eq!(TablePattern::new("t", None).parts(), (None, "t"));
    }
}
