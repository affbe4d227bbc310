//! Taking money, behind a small trait; the built-in test provider, and Toss Payments ([`toss`]).
//!
//! A capture is named by the visitor's idempotency key, so that asking twice charges once, here or anywhere else
//! that the same key is asked for again. What nobody answered is [`PaymentError::Unknown`]: neither charged nor not
//! charged, until the provider is asked what became of it ([`settle`]).

pub mod assurance;
pub mod settle;
pub mod toss;
pub mod wire;

use std::{fmt, sync::Arc, time::Duration};

pub use assurance::Assurance;
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};

/// How late the test provider's late answer is.
const LATE: Duration = Duration::from_secs(3);

/// What is to be captured.
#[derive(Clone, Debug)]
pub struct Charge {
    /// Whose.
    pub account: u64,
    /// The visitor's key: the same key is the same charge.
    pub idempotency_key: String,
    /// How much.
    pub amount_won: u64,
    /// How the visitor pays, in the provider's words.
    pub method: String,
    /// What the provider gave the visitor's browser for this payment, if it works that way.
    pub token: Option<String>,
}

impl Charge {
    /// Its name at the provider: 40 characters of `0-9 a-f`, the same wherever it is computed.
    pub fn order_id(&self) -> String {
        let name = format!("{}:{}", self.account, self.idempotency_key);
        Sha256::digest(name.as_bytes()).iter().take(20).map(|b| format!("{b:02x}")).collect()
    }
}

/// Money that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Its name at the provider.
    pub reference: String,
}

/// Why no money was taken, or why that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// The provider said no. The hold stands; another method may do.
    #[error("the payment was declined")]
    Declined,
    /// There is no such method.
    #[error("there is no payment method {0:?}")]
    UnknownMethod(String),
    /// No answer, or one that decides nothing. Ask again with the same key.
    #[error("it is not known whether the payment went through: {0}")]
    Unknown(String),
    /// The provider does not take our key or our words: the operator's to mend.
    #[error("the provider refuses this shop: {0}")]
    Misconfigured(String),
}

/// What the provider knows of a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was taken.
    Captured(Capture),
    /// It was not, and will not be.
    Never,
    /// It is under way.
    Pending,
}

/// Money to be given back.
#[derive(Clone, Debug)]
pub struct Refund {
    /// The capture's name at the provider.
    pub reference: String,
    /// How much of it.
    pub amount_won: u64,
    /// Names the refund: the same key gives back once.
    pub idempotency_key: String,
    /// Why, for the visitor's statement.
    pub reason: String,
}

/// Somebody who takes money for us.
pub trait PaymentProvider: Send + Sync {
    /// Its word in the database.
    fn name(&self) -> &'static str;

    /// Whether real money moves. Then the intent is written down before, and is safe at both sites, so that no charge
    /// can be forgotten.
    fn moves_money(&self) -> bool;

    /// Takes the money; repeating a charge returns the same capture.
    fn capture<'a>(&'a self, charge: &'a Charge) -> BoxFuture<'a, Result<Capture, PaymentError>>;

    /// What became of a charge that got no answer.
    fn find<'a>(&'a self, charge: &'a Charge) -> BoxFuture<'a, Result<Fate, PaymentError>>;

    /// Gives money back; giving back twice with one key gives back once.
    fn refund<'a>(&'a self, refund: &'a Refund) -> BoxFuture<'a, Result<(), PaymentError>>;
}

/// Who takes money here, and what must be said before.
pub struct Till {
    /// Who takes it.
    pub provider: Arc<dyn PaymentProvider>,
    /// Who is asked before real money is taken, if anybody.
    pub assurance: Option<Assurance>,
}

impl fmt::Debug for Till {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asks = self.assurance.is_some();
        f.debug_struct("Till").field("provider", &self.provider.name()).field("asks", &asks).finish()
    }
}

/// Takes no money at all, in every way in which a provider can behave:
///
/// | method | answer |
/// |---|---|
/// | `test` | approved |
/// | `test-decline` | declined |
/// | `test-timeout` | none; asked again, it was never taken |
/// | `test-lost` | none; asked again, it was taken |
/// | `test-late` | approved after three seconds |
/// | `test-twice` | approved, and approved again with the same capture |
#[derive(Clone, Copy, Debug, Default)]
pub struct TestProvider;

impl PaymentProvider for TestProvider {
    fn name(&self) -> &'static str {
        "test"
    }

    fn moves_money(&self) -> bool {
        false
    }

    fn capture<'a>(&'a self, charge: &'a Charge) -> BoxFuture<'a, Result<Capture, PaymentError>> {
        Box::pin(async move {
            let capture = Capture { reference: format!("test_{}", charge.order_id()) };
            match charge.method.as_str() {
                "test" | "test-twice" => Ok(capture),
                "test-late" => {
                    // What a provider's slowness looks like; nothing is waited for.
                    tokio::time::sleep(LATE).await;
                    Ok(capture)
                }
                "test-decline" => Err(PaymentError::Declined),
                "test-timeout" | "test-lost" => Err(PaymentError::Unknown("no answer in time".into())),
                other => Err(PaymentError::UnknownMethod(other.to_owned())),
            }
        })
    }

    fn find<'a>(&'a self, charge: &'a Charge) -> BoxFuture<'a, Result<Fate, PaymentError>> {
        Box::pin(async move {
            Ok(match charge.method.as_str() {
                "test-decline" | "test-timeout" => Fate::Never,
                _ => Fate::Captured(Capture { reference: format!("test_{}", charge.order_id()) }),
            })
        })
    }

    fn refund<'a>(&'a self, _refund: &'a Refund) -> BoxFuture<'a, Result<(), PaymentError>> {
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_key_is_the_same_charge() {
        let charge = |key: &str, method: &str| Charge {
            account: 1,
            idempotency_key: key.into(),
            amount_won: 1,
            method: method.into(),
            token: None,
        };
        let a = TestProvider.capture(&charge("a", "test")).await.unwrap();
        assert_eq!(TestProvider.capture(&charge("a", "test")).await.unwrap(), a);
        assert_ne!(TestProvider.capture(&charge("b", "test")).await.unwrap(), a);
        assert_eq!(TestProvider.capture(&charge("a", "test-decline")).await, Err(PaymentError::Declined));
        assert_eq!(TestProvider.capture(&charge("a", "test-twice")).await.unwrap(), a);
        assert!(a.reference.len() <= 64);
        // No answer: asking what became of it says it.
        for (method, fate) in [("test-timeout", Fate::Never), ("test-lost", Fate::Captured(a))] {
            let charge = charge("a", method);
            assert!(matches!(TestProvider.capture(&charge).await, Err(PaymentError::Unknown(_))));
            assert_eq!(TestProvider.find(&charge).await, Ok(fate));
        }
    }
}
