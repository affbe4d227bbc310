//! Secrets: read from a file or the environment, never printed, compared in constant time.

use std::{fmt, path::Path};

use subtle::ConstantTimeEq;

/// A secret text. `Debug` and logs never show it.
#[derive(Clone)]
pub struct Secret(String);

/// Why a secret is missing: the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error(
        "secret file {path} cannot be read: {source}; create it with the secret on its first line, mode 0600"
    )]
    File {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The variable is not set.
    #[error("secret environment variable {0} is not set; export it before the start")]
    Env(String),
    /// There is nothing in it.
    #[error("secret {0} is empty; write it on the first line")]
    Empty(String),
}

impl Secret {
    /// A secret that was made or received elsewhere.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The first line of a file.
    pub fn from_file(path: &Path) -> Result<Secret, SecretError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| SecretError::File { path: name.clone(), source })?;
        Secret::first_line(&text).ok_or(SecretError::Empty(name))
    }

    /// An environment variable.
    pub fn from_env(name: &str) -> Result<Secret, SecretError> {
        let text = std::env::var(name).map_err(|_| SecretError::Env(name.to_owned()))?;
        Secret::first_line(&text).ok_or_else(|| SecretError::Empty(name.to_owned()))
    }

    /// 32 random bytes in hex.
    pub fn random() -> Secret {
        Secret(rand::random::<[u8; 32]>().iter().map(|b| format!("{b:02x}")).collect())
    }

    /// The text itself, for handing on to whoever must send it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this secret, in time that does not depend on where they differ.
    pub fn matches(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }

    fn first_line(text: &str) -> Option<Secret> {
        text.lines().next().map(str::trim).filter(|s| !s.is_empty()).map(|s| Secret(s.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
