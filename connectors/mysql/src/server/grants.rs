//! What our user may do, from the statements that `SHOW GRANTS` prints: the only description that every version has and that every
//! user may see of itself.

use std::collections::BTreeSet;

/// What a user was granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    grants: Vec<Grant>,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    /// It takes away instead (MySQL's `partial_revokes`).
    revokes: bool,
    /// In capitals: `SELECT`, `ALL PRIVILEGES`.
    privileges: BTreeSet<String>,
    /// The same for single columns, in small letters, which are not enough to read rows.
    columns: BTreeSet<(String, String)>,
    scope: Scope,
}

/// What a statement holds for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    Everything,
    /// A pattern as in `LIKE`.
    Schemas(String),
    Table(String, String),
}

const ALL: &str = "ALL PRIVILEGES";

// === impl Grants ===

impl Grants {
    /// Reads statements. Those about roles, routines and proxies are passed over.
    pub(crate) fn parse<'a>(statements: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            grants: statements.into_iter().filter_map(Grant::parse).collect(),
        }
    }

    /// May use one of these privileges on the whole server.
    pub(crate) fn anywhere(&self, privileges: &[&str]) -> bool {
        let mut global = self
            .grants
            .iter()
            .filter(|grant| grant.scope == Scope::Everything && !grant.revokes);
        global.any(|grant| privileges.iter().any(|privilege| grant.gives(privilege)))
    }

    /// May use a privilege on a table.
    pub(crate) fn on_table(&self, privilege: &str, schema: &str, table: &str) -> bool {
        let concerned = |grant: &&Grant| grant.gives(privilege) && grant.scope.covers(schema, table);
        let (revoked, granted): (Vec<&Grant>, Vec<&Grant>) =
            self.grants.iter().filter(concerned).partition(|grant| grant.revokes);
        // A partial revoke restricts what was granted on everything, and nothing narrower.
        let narrower = granted.iter().any(|grant| grant.scope != Scope::Everything);
        narrower || (!granted.is_empty() && revoked.is_empty())
    }

    /// May use a privilege on a column of a table.
    pub(crate) fn on_column(&self, privilege: &str, schema: &str, table: &str, column: &str) -> bool {
        let wanted = (privilege.to_owned(), column.to_lowercase());
        let mut grants = self.grants.iter().filter(|grant| grant.scope.covers(schema, table));
        self.on_table(privilege, schema, table) || grants.any(|grant| grant.columns.contains(&wanted))
    }

    /// May do everything.
    pub(crate) fn is_superuser(&self) -> bool {
        self.anywhere(&["SUPER"])
    }
}

// === impl Grant ===

impl Grant {
    fn parse(statement: &str) -> Option<Self> {
        let (revokes, rest) = match statement.strip_prefix("GRANT ") {
            Some(rest) => (false, rest),
            None => (true, statement.strip_prefix("REVOKE ")?),
        };
        let words = split_outside_quotes(rest, " ON ");
        let [privileges, after] = words.as_slice() else {
            return None;
        };
        let separator = if revokes { " FROM " } else { " TO " };
        let object = split_outside_quotes(after, separator).into_iter().next()?;
        let (mut whole, mut columns) = (BTreeSet::new(), BTreeSet::new());
        for privilege in split_outside_quotes(privileges, ",") {
            match privilege.trim().split_once('(') {
                None => {
                    whole.insert(privilege.trim().to_ascii_uppercase());
                }
                Some((privilege, list)) => columns.extend(of_columns(privilege, list)),
            }
        }
        Some(Self {
            revokes,
            privileges: whole,
            columns,
            scope: Scope::parse(object)?,
        })
    }

    fn gives(&self, privilege: &str) -> bool {
        self.privileges.contains(privilege) || self.privileges.contains(ALL)
    }
}

// === impl Scope ===

impl Scope {
    fn parse(object: &str) -> Option<Self> {
        let parts = split_outside_quotes(object, ".");
        match parts.as_slice() {
            ["*", "*"] => Some(Self::Everything),
            [schema, "*"] => Some(Self::Schemas(unquote(schema)?)),
            [schema, table] => Some(Self::Table(unquote(schema)?, unquote(table)?)),
            _ => None,
        }
    }

    fn covers(&self, schema: &str, table: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Schemas(pattern) => is_like(pattern, schema),
            Self::Table(own_schema, own_table) => own_schema == schema && own_table == table,
        }
    }
}

/// A privilege for each column of a list, whose opening parenthesis is gone.
fn of_columns(privilege: &str, list: &str) -> Vec<(String, String)> {
    let privilege = privilege.trim().to_ascii_uppercase();
    let list = list.trim_end().trim_end_matches(')');
    let columns = split_outside_quotes(list, ",").into_iter();
    columns
        .filter_map(|column| {
            // Old servers print names without quotes.
            let name = unquote(column).or_else(|| Some(column.trim().to_owned()))?;
            Some((privilege.clone(), name.to_lowercase()))
        })
        .collect()
}

/// Splits where the separator stands outside quotes of any kind and outside parentheses.
fn split_outside_quotes<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let (mut begins, mut quote, mut depth) = (0, None, 0_u32);
    let mut skip_until = 0;
    for (at, character) in text.char_indices() {
        let outside = quote.is_none() && depth == 0;
        let rest = text.get(at..).unwrap_or_default();
        if at >= skip_until && outside && rest.starts_with(separator) {
            parts.extend(text.get(begins..at));
            begins = at + separator.len();
            skip_until = begins;
        }
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, '`' | '\'' | '"') => quote = Some(character),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    parts.extend(text.get(begins..));
    parts
}

fn unquote(text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix('`')?.strip_suffix('`')?;
    Some(inner.replace("``", "`"))
}

/// `%` for any characters, `_` for one, a backslash before either for itself.
fn is_like(pattern: &str, name: &str) -> bool {
    let mut pattern = pattern.chars();
    let Some(first) = pattern.next() else {
        return name.is_empty();
    };
    let mut characters = name.chars();
    let rest = |characters: &std::str::Chars<'_>| is_like(pattern.as_str(), characters.as_str());
    match first {
        '%' => loop {
            if rest(&characters) {
                return true;
            }
            if characters.next().is_none() {
                return false;
            }
        },
        '_' => characters.next().is_some() && rest(&characters),
        '\\' => {
            let literal = pattern.next().unwrap_or('\\');
            characters.next() == Some(literal) && is_like(pattern.as_str(), characters.as_str())
        }
        other => characters.next() == Some(other) && rest(&characters),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_of_either_dialect() {
        let grants = Grants::parse([
            "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'tailrace'@'%' IDENTIFIED BY PASSWORD '*94 ON x.y TO z'",
            "GRANT XA_RECOVER_ADMIN,BACKUP_ADMIN ON *.* TO `tailrace`@`%` WITH GRANT OPTION",
            "GRANT SELECT, LOCK TABLES ON `shop\\_1`.* TO `tailrace`@`%`",
            "GRANT SELECT ON `crm`.`Or ON der``s` TO `tailrace`@`%`",
            "GRANT SELECT (`id`, `name`), INSERT ON `hr`.`people` TO `tailrace`@`%`",
            "GRANT `reader`@`%` TO `tailrace`@`%`",
            "GRANT PROXY ON ''@'' TO 'root'@'localhost' WITH GRANT OPTION",
            "GRANT EXECUTE ON PROCEDURE `shop`.`p` TO `tailrace`@`%`",
        ]);
        assert!(grants.anywhere(&["BINLOG MONITOR", "REPLICATION CLIENT"]));
        assert!(grants.anywhere(&["BACKUP_ADMIN"]) && !grants.anywhere(&["RELOAD"]) && !grants.is_superuser());
        assert!(grants.on_table("SELECT", "shop_1", "any") && !grants.on_table("SELECT", "shopx1", "any"));
        assert!(grants.on_table("LOCK TABLES", "shop_1", "any"));
        assert!(grants.on_table("SELECT", "crm", "Or ON der`s") && !grants.on_table("SELECT", "crm", "other"));
        // Single columns are not enough to read rows.
        assert!(!grants.on_table("SELECT", "hr", "people") && grants.on_table("INSERT", "hr", "people"));
        assert!(
            grants.on_column("SELECT", "hr", "people", "Name") && !grants.on_column("SELECT", "hr", "people", "pay")
        );
        assert!(
            grants.on_column("INSERT", "hr", "people", "pay") && !grants.on_column("SELECT", "hr", "other", "name")
        );
    }

    #[test]
    fn everything_and_what_is_taken_away_again() {
        let root = Grants::parse(["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"]);
        assert!(root.is_superuser() && root.anywhere(&["RELOAD"]) && root.on_table("SELECT", "a", "b"));
        let partial = Grants::parse(["GRANT SELECT ON *.* TO `u`@`%`", "REVOKE SELECT ON `hr`.* FROM `u`@`%`"]);
        assert!(partial.on_table("SELECT", "shop", "t") && !partial.on_table("SELECT", "hr", "t"));
        assert!(partial.anywhere(&["SELECT"]));
        assert!(!Grants::parse(["GRANT USAGE ON *.* TO `u`@`%`"]).on_table("SELECT", "a", "b"));
    }

    #[test]
    fn patterns_of_schemas() {
        for (pattern, name, fits) in [
            ("shop%", "shop", true),
            ("shop%", "shopping", true),
            ("%op", "shop", true),
            ("s_op", "shop", true),
            ("s\\_op", "shop", false),
            ("s\\_op", "s_op", true),
            ("shop", "shops", false),
            ("", "", true),
            ("\\", "\\", true),
        ] {
            assert_eq!(is_like(pattern, name), fits, "{pattern} {name}");
        }
    }
}
