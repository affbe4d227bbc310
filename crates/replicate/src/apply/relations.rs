//! Which tables refer to which by foreign keys, in the whole server.
//!
//! Folding needs it for two things: a foreign key that the server follows by itself (CASCADE, SET NULL) makes changes
//! that no log holds, so what sets it off must go its own way, in order; and checks of foreign keys would see states
//! between two commits, so they are off while folded changes run. Read once, and again after every definition.

use std::collections::HashMap;

use mysql_async::{Conn, prelude::Queryable};

use crate::{database::DatabaseError, transaction::Table};

/// Foreign keys from and to one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Relation {
    /// There are some.
    pub(super) foreign_keys: bool,
    /// When a row goes, rows of other tables change.
    pub(super) cascading_delete: bool,
    /// When one of these columns changes, rows of other tables change.
    pub(super) cascading_update: Vec<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Relations {
    /// By schema and table, in small letters: servers differ in whether they tell these apart.
    tables: HashMap<(String, String), Relation>,
}

/// A rule by which the server changes nothing by itself.
fn changes_nothing(rule: &str) -> bool {
    matches!(rule, "RESTRICT" | "NO ACTION")
}

fn folded(schema: &str, table: &str) -> (String, String) {
    (schema.to_lowercase(), table.to_lowercase())
}

impl Relations {
    pub(super) async fn read(conn: &mut Conn) -> Result<Relations, DatabaseError> {
        let rules: Vec<(String, String, String, String, String)> = conn
            .query("SELECT CONSTRAINT_SCHEMA, CONSTRAINT_NAME, TABLE_NAME, UPDATE_RULE, DELETE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS")
            .await?;
        let rules: HashMap<(String, String, String), (String, String)> = rules
            .into_iter()
            .map(|(schema, name, table, update, delete)| ((schema, name, table), (update, delete)))
            .collect();
        let columns: Vec<(String, String, String, String, String, String)> = conn
            .query("SELECT TABLE_SCHEMA, CONSTRAINT_NAME, TABLE_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL")
            .await?;
        let mut tables: HashMap<_, Relation> = HashMap::new();
        for (schema, name, table, parent_schema, parent, column) in columns {
            tables.entry(folded(&schema, &table)).or_default().foreign_keys = true;
            let relation = tables.entry(folded(&parent_schema, &parent)).or_default();
            relation.foreign_keys = true;
            let rule = rules.get(&(schema, name, table));
            // A key whose rule is not told is taken for one that the server follows.
            if rule.is_none_or(|(update, _)| !changes_nothing(update)) {
                relation.cascading_update.push(column);
            }
            relation.cascading_delete |= rule.is_none_or(|(_, delete)| !changes_nothing(delete));
        }
        Ok(Relations { tables })
    }

    /// Those of one table.
    pub(super) fn of(&self, table: &Table) -> Relation {
        self.tables.get(&folded(&table.schema, &table.name)).cloned().unwrap_or_default()
    }
}
