use std::{
    fs,
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown},
    path::{Path, PathBuf},
    process::Stdio,
};

use runtime::{process, secret::Secret};
use rustix::{
    fs::{FlockOperation, flock},
    process::geteuid,
};
use tokio::process::Command;

use super::MariadbError;
use crate::local::program::find;

/// The agent's account.
pub const AGENT_USER: &str = "ghostlight";
/// The application's account, which the fence locks. It is made locked.
pub const APPLICATION_USER: &str = "ticketing";
/// An account for drills, with the agent's password: it may delete binary logs, as an operator or a retention does, and
/// make a server another one by giving it another number.
pub const DRILL_USER: &str = "ghostlight_drill";
/// The only schema that the application's account may touch.
pub const APPLICATION_DATABASE: &str = "ticketing";

/// Exactly what the agent does: read the log, apply any table's changes and any table's DDL, lock the
/// application's account, end its sessions, set `read_only` and go on writing, take a consistent snapshot.
const AGENT_PRIVILEGES: &str = "REPLICATION SLAVE, BINLOG MONITOR, CONNECTION ADMIN, READ ONLY ADMIN, PROCESS, CREATE USER, RELOAD, \
     SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, TRIGGER, CREATE VIEW, SHOW VIEW, \
     CREATE ROUTINE, ALTER ROUTINE, EXECUTE, EVENT, LOCK TABLES";

/// The passwords of the accounts in a template.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// Of [`AGENT_USER`].
    pub agent: Secret,
    /// Of [`APPLICATION_USER`].
    pub application: Secret,
}

/// An initialised, never started data folder with the accounts in it. Servers are copies of it.
#[derive(Clone, Debug)]
pub struct Template {
    folder: PathBuf,
    account: Account,
}

/// As whom the server runs.
#[derive(Clone, Debug)]
pub(super) enum Account {
    /// As we do: we are unprivileged already.
    Ours,
    /// As the user `mysql`: we are root.
    Mysql { uid: u32, gid: u32 },
}

impl Template {
    /// The template in `folder/template`, made now unless it is there, made by this version of MariaDB and with
    /// these accounts.
    ///
    /// Callable by several processes at once: one makes it, the others wait.
    pub async fn prepare(folder: &Path, accounts: &Accounts) -> Result<Template, MariadbError> {
        let account = Account::of_the_database()?;
        let sql = accounts.sql()?;
        let installer = program("mariadb-install-db", "mariadb-server")?;
        let made_from = format!("{}\n{sql}", version().await?);
        let template = Template { folder: folder.join("template"), account };
        fs::create_dir_all(folder).map_err(MariadbError::io(folder.display().to_string()))?;
        let _ours = lock(folder.join("template.lock")).await?;
        let stamp = folder.join("template.made-from");
        if template.folder.is_dir() && fs::read_to_string(&stamp).is_ok_and(|s| s == made_from) {
            return Ok(template);
        }
        template.make(&installer, folder, &sql).await?;
        private_file(&stamp, &made_from)?;
        Ok(template)
    }

    /// The data folder of a server that does not run.
    pub(super) fn of(folder: &Path, account: Account) -> Template {
        Template { folder: folder.to_owned(), account }
    }

    /// As whom servers made from it run.
    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    async fn make(&self, installer: &Path, folder: &Path, sql: &str) -> Result<(), MariadbError> {
        let (new, temporary) = (folder.join("template.new"), folder.join("template.tmp"));
        for old in [&new, &temporary, &self.folder] {
            if old.exists() {
                fs::remove_dir_all(old).map_err(MariadbError::io(old.display().to_string()))?;
            }
        }
        for made in [&new, &temporary] {
            self.account.make_folder(made).map_err(MariadbError::io(made.display().to_string()))?;
        }
        let accounts_file = folder.join("template.sql");
        private_file(&accounts_file, sql)?;
        let mut command = Command::new(installer);
        command.arg("--no-defaults").arg(format!("--datadir={}", new.display()));
        // Not /tmp: another server that starts meanwhile deletes the temporary tables that it finds there.
        command.arg(format!("--tmpdir={}", temporary.display()));
        if let Account::Mysql { .. } = self.account {
            command.arg("--user=mysql");
        }
        command.args(["--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=16M"]);
        // Without this, root of the database could log in over TCP with no password.
        command.args(["--auth-root-authentication-method=socket", "--auth-root-socket-user=mysql"]);
        command.arg(format!("--extra-file={}", accounts_file.display()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let child =
            process::spawn(command).await.map_err(MariadbError::io(installer.display().to_string()))?;
        let output = child.wait_with_output().await.map_err(MariadbError::io("mariadb-install-db"))?;
        fs::remove_file(&accounts_file).map_err(MariadbError::io(accounts_file.display().to_string()))?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            return Err(MariadbError::Install {
                status: output.status,
                output: String::from_utf8_lossy(&said).into_owned(),
            });
        }
        fs::rename(&new, &self.folder).map_err(MariadbError::io(self.folder.display().to_string()))
    }

    /// Copies it to `datadir`, which must not exist yet.
    pub async fn copy_to(&self, datadir: &Path) -> Result<(), MariadbError> {
        let (from, to, account) = (self.folder.clone(), datadir.to_owned(), self.account.clone());
        let what = format!("copying {} to {}", from.display(), to.display());
        let copied = tokio::task::spawn_blocking(move || {
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            // Under another name first: an interrupted copy must not be taken for a data folder.
            let new = to.with_extension("new");
            if new.exists() {
                fs::remove_dir_all(&new)?;
            }
            account.copy_folder(&from, &new)?;
            fs::rename(&new, &to)
        });
        copied.await.map_err(std::io::Error::other).and_then(|r| r).map_err(MariadbError::io(what))
    }
}

impl Account {
    fn of_the_database() -> Result<Account, MariadbError> {
        if !geteuid().is_root() {
            return Ok(Account::Ours);
        }
        let users = fs::read_to_string("/etc/passwd").map_err(MariadbError::io("/etc/passwd"))?;
        let ids = users.lines().find_map(|line| {
            let mut fields = line.strip_prefix("mysql:")?.split(':').skip(1);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        });
        let (uid, gid) = ids.ok_or(MariadbError::NoMysqlUser)?;
        Ok(Account::Mysql { uid, gid })
    }

    pub(super) fn setpriv_arguments(&self) -> &'static [&'static str] {
        match self {
            Account::Ours => &[],
            Account::Mysql { .. } => &["--reuid=mysql", "--regid=mysql", "--init-groups"],
        }
    }

    fn give(&self, path: &Path) -> std::io::Result<()> {
        match self {
            Account::Ours => Ok(()),
            Account::Mysql { uid, gid } => chown(path, Some(*uid), Some(*gid)),
        }
    }

    /// Makes `folder` unless it is there.
    pub(super) fn have_folder(&self, folder: &Path) -> std::io::Result<()> {
        if folder.is_dir() { Ok(()) } else { self.make_folder(folder) }
    }

    /// A file that only the server, or root, can read.
    pub(super) fn private_file(&self, path: &Path, text: &str) -> std::io::Result<()> {
        write_private(path, text)?;
        self.give(path)
    }

    fn make_folder(&self, folder: &Path) -> std::io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(folder)?;
        self.give(folder)
    }

    fn copy_folder(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.make_folder(to)?;
        for entry in fs::read_dir(from)? {
            let (entry, to) = (entry?, to.to_owned());
            let target = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.copy_folder(&entry.path(), &target)?;
            } else {
                fs::copy(entry.path(), &target)?;
                self.give(&target)?;
            }
        }
        Ok(())
    }
}

impl Accounts {
    fn sql(&self) -> Result<String, MariadbError> {
        let (agent, application) =
            (literal(AGENT_USER, &self.agent)?, literal(APPLICATION_USER, &self.application)?);
        Ok(format!(
            "FLUSH PRIVILEGES;\n\
             CREATE USER '{AGENT_USER}'@'%' IDENTIFIED BY {agent};\n\
             GRANT {AGENT_PRIVILEGES} ON *.* TO '{AGENT_USER}'@'%';\n\
             CREATE USER '{DRILL_USER}'@'%' IDENTIFIED BY {agent};\n\
             GRANT BINLOG ADMIN, BINLOG MONITOR, RELOAD, REPLICATION MASTER ADMIN ON *.* TO '{DRILL_USER}'@'%';\n\
             GRANT CREATE USER, READ ONLY ADMIN ON *.* TO '{DRILL_USER}'@'%' WITH GRANT OPTION;\n\
             CREATE USER '{APPLICATION_USER}'@'%' IDENTIFIED BY {application} ACCOUNT LOCK;\n\
             GRANT ALL PRIVILEGES ON `{APPLICATION_DATABASE}`.* TO '{APPLICATION_USER}'@'%';\n"
        ))
    }
}

fn literal(user: &'static str, password: &Secret) -> Result<String, MariadbError> {
    let text = password.expose();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if text.is_empty() || !text.bytes().all(plain) {
        return Err(MariadbError::Password(user));
    }
    Ok(format!("'{text}'"))
}

/// Where a program is.
pub(super) fn program(name: &'static str, package: &'static str) -> Result<PathBuf, MariadbError> {
    find(name).ok_or(MariadbError::NotInstalled(name, package))
}

async fn version() -> Result<String, MariadbError> {
    let mut command = Command::new(program("mariadbd", "mariadb-server")?);
    command.args(["--no-defaults", "--version"]);
    let output = command.output().await.map_err(MariadbError::io("mariadbd --version"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

async fn lock(path: PathBuf) -> Result<File, MariadbError> {
    let what = path.display().to_string();
    let locked = tokio::task::spawn_blocking(move || {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        std::io::Result::Ok(file)
    });
    locked.await.map_err(std::io::Error::other).and_then(|r| r).map_err(MariadbError::io(what))
}

fn private_file(path: &Path, text: &str) -> Result<(), MariadbError> {
    write_private(path, text).map_err(MariadbError::io(path.display().to_string()))
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
