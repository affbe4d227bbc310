//! The lab's secrets: drawn at the first start, kept in files that only their owner reads.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
};

use runtime::secret::{Secret, SecretError};

use crate::layout::Files;

/// File of the token of the admin APIs.
pub const ADMIN_TOKEN: &str = "admin.token";
/// File of the agents' database password.
pub const AGENT_PASSWORD: &str = "db-agent.password";
/// File of the application's database password.
pub const APPLICATION_PASSWORD: &str = "db-app.password";
/// File of the key that signs the visitors' sessions, the same in both sites.
pub const TICKETING_KEY: &str = "ticketing.key";

/// All secrets of a lab.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// [`ADMIN_TOKEN`]
    pub admin_token: Secret,
    /// [`AGENT_PASSWORD`]
    pub agent_password: Secret,
    /// [`APPLICATION_PASSWORD`]
    pub application_password: Secret,
}

/// Reads the lab's secrets; those that do not exist yet are drawn.
pub fn prepare(files: &Files) -> Result<Secrets, SecretError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(files.secret(""))
        .map_err(|source| SecretError::File { path: files.secret("").display().to_string(), source })?;
    one(files, TICKETING_KEY)?;
    Ok(Secrets {
        admin_token: one(files, ADMIN_TOKEN)?,
        agent_password: one(files, AGENT_PASSWORD)?,
        application_password: one(files, APPLICATION_PASSWORD)?,
    })
}

fn one(files: &Files, name: &str) -> Result<Secret, SecretError> {
    let path = files.secret(name);
    if !path.exists() {
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            writeln!(file, "{}", Secret::random().expose())
        };
        write().map_err(|source| SecretError::File { path: path.display().to_string(), source })?;
    }
    Secret::from_file(&path)
}
