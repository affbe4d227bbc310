//! What a statement's text is about, told from its first words.
//!
//! In a log of rows only definitions, transaction control and administration are written as text. This module
//! reads just as many words as it takes to tell them apart and to find the database they belong to.

/// What a statement is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// `BEGIN`.
    Begin,
    /// `COMMIT`.
    Commit,
    /// `ROLLBACK` of a whole transaction.
    Rollback,
    /// `SAVEPOINT` or `ROLLBACK TO`, written so that it means the same in any `sql_mode`.
    Savepoint(String),
    /// Accounts and privileges. They never travel: each site has its own.
    Account,
    /// Concerns this server only (`FLUSH`, `ANALYZE`, temporary tables).
    Local,
    /// Defines something that may travel.
    Definition {
        /// The database that it is about, if there is one.
        schema: String,
    },
    /// Defines something that cannot be replicated by rows; with its kind (`TRIGGER`).
    Refused {
        /// The database that it is about.
        schema: String,
        /// What it would define, and why that cannot be.
        why: &'static str,
    },
    /// A step of an XA transaction.
    TwoPhase,
    /// Changes rows by a statement.
    Data,
}

/// What `sql` is, run with the default database `schema`.
pub fn classify(sql: &[u8], schema: &str) -> Class {
    let tokens = tokens(sql);
    let word = |i: usize| tokens.get(i).map_or("", Token::keyword);
    let definition = |at: usize| Class::Definition { schema: schema_of(&tokens, at, schema) };
    match (word(0), word(1)) {
        ("BEGIN", _) | ("START", "TRANSACTION") => Class::Begin,
        ("COMMIT", _) => Class::Commit,
        ("ROLLBACK", "TO") | ("SAVEPOINT", _) => savepoint(&tokens),
        ("ROLLBACK", _) => Class::Rollback,
        ("GRANT" | "REVOKE", _) | ("SET", "PASSWORD" | "DEFAULT") => Class::Account,
        (
            "FLUSH" | "ANALYZE" | "OPTIMIZE" | "REPAIR" | "RESET" | "PURGE" | "RELEASE" | "INSTALL"
            | "UNINSTALL",
            _,
        ) => Class::Local,
        ("XA", _) => Class::TwoPhase,
        ("TRUNCATE", "TABLE") => definition(2),
        ("TRUNCATE", _) => definition(1),
        ("RENAME", "USER") => Class::Account,
        ("RENAME", "TABLE" | "TABLES") => definition(2),
        ("CREATE" | "ALTER" | "DROP", _) => define(&tokens, schema),
        _ => Class::Data,
    }
}

/// The name is quoted as the writer's `sql_mode` would have it; here it is quoted as every mode understands it.
fn savepoint(tokens: &[Token]) -> Class {
    let back = tokens.first().is_some_and(|t| t.keyword() == "ROLLBACK");
    let verb = if back { "ROLLBACK TO" } else { "SAVEPOINT" };
    let name = tokens.get(if back { 2 } else { 1 }).filter(|t| t.keyword() != "SAVEPOINT").or(tokens.get(3));
    let name = name.and_then(Token::name).unwrap_or_default().replace('`', "``");
    Class::Savepoint(format!("{verb} `{name}`"))
}

fn define(tokens: &[Token], schema: &str) -> Class {
    let mut temporary = false;
    for (i, token) in tokens.iter().enumerate().skip(1) {
        let at = i + 1;
        let refused = |why| Class::Refused { schema: schema_of(tokens, at, schema), why };
        return match token.keyword() {
            "TEMPORARY" => {
                temporary = true;
                continue;
            }
            "TABLE" | "TABLES" | "SEQUENCE" if temporary => Class::Local,
            "TABLE" | "TABLES" | "VIEW" | "PROCEDURE" | "FUNCTION" | "PACKAGE" => {
                Class::Definition { schema: schema_of(tokens, at, schema) }
            }
            "DATABASE" | "SCHEMA" => {
                let named = tokens.get(after_if(tokens, at)).and_then(Token::name);
                let named = named.filter(|n| !DATABASE_OPTIONS.contains(&n.to_uppercase().as_str()));
                Class::Definition { schema: named.unwrap_or(schema).to_owned() }
            }
            "INDEX" => {
                let on = tokens.iter().skip(at).position(|t| t.keyword() == "ON");
                Class::Definition { schema: schema_of(tokens, on.map_or(at, |n| at + n + 1), schema) }
            }
            "USER" | "ROLE" => Class::Account,
            "SERVER" | "TABLESPACE" | "LOGFILE" | "UNDO" | "RESOURCE" | "BINARY" | "INSTANCE" => Class::Local,
            "TRIGGER" if tokens.first().is_some_and(|t| t.keyword() != "DROP") => refused(
                "a trigger: it would fire again on the standby, for rows that the stream brings as well",
            ),
            "EVENT" if tokens.first().is_some_and(|t| t.keyword() != "DROP") => refused(
                "an event: it would run on the standby, too; let the application or a job do its work",
            ),
            "SEQUENCE" => refused("a sequence: its numbers do not travel; use AUTO_INCREMENT"),
            "TRIGGER" | "EVENT" => Class::Local,
            _ => continue,
        };
    }
    Class::Definition { schema: schema.to_owned() }
}

const DATABASE_OPTIONS: [&str; 6] = ["CHARACTER", "CHARSET", "DEFAULT", "COLLATE", "COMMENT", "UPGRADE"];

/// The place behind `IF [NOT] EXISTS`, if that stands at `at`.
fn after_if(tokens: &[Token], at: usize) -> usize {
    let word = |i: usize| tokens.get(i).map_or("", Token::keyword);
    match (word(at), word(at + 1), word(at + 2)) {
        ("IF", "EXISTS", _) => at + 2,
        ("IF", "NOT", "EXISTS") => at + 3,
        _ => at,
    }
}

/// The database of the object that is named at `at`.
fn schema_of(tokens: &[Token], at: usize, default: &str) -> String {
    let at = after_if(tokens, at);
    let dotted = tokens.get(at + 1).is_some_and(|t| *t == Token::Sign(b'.'));
    match tokens.get(at).and_then(Token::name) {
        Some(first) if dotted => first.to_owned(),
        _ => default.to_owned(),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// An unquoted word, as written and in capitals.
    Word(String, String),
    /// A quoted name.
    Quoted(String),
    /// Anything else.
    Sign(u8),
}

impl Token {
    fn keyword(&self) -> &str {
        match self {
            Token::Word(_, capitals) => capitals,
            _ => "",
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Token::Word(name, _) | Token::Quoted(name) => Some(name),
            Token::Sign(_) => None,
        }
    }
}

/// How many tokens are enough: a definition names its object long before.
const ENOUGH: usize = 48;

fn tokens(sql: &[u8]) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = sql;
    while found.len() < ENOUGH {
        match rest {
            [] => break,
            [b'/', b'*', b'M', b'!', after @ ..] | [b'/', b'*', b'!', after @ ..] => {
                // A comment that the server executes: its version is skipped, its text read.
                rest = &after[run(after, |b| b.is_ascii_digit())..];
            }
            [b'*', b'/', after @ ..] => rest = after,
            [b'/', b'*', after @ ..] => {
                let end = after.windows(2).position(|w| w == b"*/").map_or(after.len(), |n| n + 2);
                rest = &after[end..];
            }
            [b'#', after @ ..] | [b'-', b'-', b' ' | b'\t' | b'\n', after @ ..] => {
                rest = &after[run(after, |b| b != b'\n')..];
            }
            [quote @ (b'`' | b'"' | b'\''), after @ ..] => {
                let (text, length) = quoted(after, *quote);
                found.push(Token::Quoted(text));
                rest = &after[length..];
            }
            [b, after @ ..] if b.is_ascii_whitespace() || *b == 0 => rest = after,
            [b, after @ ..] => {
                let length =
                    run(rest, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$') || b >= 0x80);
                if length == 0 {
                    found.push(Token::Sign(*b));
                    rest = after;
                } else {
                    let word = String::from_utf8_lossy(&rest[..length]).into_owned();
                    let capitals = word.to_ascii_uppercase();
                    found.push(Token::Word(word, capitals));
                    rest = &rest[length..];
                }
            }
        }
    }
    found
}

fn run(bytes: &[u8], of: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|b| !of(*b)).unwrap_or(bytes.len())
}

/// The text up to the closing quote (doubled quotes stand for one), and the bytes that it takes.
fn quoted(bytes: &[u8], quote: u8) -> (String, usize) {
    let (mut text, mut i) = (Vec::new(), 0);
    while let Some(b) = bytes.get(i) {
        if *b == quote {
            if bytes.get(i + 1) != Some(&quote) {
                return (String::from_utf8_lossy(&text).into_owned(), i + 1);
            }
            i += 1;
        }
        text.push(*b);
        i += 1;
    }
    (String::from_utf8_lossy(&text).into_owned(), bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expected: Class) {
        assert_eq!(classify(sql.as_bytes(), "shop"), expected, "{sql}");
    }

    fn about(schema: &str) -> Class {
        Class::Definition { schema: schema.into() }
    }

    #[test]
    fn a_statement_is_known_by_its_first_words() {
        check("BEGIN", Class::Begin);
        check(" /* hi */ commit", Class::Commit);
        check("ROLLBACK TO `a`", Class::Savepoint("ROLLBACK TO `a`".into()));
        check("rollback to savepoint a", Class::Savepoint("ROLLBACK TO `a`".into()));
        check("SAVEPOINT \"s `1\"", Class::Savepoint("SAVEPOINT `s ``1`".into()));
        check("GRANT ALL ON *.* TO 'a'@'%'", Class::Account);
        check("CREATE USER a", Class::Account);
        check("ALTER USER 'ticketing'@'%' ACCOUNT LOCK", Class::Account);
        check("DROP ROLE x", Class::Account);
        check("SET PASSWORD FOR a = 'x'", Class::Account);
        check("FLUSH TABLES", Class::Local);
        check("CREATE TEMPORARY TABLE t (a INT)", Class::Local);
        check("DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `t`", Class::Local);
        check("INSERT INTO t VALUES (1)", Class::Data);
        check("", Class::Data);
    }

    #[test]
    fn a_definition_names_its_database_or_takes_the_default() {
        check("CREATE TABLE t (a INT)", about("shop"));
        check("create or replace table if not exists `other` . `t``x` (a INT)", about("other"));
        check("DROP TABLE IF EXISTS `ghostlight`.`x` /* generated by server */", about("ghostlight"));
        check("ALTER TABLE t ADD COLUMN trigger_at INT", about("shop"));
        check("CREATE DATABASE IF NOT EXISTS ghostlight", about("ghostlight"));
        check("ALTER DATABASE CHARACTER SET utf8mb4", about("shop"));
        check("DROP SCHEMA `a`", about("a"));
        check("CREATE UNIQUE INDEX i ON mysql.t (a)", about("mysql"));
        check("DROP INDEX `i` ON `t`", about("shop"));
        check("TRUNCATE b.t", about("b"));
        check("TRUNCATE TABLE t", about("shop"));
        check("RENAME TABLE a.t TO b.t", about("a"));
        check(
            "CREATE ALGORITHM=UNDEFINED DEFINER=`table`@`%` SQL SECURITY DEFINER VIEW x.v AS SELECT 1",
            about("x"),
        );
        check("CREATE DEFINER=root@localhost PROCEDURE p() BEGIN END", about("shop"));
    }

    #[test]
    fn what_rows_cannot_carry_is_refused_by_its_kind() {
        for sql in
            ["CREATE DEFINER=`a`@`b` TRIGGER t BEFORE INSERT ON x", "CREATE EVENT e", "CREATE SEQUENCE s"]
        {
            let class = classify(sql.as_bytes(), "shop");
            assert!(matches!(class, Class::Refused { .. }), "{sql}: {class:?}");
        }
    }
}
