//! What people do with their accounts after they made one.
//!
//! Nothing here tells a stranger whether an address has an account: asking for a new password answers the same, and
//! failed logins count by address, whether anybody has it or not. Links in letters carry a signed word that is bound
//! to what it is good for; one for a new password ends with the old password.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Desk, unhashed};
use crate::{
    ids::mac,
    mail::Kind,
    password::{PASSWORD_MAX, PASSWORD_MIN},
    refusal::{Field, Refusal},
    store::{Account, StoreError},
};

/// Wrong passwords for one address …
const LOGIN_TRIES: u32 = 10;
/// … within so long close it to logins for the rest of that time. A new password opens it.
const LOGIN_WINDOW_MS: u64 = 15 * 60_000;
/// Letters for a new password to one address within [`RESET_WINDOW_MS`].
const RESET_TRIES: u32 = 3;
const RESET_WINDOW_MS: u64 = 3_600_000;
/// Letters for confirming one address within the same time.
const CONFIRM_TRIES: u32 = 3;
/// How long a link for a new password works.
pub(super) const RESET_MS: u64 = 3_600_000;
/// How long a link for confirming works.
pub(super) const CONFIRM_MS: u64 = 86_400_000;

impl Desk {
    fn subject(&self, kind: &str, email: &str) -> String {
        URL_SAFE_NO_PAD.encode(mac(self.signer.key(), &["attempt", kind, email]))
    }

    /// Checks address and password. An unknown address and a wrong password look and last the same, and too many of
    /// either are refused for a while.
    pub async fn sign_in(&self, email: &str, password: &str) -> Result<Account, Refusal> {
        let email = email.trim().to_lowercase();
        if email.len() > 254 || password.len() > PASSWORD_MAX {
            return Err(Refusal::WrongPassword);
        }
        let subject = self.subject("login", &email);
        let tries = self.store.attempts("login", &subject, self.clock.now_ms()).await?;
        if tries >= LOGIN_TRIES {
            return Err(Refusal::TooManyTries);
        }
        let account = self.store.account_by_email(&email).await?;
        let hashed = account.as_ref().map(|a| a.password_hash.as_str());
        let right = self.passwords.verify(password, hashed).await.map_err(unhashed)?;
        match account.filter(|_| right) {
            Some(account) => {
                if tries > 0 {
                    self.store.forget_attempts("login", &subject).await?;
                }
                Ok(account)
            }
            None => {
                self.store.attempt("login", &subject, LOGIN_WINDOW_MS, self.clock.now_ms()).await?;
                Err(Refusal::WrongPassword)
            }
        }
    }

    /// A `Set-Cookie` value that signs somebody in.
    pub fn begin_session(&self, account: u64, remember: bool) -> String {
        let begins_ms = self.sessions.begin_ms(account, self.clock.now_ms());
        self.signer.sign_in(account, remember, begins_ms)
    }

    /// Asks for a letter with a link for a new password. Says nothing about whether anybody has this address.
    pub async fn forgot(&self, email: &str) -> Result<(), Refusal> {
        let email = email.trim().to_lowercase();
        if !super::plausible_email(&email) {
            return Err(Refusal::Odd(Field::Email));
        }
        let now_ms = self.clock.now_ms();
        let subject = self.subject("reset", &email);
        let tries = self.store.attempt("reset", &subject, RESET_WINDOW_MS, now_ms).await?;
        let account = self.store.account_by_email(&email).await?;
        if let Some(account) = account.filter(|_| tries <= RESET_TRIES) {
            self.store.write_letter(Kind::Reset, account.id, now_ms).await?;
        }
        Ok(())
    }

    /// The word in a letter's link.
    pub(super) fn letter_token(&self, kind: Kind, account: u64, bound_to: &str, until_ms: u64) -> String {
        let until_s = until_ms / 1_000;
        let seal = mac(
            self.signer.key(),
            &["letter", kind.word(), &account.to_string(), bound_to, &until_s.to_string()],
        );
        format!("{account}.{until_s}.{}", URL_SAFE_NO_PAD.encode(seal))
    }

    /// Whose link this is, if it still works.
    async fn token_of(&self, kind: Kind, token: &str) -> Result<Account, Refusal> {
        let mut parts = token.split('.');
        let mut number = || parts.next().and_then(|p| p.parse::<u64>().ok());
        let (Some(account), Some(until_s)) = (number(), number()) else { return Err(Refusal::LinkOver) };
        if until_s <= self.clock.now_ms() / 1_000 {
            return Err(Refusal::LinkOver);
        }
        let account = self.store.account(account).await?.ok_or(Refusal::LinkOver)?;
        let bound_to = if kind == Kind::Reset { &account.password_hash } else { &account.email };
        let right = self.letter_token(kind, account.id, bound_to, until_s * 1_000);
        if crate::session::same(&right, token) { Ok(account) } else { Err(Refusal::LinkOver) }
    }

    /// Whether a link for a new password still works.
    pub async fn check_reset(&self, token: &str) -> Result<(), Refusal> {
        self.token_of(Kind::Reset, token).await.map(drop)
    }

    /// Sets a new password by a letter's link; every session ends. The link works once.
    pub async fn reset(&self, token: &str, password: &str) -> Result<(), Refusal> {
        let account = self.token_of(Kind::Reset, token).await?;
        self.replace_password(&account, password).await?;
        // Whoever reads the letters of this address owns it.
        self.store.confirm(account.id, self.clock.now_ms()).await?;
        self.store.forget_attempts("login", &self.subject("login", &account.email)).await?;
        Ok(())
    }

    /// Changes the password of somebody who is signed in; every session ends.
    pub async fn change_password(&self, account: u64, from: &str, to: &str) -> Result<(), Refusal> {
        let account = self.proven(account, from).await?;
        self.replace_password(&account, to).await
    }

    async fn replace_password(&self, account: &Account, password: &str) -> Result<(), Refusal> {
        check_password(password)?;
        let hash = self.passwords.hash(password).await.map_err(unhashed)?;
        let now_ms = self.clock.now_ms();
        // Sessions are dated in seconds: those of this very second end, too.
        let from_s = now_ms / 1_000 + 1;
        match self.store.set_password(account.id, &account.password_hash, &hash, from_s, now_ms).await {
            Ok(()) => {
                self.sessions.cut(account.id, from_s);
                Ok(())
            }
            // Another window was faster.
            Err(StoreError::Condition(_)) => Err(Refusal::LinkOver),
            Err(e) => Err(e.into()),
        }
    }

    /// The account, if this is its password. Wrong ones count like failed logins.
    async fn proven(&self, account: u64, password: &str) -> Result<Account, Refusal> {
        let account = self.store.account(account).await?.ok_or(Refusal::NotSignedIn)?;
        match self.sign_in(&account.email, password).await {
            Err(Refusal::WrongPassword) => Err(Refusal::WrongCurrentPassword),
            checked => checked,
        }
    }

    /// Confirms an address by a letter's link. Doing it again changes nothing.
    pub async fn confirm(&self, token: &str) -> Result<(), Refusal> {
        let account = self.token_of(Kind::Confirm, token).await?;
        Ok(self.store.confirm(account.id, self.clock.now_ms()).await?)
    }

    /// Asks for the letter that confirms an address once more.
    pub async fn confirm_again(&self, account: u64) -> Result<(), Refusal> {
        let account = self.store.account(account).await?.ok_or(Refusal::NotSignedIn)?;
        let now_ms = self.clock.now_ms();
        let subject = self.subject("confirm", &account.email);
        let tries = self.store.attempt("confirm", &subject, RESET_WINDOW_MS, now_ms).await?;
        if tries > CONFIRM_TRIES {
            return Err(Refusal::TooManyTries);
        }
        Ok(self.store.write_letter(Kind::Confirm, account.id, now_ms).await?)
    }

    /// Changes a name.
    pub async fn rename(&self, account: u64, name: &str) -> Result<(), Refusal> {
        let name = checked_name(name)?;
        Ok(self.store.rename(account, &name).await?)
    }

    /// Closes an account and erases the person. Refused while there are tickets for what is yet to come: they would be
    /// lost without a word.
    pub async fn close(&self, account: u64, password: &str) -> Result<(), Refusal> {
        let account = self.proven(account, password).await?;
        let now_ms = self.clock.now_ms();
        let catalogue = self.catalogue().await?;
        let bookings = self.store.bookings_of(account.id).await?;
        let coming = bookings.iter().filter(|b| b.cancelled.is_none()).any(|b| {
            catalogue.event(b.performance).is_some_and(|event| event.performance.starts_at_ms > now_ms)
        });
        if coming {
            return Err(Refusal::TicketsLeft);
        }
        self.store.close(account.id, now_ms).await?;
        self.sessions.cut(account.id, u64::MAX);
        Ok(())
    }
}

/// A name as it is kept.
pub(super) fn checked_name(name: &str) -> Result<String, Refusal> {
    let name = name.trim().to_owned();
    let odd = name.is_empty() || name.chars().count() > 30 || name.chars().any(char::is_control);
    if odd { Err(Refusal::Odd(Field::Name)) } else { Ok(name) }
}

/// Whether a new password is long enough, and short enough to hash.
pub(super) fn check_password(password: &str) -> Result<(), Refusal> {
    let odd = password.chars().count() < PASSWORD_MIN || password.len() > PASSWORD_MAX;
    if odd { Err(Refusal::Odd(Field::Password)) } else { Ok(()) }
}
