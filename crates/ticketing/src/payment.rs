//! Taking money, behind a small trait; the built-in test provider.
//!
//! A capture is named by the visitor's idempotency key, so that asking twice charges once, here or anywhere else
//! that the same key is asked for again.

use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};

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
}

/// Money that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Its name at the provider.
    pub reference: String,
}

/// Why no money was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// The provider said no. The hold stands; another method may do.
    #[error("the payment was declined")]
    Declined,
    /// There is no such method.
    #[error("there is no payment method {0:?}")]
    UnknownMethod(String),
}

/// Somebody who takes money for us.
pub trait PaymentProvider: Send + Sync {
    /// Its word in the database.
    fn name(&self) -> &'static str;

    /// Takes the money; repeating a charge returns the same capture.
    fn capture<'a>(&'a self, charge: &'a Charge) -> BoxFuture<'a, Result<Capture, PaymentError>>;

    /// Gives back what `capture` took, because the booking could not be made; giving back twice gives back once.
    fn refund<'a>(&'a self, capture: &'a Capture) -> BoxFuture<'a, Result<(), PaymentError>>;
}

/// Takes no money at all. `test` succeeds, `test-decline` is declined.
#[derive(Clone, Copy, Debug, Default)]
pub struct TestProvider;

impl PaymentProvider for TestProvider {
    fn name(&self) -> &'static str {
        "test"
    }

    fn capture<'a>(&'a self, charge: &'a Charge) -> BoxFuture<'a, Result<Capture, PaymentError>> {
        Box::pin(async move {
            match charge.method.as_str() {
                "test" => {
                    let name = format!("{}:{}", charge.account, charge.idempotency_key);
                    let digest = Sha256::digest(name.as_bytes());
                    let hex: String = digest.iter().take(20).map(|b| format!("{b:02x}")).collect();
                    Ok(Capture { reference: format!("test_{hex}") })
                }
                "test-decline" => Err(PaymentError::Declined),
                other => Err(PaymentError::UnknownMethod(other.to_owned())),
            }
        })
    }

    fn refund<'a>(&'a self, _capture: &'a Capture) -> BoxFuture<'a, Result<(), PaymentError>> {
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
        };
        let a = TestProvider.capture(&charge("a", "test")).await.unwrap();
        assert_eq!(TestProvider.capture(&charge("a", "test")).await.unwrap(), a);
        assert_ne!(TestProvider.capture(&charge("b", "test")).await.unwrap(), a);
        assert_eq!(TestProvider.capture(&charge("a", "test-decline")).await, Err(PaymentError::Declined));
        assert!(a.reference.len() <= 64);
    }
}
