//! Partners: their keys, and the customers they book for.

use super::Desk;
use crate::{
    api::key::{ApiKey, Caller, PER_SECOND, Scopes, Token},
    ids::{HoldId, mac, row_id},
    refusal::{Field, Refusal},
    role::Role,
    store::{Account, StoreError},
};

/// Somebody that a partner books for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Customer {
    /// Their account: nobody can sign in to it.
    pub account: u64,
    /// What the partner calls them.
    pub reference: String,
}

/// Why a key does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRefusal {
    /// There is no such key, it was revoked, or whoever made it is no organiser any more.
    Unknown,
    /// It asks too often; after so many seconds it may again.
    TooFast(u64),
    /// Nobody can tell for now.
    Refused(Refusal),
}

/// Letters to these addresses are nobody's: the partner tells its customers itself.
pub(super) const NO_ADDRESS: &str = "@partner.invalid";

impl Desk {
    /// Makes a key for a partner. What is returned is shown once: we keep only its hash.
    pub async fn create_key(&self, by: u64, partner: &str, scopes: Scopes) -> Result<String, Refusal> {
        self.create_key_paced(by, partner, scopes, PER_SECOND).await
    }

    /// The same, with a pace of its own.
    pub async fn create_key_paced(
        &self,
        by: u64,
        partner: &str,
        scopes: Scopes,
        per_second: u32,
    ) -> Result<String, Refusal> {
        self.require(by, Role::Organiser).await?;
        let partner = partner.trim().to_lowercase();
        let named = (1..=40).contains(&partner.len())
            && partner.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !named || scopes.is_empty() {
            return Err(Refusal::Odd(Field::Partner));
        }
        let now_ms = self.clock.now_ms();
        let id = row_id(now_ms);
        let (token, secret_hash) = Token::draw(id);
        let key = ApiKey {
            id,
            partner,
            scopes,
            secret_hash,
            per_second,
            created_by: by,
            created_ms: now_ms,
            revoked_ms: None,
        };
        self.store.add_key(&key).await?;
        Ok(token)
    }

    /// All keys, newest first.
    pub async fn keys(&self, by: u64) -> Result<Vec<ApiKey>, Refusal> {
        self.require(by, Role::Organiser).await?;
        Ok(self.store.keys().await?)
    }

    /// Revokes a key: here at once, at other instances within two seconds.
    pub async fn revoke_key(&self, by: u64, id: u64) -> Result<(), Refusal> {
        self.require(by, Role::Organiser).await?;
        self.store.revoke_key(by, id, self.clock.now_ms()).await?;
        self.gates.forget(id);
        Ok(())
    }

    /// Whose key this is, if it opens, and not too often.
    pub async fn caller(&self, token: &str) -> Result<Caller, KeyRefusal> {
        let token = Token::parse(token).ok_or(KeyRefusal::Unknown)?;
        let now_ms = self.clock.now_ms();
        let key = match self.gates.known(token.id, now_ms) {
            Some(key) => key,
            None => {
                let told = |e: StoreError| KeyRefusal::Refused(e.into());
                let key = self.store.key(token.id).await.map_err(told)?.ok_or(KeyRefusal::Unknown)?;
                if !token.opens(&key) {
                    return Err(KeyRefusal::Unknown);
                }
                match self.require(key.created_by, Role::Organiser).await {
                    Ok(()) => {}
                    Err(Refusal::NotAllowed | Refusal::NotSignedIn) => return Err(KeyRefusal::Unknown),
                    Err(refusal) => return Err(KeyRefusal::Refused(refusal)),
                }
                self.gates.learn(key.clone(), now_ms);
                key
            }
        };
        if !token.opens(&key) {
            return Err(KeyRefusal::Unknown);
        }
        self.gates.pass(key.id, now_ms).map_err(KeyRefusal::TooFast)?;
        Ok(Caller { key: key.id, partner: key.partner, scopes: key.scopes, by: key.created_by })
    }

    /// Writes down what a key did, under the organiser who answers for it.
    pub async fn audit_key(&self, caller: &Caller, what: &'static str, detail: &str) -> Result<(), Refusal> {
        let detail = format!("{detail}, by key {:016x} of {}", caller.key, caller.partner);
        Ok(self.store.audit(caller.by, what, &detail, self.clock.now_ms()).await?)
    }

    /// The customer with this reference, made if need be.
    pub async fn customer(&self, caller: &Caller, reference: &str, name: &str) -> Result<Customer, Refusal> {
        let name = super::account::checked_name(name)?;
        for _ in 0..super::RACES {
            if let Some((account, known_as)) = self.store.customer(&caller.partner, reference).await? {
                if known_as != name {
                    self.store.rename(account, &name).await?;
                }
                return Ok(Customer { account, reference: reference.to_owned() });
            }
            let now_ms = self.clock.now_ms();
            let seal = mac(self.signer.key(), &["customer", &caller.partner, reference]);
            let local: String = seal.iter().take(16).map(|b| format!("{b:02x}")).collect();
            let account = Account {
                id: row_id(now_ms),
                email: format!("{local}{NO_ADDRESS}"),
                name: name.clone(),
                // No hash: no password is ever right.
                password_hash: "!".into(),
            };
            match self.store.add_customer(&account, &caller.partner, reference, now_ms).await {
                // Another request for the same customer was faster, or two rows drew one number: look again.
                Ok(()) | Err(StoreError::Duplicate(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(Refusal::NotNow)
    }

    /// The partner's customer who has, or had, this hold.
    pub async fn holder(&self, caller: &Caller, hold: &HoldId) -> Result<Option<Customer>, Refusal> {
        let Some((_, claims)) = self.store.hold(hold).await? else { return Ok(None) };
        let Some(account) = claims.iter().find_map(|c| c.account) else { return Ok(None) };
        let reference = self.store.reference(&caller.partner, account).await?;
        Ok(reference.map(|reference| Customer { account, reference }))
    }
}
