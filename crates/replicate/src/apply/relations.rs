//! Which tables refer to which by foreign keys, in the whole server: the one reader of them.
//!
//! A foreign key that the server follows by itself (CASCADE, SET NULL) makes changes that no log holds. So in folding
//! and in copying, what sets it off must go its own way, and a tail that set one off cannot be undone row by row. And
//! checks of foreign keys would see states between two commits, so they are off while folded changes run. Read once,
//! and again after every definition.

use std::collections::{HashMap, HashSet};

use mysql_async::{Conn, prelude::Queryable};

use crate::{database::DatabaseError, transaction::Table};

/// A table's schema and name, as the server spells them.
pub(crate) type Name = (String, String);

/// Foreign keys from and to one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Relation {
    /// There are some.
    pub(super) foreign_keys: bool,
    /// When a row goes, rows of other tables change.
    pub(super) cascading_delete: bool,
    /// When one of these columns changes, rows of other tables change.
    pub(super) cascading_update: Vec<String>,
    /// The columns that a key refers to which the server follows at all.
    pub(crate) followed: Vec<String>,
    /// The tables that such keys lead to.
    pub(crate) children: Vec<Name>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Relations {
    /// By schema and table, in small letters: servers differ in whether they tell these apart.
    tables: HashMap<Name, Relation>,
}

/// A rule by which the server changes nothing by itself.
fn changes_nothing(rule: &str) -> bool {
    matches!(rule, "RESTRICT" | "NO ACTION")
}

fn folded(schema: &str, table: &str) -> Name {
    (schema.to_lowercase(), table.to_lowercase())
}

impl Relations {
    /// Reads them.
    pub(crate) async fn read(conn: &mut Conn) -> Result<Relations, DatabaseError> {
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
            let child = (schema.clone(), table.clone());
            let rule = rules.get(&(schema, name, table));
            // A key whose rule is not told is taken for one that the server follows.
            let follows_update = rule.is_none_or(|(update, _)| !changes_nothing(update));
            let follows_delete = rule.is_none_or(|(_, delete)| !changes_nothing(delete));
            relation.cascading_delete |= follows_delete;
            if follows_update {
                relation.cascading_update.push(column.clone());
            }
            if follows_update || follows_delete {
                relation.followed.push(column);
                if !relation.children.contains(&child) {
                    relation.children.push(child);
                }
            }
        }
        Ok(Relations { tables })
    }

    /// Those of one table; `None`: it has none.
    pub(crate) fn of(&self, table: &Table) -> Option<&Relation> {
        self.tables.get(&folded(&table.schema, &table.name))
    }

    /// Everything that a cascade from `table` can reach.
    pub(crate) fn descendants(&self, table: &Table) -> HashSet<Name> {
        let (mut all, mut next) = (HashSet::new(), vec![folded(&table.schema, &table.name)]);
        while let Some(parent) = next.pop() {
            for child in self.tables.get(&parent).into_iter().flat_map(|relation| &relation.children) {
                if all.insert(child.clone()) {
                    next.push(folded(&child.0, &child.1));
                }
            }
        }
        all
    }
}
