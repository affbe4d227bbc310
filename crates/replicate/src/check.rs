//! What must be true of a database before its answers may be trusted (live checks of one database, and of two).
//!
//! [`gather`] reads facts, [`judge`] and [`compare`] judge them: every requirement is one line there, with what to do
//! when it is not met. Nothing here changes anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use model::{
    Site,
    topology::{Policy, WithoutPrimaryKey},
};
use mysql_async::{Conn, Row, prelude::Queryable};
use serde::Serialize;

use crate::{
    database::DatabaseError,
    dialect::{self, Dialect},
    fence,
    filter::APPLICATIONS_SQL,
};

/// What was read of one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The server's variables, by lower-case name.
    pub variables: BTreeMap<String, String>,
    /// The application's tables that are not in InnoDB, with their engine: `shop.log (MyISAM)`.
    pub other_engines: Vec<String>,
    /// The application's tables without a primary key.
    pub without_primary_key: Vec<String>,
    /// The application's triggers, events and sequences.
    pub not_replicable: Vec<String>,
    /// Views and routines that run in the name of an account other than the agent's.
    pub others_definers: Vec<String>,
    /// What `SHOW GRANTS` says of the agent's account.
    pub own_grants: Vec<String>,
    /// Whether the application's account exists.
    pub application_account: bool,
    /// The grants of every account that is not the server's own, by `user@host`.
    pub accounts: BTreeMap<String, Vec<String>>,
}

/// One requirement, met or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whose database; `None`: both, or neither.
    pub site: Option<Site>,
    /// The requirement's name.
    pub check: String,
    /// How it stands.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// How a requirement stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum Verdict {
    /// It is met.
    Ok {
        /// What was found.
        found: String,
    },
    /// It is not met.
    Wrong {
        /// What was found.
        found: String,
        /// What to do.
        fix: String,
    },
    /// It could not be seen.
    Unreachable {
        /// What did not answer, and what to do.
        why: String,
    },
}

/// Variables that must have exactly this value, and why.
const REQUIRED: [(&str, &[&str], &str); 6] = [
    ("log_bin", &["ON", "1"], "without a binary log nothing can be replicated"),
    ("binlog_format", &["ROW"], "statements do not say which rows they changed"),
    ("binlog_row_image", &["FULL"], "a conflict can only be seen against the whole row before"),
    ("binlog_row_metadata", &["FULL"], "the stream is decoded against the schema that stands in it"),
    ("sync_binlog", &["1"], "a commit that the log loses in a power failure was already acknowledged"),
    (
        "innodb_flush_log_at_trx_commit",
        &["1"],
        "a commit that InnoDB loses in a power failure was already acknowledged",
    ),
];

/// Variables that must be the same at both sites.
const EQUAL: [&str; 8] = [
    "sql_mode",
    "time_zone",
    "system_time_zone",
    "character_set_server",
    "collation_server",
    "lower_case_table_names",
    "explicit_defaults_for_timestamp",
    "log_bin_trust_function_creators",
];

/// Privileges that the agent needs on `*.*`; any name of a line will do.
const PRIVILEGES: [(&[&str], &str); 16] = [
    (&["REPLICATION SLAVE"], "reading the log"),
    (&["BINLOG MONITOR", "REPLICATION CLIENT", "SUPER"], "finding the end of the log"),
    (&["CONNECTION ADMIN", "CONNECTION_ADMIN", "SUPER"], "ending the application's sessions"),
    (&["PROCESS"], "seeing the application's sessions"),
    (&["CREATE USER"], "locking the application's account"),
    (&["RELOAD"], "taking a consistent snapshot"),
    (&["SELECT"], "reading"),
    (&["INSERT"], "applying"),
    (&["UPDATE"], "applying"),
    (&["DELETE"], "applying"),
    (&["CREATE"], "applying DDL"),
    (&["DROP"], "applying DDL"),
    (&["ALTER"], "applying DDL"),
    (&["INDEX"], "applying DDL"),
    (&["REFERENCES"], "applying DDL"),
    (&["LOCK TABLES"], "taking a consistent snapshot"),
];

/// Privileges to define something in another account's name: MariaDB's, and MySQL's over time.
const DEFINING: [&str; 4] = ["SET USER", "SET_ANY_DEFINER", "SET_USER_ID", "SUPER"];

/// Accounts that belong to the server or its operator, not to the service.
const SERVERS_ACCOUNTS: [&str; 8] = [
    "root",
    "mysql",
    "mariadb.sys",
    "mysql.sys",
    "mysql.session",
    "mysql.infoschema",
    "PUBLIC",
    "healthcheck",
];

/// Reads everything that the judgement needs.
pub async fn gather(conn: &mut Conn, application_user: &str) -> Result<Facts, DatabaseError> {
    let mut facts = Facts::default();
    let variables: Vec<(String, String)> = conn.query("SHOW GLOBAL VARIABLES").await?;
    facts.variables = variables.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
    facts.other_engines = conn
        .query(format!(
            "SELECT CONCAT(table_schema, '.', table_name, ' (', IFNULL(engine, 'no engine'), ')') \
             FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND table_schema {APPLICATIONS_SQL} \
             AND IFNULL(engine, '') <> 'InnoDB' ORDER BY 1"
        ))
        .await?;
    facts.without_primary_key = conn
        .query(format!(
            "SELECT CONCAT(t.table_schema, '.', t.table_name) FROM information_schema.tables t \
             LEFT JOIN information_schema.table_constraints c ON c.table_schema = t.table_schema \
             AND c.table_name = t.table_name AND c.constraint_type = 'PRIMARY KEY' \
             WHERE t.table_type = 'BASE TABLE' AND t.table_schema {APPLICATIONS_SQL} \
             AND c.constraint_name IS NULL ORDER BY 1"
        ))
        .await?;
    facts.not_replicable = conn
        .query(format!(
            "SELECT CONCAT('trigger ', trigger_schema, '.', trigger_name) FROM information_schema.triggers \
             WHERE trigger_schema {APPLICATIONS_SQL} UNION ALL \
             SELECT CONCAT('event ', event_schema, '.', event_name) FROM information_schema.events \
             WHERE event_schema {APPLICATIONS_SQL} ORDER BY 1"
        ))
        .await?;
    let of_this_kind = dialect::of(conn).not_replicable.replace("{}", APPLICATIONS_SQL);
    facts.not_replicable.extend(conn.query::<String, _>(of_this_kind).await?);
    facts.others_definers = conn
        .query(format!(
            "SELECT CONCAT('view ', table_schema, '.', table_name) FROM information_schema.views \
             WHERE definer <> CURRENT_USER() AND table_schema {APPLICATIONS_SQL} UNION ALL \
             SELECT CONCAT(LOWER(routine_type), ' ', routine_schema, '.', routine_name) \
             FROM information_schema.routines \
             WHERE definer <> CURRENT_USER() AND routine_schema {APPLICATIONS_SQL} ORDER BY 1"
        ))
        .await?;
    facts.own_grants = grants(conn, "CURRENT_USER()").await?;
    facts.application_account = !fence::accounts(conn, application_user).await?.is_empty();
    let accounts: Vec<(String, String)> =
        conn.query("SELECT User, Host FROM mysql.user ORDER BY User, Host").await?;
    for (user, host) in accounts {
        if SERVERS_ACCOUNTS.contains(&user.as_str()) || user.is_empty() {
            continue;
        }
        let quoted = format!("{}@{}", fence::quoted(&user), fence::quoted(&host));
        let grants = match grants(conn, &quoted).await {
            Ok(grants) => grants,
            // A role has no host in the statement.
            Err(_) if host.is_empty() => grants(conn, &fence::quoted(&user)).await?,
            Err(e) => return Err(e),
        };
        facts.accounts.insert(format!("{user}@{host}"), grants);
    }
    Ok(facts)
}

async fn grants(conn: &mut Conn, account: &str) -> Result<Vec<String>, DatabaseError> {
    let rows: Vec<Row> = conn.query(format!("SHOW GRANTS FOR {account}")).await?;
    let mut grants: Vec<String> = rows.into_iter().filter_map(|row| row.get(0)).collect();
    grants.sort();
    Ok(grants)
}

/// Judges one database by itself.
pub fn judge(site: &Site, facts: &Facts, application_user: &str, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tell = |check: &str, ok: bool, found: String, fix: String| {
        let verdict = if ok { Verdict::Ok { found } } else { Verdict::Wrong { found, fix } };
        findings.push(Finding { site: Some(site.clone()), check: check.to_owned(), verdict });
    };
    let value = |name: &str| facts.variables.get(name).map_or("(unknown to this server)", String::as_str);

    let version = value("version");
    let dialect: &Dialect = dialect::of_text(version);
    let (major, minor) = dialect.least_version;
    tell(
        "version",
        major_minor(version) >= dialect.least_version,
        version.to_owned(),
        format!("use {} {major}.{minor} or later", dialect.name),
    );
    for (name, wanted, why) in REQUIRED.iter().chain(dialect.required).copied() {
        // A variable that the server does not know reads as empty.
        let set = facts.variables.get(name).map_or("", String::as_str);
        tell(
            name,
            wanted.iter().any(|w| set.eq_ignore_ascii_case(w)),
            value(name).to_owned(),
            format!(
                "set {name}={} and restart the server: {why}",
                if wanted[0].is_empty() { "''" } else { wanted[0] }
            ),
        );
    }
    let retention_s: u64 = value("binlog_expire_logs_seconds").parse().unwrap_or(0);
    tell(
        "binlog_expire_logs_seconds",
        retention_s == 0 || retention_s >= 86_400,
        retention_s.to_string(),
        "keep the log for a day at least (86400): a standby that is away longer than that must be filled again"
            .into(),
    );
    let server_id = value("server_id");
    tell(
        "server_id",
        !matches!(server_id, "0" | ""),
        server_id.into(),
        "give the server an id of its own".into(),
    );
    list(&mut tell, "innodb_only", &facts.other_engines, |names| {
        format!("ALTER TABLE … ENGINE=InnoDB for {names}: other engines cannot be rolled back")
    });
    match policy.tables_without_primary_key {
        WithoutPrimaryKey::Refuse => list(&mut tell, "primary_keys", &facts.without_primary_key, |names| {
            format!(
                "add a primary key to {names}; or, if that cannot be, set policy.tables_without_primary_key = \
                 \"row_by_row\", which is slow"
            )
        }),
        WithoutPrimaryKey::RowByRow => tell(
            "primary_keys",
            true,
            format!("{} without, applied row by row", facts.without_primary_key.len()),
            String::new(),
        ),
    }
    list(&mut tell, "not_replicable", &facts.not_replicable, |names| {
        format!(
            "change {names}: what triggers, events and sequences do belongs into the application (the standby would \
             do it a second time); rows of the other kinds cannot be read from the log"
        )
    });
    let missing: Vec<String> = PRIVILEGES
        .iter()
        .filter(|(names, _)| !names.iter().any(|name| has_privilege(&facts.own_grants, name)))
        .map(|(names, what_for)| format!("{} ({what_for})", names[0]))
        .collect();
    list(&mut tell, "agent_privileges", &missing, |names| {
        format!("GRANT on *.* to the agent's account: {names}")
    });
    let may_define = DEFINING.iter().any(|name| has_privilege(&facts.own_grants, name));
    list(&mut tell, "definers", if may_define { &[] } else { &facts.others_definers }, |names| {
        format!(
            "GRANT {} ON *.* to the agent's account, or let the agent's account define {names}: at the standby the \
             agent cannot make what runs in another account's name",
            DEFINING[0]
        )
    });
    // Told and not demanded: the account's lock is the fence, and a managed server grants no such thing.
    let needed = dialect::of_text(value("version")).may_set_read_only;
    let may = needed.iter().all(|name| has_privilege(&facts.own_grants, name));
    let found = match may {
        true => "a standby's server is set read_only, too".to_owned(),
        false => format!(
            "not possible: the agent's account lacks {}; its accounts' lock is the fence",
            needed.join(" and ")
        ),
    };
    tell("fence_read_only", true, found, String::new());
    tell(
        "application_account",
        facts.application_account,
        if facts.application_account { application_user.into() } else { "absent".into() },
        format!(
            "CREATE USER '{application_user}'@'%' … ACCOUNT LOCK on this site too: accounts are not replicated"
        ),
    );
    findings
}

/// Judges what must be the same at both sites.
pub fn compare(one: (&Site, &Facts), other: (&Site, &Facts), agent_user: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tell = |check: &str, ok: bool, found: String, fix: String| {
        let verdict = if ok { Verdict::Ok { found } } else { Verdict::Wrong { found, fix } };
        findings.push(Finding { site: None, check: check.to_owned(), verdict });
    };
    let ((one_site, one), (other_site, other)) = (one, other);
    for name in EQUAL {
        let of = |facts: &Facts| facts.variables.get(name).cloned().unwrap_or_default();
        let (a, b) = (of(one), of(other));
        tell(
            &format!("same_{name}"),
            a == b,
            if a == b { a.clone() } else { format!("{one_site}: `{a}`, {other_site}: `{b}`") },
            format!("set {name} to the same value at both sites"),
        );
    }
    let id = |facts: &Facts| facts.variables.get("server_id").cloned().unwrap_or_default();
    tell(
        "different_server_id",
        id(one) != id(other),
        format!("{one_site}: {}, {other_site}: {}", id(one), id(other)),
        "give each server an id of its own".into(),
    );
    let names: BTreeSet<&String> = one.accounts.keys().chain(other.accounts.keys()).collect();
    let differing: Vec<String> = names
        .into_iter()
        .filter_map(|name| {
            let of =
                |facts: &Facts| facts.accounts.get(name).map(|grants| comparable(name, grants, agent_user));
            match (of(one), of(other)) {
                (None, _) => Some(format!("{name} is missing at {one_site}")),
                (_, None) => Some(format!("{name} is missing at {other_site}")),
                (Some(a), Some(b)) => {
                    (a != b).then(|| format!("{name} has other grants or another password"))
                }
            }
        })
        .collect();
    list(&mut tell, "same_accounts", &differing, |names| {
        format!("make them equal by hand, accounts are not replicated: {names}")
    });
    findings
}

/// The agent's password may differ from site to site: each stands in the topology.
fn comparable(account: &str, grants: &[String], agent_user: &str) -> Vec<String> {
    let is_agents = account.rsplit_once('@').is_some_and(|(user, _)| user == agent_user);
    grants
        .iter()
        .map(|grant| match grant.find(" IDENTIFIED ") {
            Some(at) if is_agents => grant[..at].to_owned(),
            _ => grant.clone(),
        })
        .collect()
}

fn list(
    tell: &mut impl FnMut(&str, bool, String, String),
    check: &str,
    wrong: &[String],
    fix: impl FnOnce(&str) -> String,
) {
    let names = wrong.join(", ");
    let found = if wrong.is_empty() { "nothing to mend".to_owned() } else { names.clone() };
    tell(check, wrong.is_empty(), found, fix(&names));
}

/// Whether a `SHOW GRANTS` line grants `privilege` on everything.
fn has_privilege(grants: &[String], privilege: &str) -> bool {
    grants.iter().any(|grant| {
        let Some((privileges, rest)) = grant.strip_prefix("GRANT ").and_then(|g| g.split_once(" ON ")) else {
            return false;
        };
        rest.starts_with("*.*")
            && privileges.split(',').map(str::trim).any(|p| p == privilege || p == "ALL PRIVILEGES")
    })
}

fn major_minor(version: &str) -> (u32, u32) {
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether the agent of `site` can write into `folder`, where a quarantine must find room on the night of a failover.
pub fn data_folder(site: &Site, folder: &Path) -> Finding {
    // The agent makes what is missing of the path, so the last part that is there must take it.
    let there = folder.ancestors().find(|part| part.exists()).unwrap_or(Path::new("."));
    let probe = there.join(format!(".ghostlight-check-{}", std::process::id()));
    let written = write_through(&probe);
    let removed = if probe.exists() { fs::remove_file(&probe) } else { Ok(()) };
    let verdict = match written.and(removed) {
        Ok(()) => Verdict::Ok { found: format!("{} can be written", folder.display()) },
        Err(e) => Verdict::Wrong {
            found: format!("{} cannot be written: {e} at {}", folder.display(), there.display()),
            fix: format!(
                "make it a folder with room that the agent's user owns, or name another one as \
                 `data_folder` in [sites.{site}.agent]; without it an old primary cannot be taken back"
            ),
        },
    };
    Finding { site: Some(site.clone()), check: "data_folder".into(), verdict }
}

/// A full disk often tells so only when the data must go down to it.
fn write_through(probe: &Path) -> io::Result<()> {
    let mut file = File::create(probe)?;
    file.write_all(b"ghostlight check\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_folder_that_cannot_be_written_is_named_with_what_to_do() {
        let beside = std::env::temp_dir().join(format!("ghostlight-check-{}", std::process::id()));
        fs::create_dir_all(&beside).unwrap();
        let site = Site::new("nhn");

        // It need not be there yet; looking leaves nothing behind.
        let good = data_folder(&site, &beside.join("agent/nhn"));
        assert!(matches!(good.verdict, Verdict::Ok { .. }), "{good:?}");
        assert_eq!(fs::read_dir(&beside).unwrap().count(), 0);

        // Root may write everywhere, but nobody makes a folder below a file.
        fs::write(beside.join("file"), "in the way").unwrap();
        let bad = data_folder(&site, &beside.join("file/nhn"));
        let Verdict::Wrong { found, fix } = &bad.verdict else { panic!("{bad:?}") };
        assert!(found.contains("file/nhn cannot be written"), "{found}");
        assert!(fix.contains("`data_folder` in [sites.nhn.agent]"), "{fix}");
        assert_eq!(fs::read_to_string(beside.join("file")).unwrap(), "in the way");
        fs::remove_dir_all(&beside).unwrap();
    }

    fn good() -> Facts {
        let variables = [
            ("version", "10.11.19-MariaDB"),
            ("log_bin", "ON"),
            ("binlog_format", "ROW"),
            ("binlog_row_image", "FULL"),
            ("binlog_row_metadata", "FULL"),
            ("sync_binlog", "1"),
            ("innodb_flush_log_at_trx_commit", "1"),
            ("binlog_expire_logs_seconds", "604800"),
            ("server_id", "1"),
            ("sql_mode", "STRICT_TRANS_TABLES"),
            ("time_zone", "+00:00"),
        ];
        Facts {
            variables: variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            own_grants: vec!["GRANT ALL PRIVILEGES ON *.* TO `ghostlight`@`%`".into()],
            application_account: true,
            ..Facts::default()
        }
    }

    /// Judges `facts` and compares them with good ones of the other site; the names of what is wrong.
    fn check(facts: Facts, policy: &Policy, wrong: &[&str]) {
        let (nhn, aws) = (Site::new("nhn"), Site::new("aws"));
        let mut other = good();
        other.variables.insert("server_id".into(), "2".into());
        let mut findings = judge(&nhn, &facts, "ticketing", policy);
        findings.extend(compare((&nhn, &facts), (&aws, &other), "ghostlight"));
        let found: Vec<_> = findings
            .iter()
            .filter(|f| matches!(f.verdict, Verdict::Wrong { .. }))
            .map(|f| f.check.as_str())
            .collect();
        assert_eq!(found, wrong, "{findings:#?}");
    }

    #[test]
    fn a_good_pair_has_no_findings() {
        check(good(), &Policy::default(), &[]);
    }

    #[test]
    fn every_weak_setting_is_named() {
        for (name, weak) in [
            ("log_bin", "OFF"),
            ("binlog_format", "MIXED"),
            ("binlog_row_image", "MINIMAL"),
            ("binlog_row_metadata", "NO_LOG"),
            ("sync_binlog", "0"),
            ("innodb_flush_log_at_trx_commit", "2"),
            ("binlog_expire_logs_seconds", "3600"),
            ("version", "10.5.1-MariaDB"),
        ] {
            let mut facts = good();
            facts.variables.insert(name.into(), weak.into());
            check(facts, &Policy::default(), &[name]);
        }
    }

    #[test]
    fn a_table_without_primary_key_is_named_unless_the_operator_insists() {
        let facts = Facts { without_primary_key: vec!["shop.log".into()], ..good() };
        check(facts.clone(), &Policy::default(), &["primary_keys"]);
        let insists = Policy { tables_without_primary_key: WithoutPrimaryKey::RowByRow, ..Policy::default() };
        check(facts.clone(), &insists, &[]);
        let findings = judge(&Site::new("nhn"), &facts, "ticketing", &Policy::default());
        let told = format!("{findings:?}");
        assert!(told.contains("shop.log") && told.contains("row_by_row"), "{told}");
    }

    #[test]
    fn sites_that_differ_are_told() {
        let mut facts = good();
        facts.variables.insert("sql_mode".into(), String::new());
        facts.variables.insert("server_id".into(), "2".into());
        facts.accounts.insert("ticketing@%".into(), vec!["GRANT USAGE".into()]);
        check(facts, &Policy::default(), &["same_sql_mode", "different_server_id", "same_accounts"]);
    }

    #[test]
    fn only_the_agents_password_may_differ() {
        let grants =
            |hash: &str| vec![format!("GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '{hash}'")];
        assert_eq!(
            comparable("ghostlight@%", &grants("x"), "ghostlight"),
            comparable("ghostlight@%", &grants("y"), "ghostlight")
        );
        assert_ne!(
            comparable("ticketing@%", &grants("x"), "ghostlight"),
            comparable("ticketing@%", &grants("y"), "ghostlight")
        );
    }

    #[test]
    fn privileges_count_only_on_everything() {
        let grants =
            ["GRANT SELECT, REPLICATION SLAVE ON *.* TO `a`@`%`", "GRANT INSERT ON `b`.* TO `a`@`%`"]
                .map(str::to_owned);
        assert!(has_privilege(&grants, "REPLICATION SLAVE"));
        assert!(!has_privilege(&grants, "INSERT"));
        assert!(!has_privilege(&grants, "SLAVE"));
    }
}
