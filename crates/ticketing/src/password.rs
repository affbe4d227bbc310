//! Passwords: argon2id (19 MiB, 2 passes), on threads of their own, a few at a time.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::sync::Semaphore;

/// Hashing at the same time: it is 19 MiB and some 20 ms of a core each, and a sale must not starve.
const AT_ONCE: usize = 2;
/// Shortest password that is taken, in characters.
pub const PASSWORD_MIN: usize = 8;
/// Longest, in bytes.
pub const PASSWORD_MAX: usize = 200;

/// Hashes and checks.
#[derive(Clone, Debug)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// A hash that no password has, so that an unknown address takes as long as a wrong password.
    nobody: Arc<str>,
}

/// The machine could not hash: out of memory or shutting down.
#[derive(Debug, thiserror::Error)]
#[error("the password could not be hashed: {0}")]
pub struct HashError(String);

impl Passwords {
    /// Draws the hash of nobody; takes some 20 ms.
    pub fn new() -> Result<Passwords, HashError> {
        let nobody = hash(Secret::random().expose())?.into();
        Ok(Passwords { turns: Arc::new(Semaphore::new(AT_ONCE)), nobody })
    }

    /// Hashes a new password.
    pub async fn hash(&self, password: &str) -> Result<String, HashError> {
        let password = password.to_owned();
        self.in_turn(move || hash(&password)).await?
    }

    /// Whether `password` is the one that was hashed; without a hash it takes as long and is never.
    pub async fn verify(&self, password: &str, hashed: Option<&str>) -> Result<bool, HashError> {
        let known = hashed.is_some();
        let (password, hashed) = (password.to_owned(), hashed.unwrap_or(&self.nobody).to_owned());
        self.in_turn(move || match PasswordHash::new(&hashed) {
            Ok(hashed) => Argon2::default().verify_password(password.as_bytes(), &hashed).is_ok() && known,
            Err(_) => false,
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let turn = self.turns.clone().acquire_owned().await.map_err(|e| HashError(e.to_string()))?;
        tokio::task::spawn_blocking(move || {
            // The turn lasts as long as the work, even if the visitor hangs up.
            let done = work();
            drop(turn);
            done
        })
        .await
        .map_err(|e| HashError(e.to_string()))
    }
}

use runtime::secret::Secret;

fn hash(password: &str) -> Result<String, HashError> {
    let broken = |e: String| HashError(e);
    let params = Params::new(19_456, 2, 1, None).map_err(|e| broken(e.to_string()))?;
    let salt: [u8; 16] = rand::random();
    let hash: PasswordHash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|e| broken(e.to_string()))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_nobody_has_one() {
        let passwords = Passwords::new().unwrap();
        let hashed = passwords.hash("correct horse").await.unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        assert!(passwords.verify("correct horse", Some(&hashed)).await.unwrap());
        assert!(!passwords.verify("wrong horse", Some(&hashed)).await.unwrap());
        assert!(!passwords.verify("correct horse", None).await.unwrap());
    }
}
