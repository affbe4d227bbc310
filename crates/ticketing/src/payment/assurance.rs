//! A second opinion before money is taken: is what was written until now safe?
//!
//! Whoever runs this site may name an address that knows. It is asked twice: before the payment is written down, for a
//! note; and afterwards, with the note, whether everything written since is safe. What the note says is the other side's
//! affair. Without a yes no money is taken, and the visitor is asked to try again.

use std::{path::Path, time::Duration};

use hyper::Uri;
use runtime::secret::Secret;
use serde_json::Value;

use super::{
    toss::{Ask, Wire},
    wire::{HttpWire, WireError},
};

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where to ask.
pub struct Assurance {
    wire: HttpWire,
    path: String,
    token: Option<Secret>,
}

/// What the other side wants to be told when it is asked again.
#[derive(Clone, Debug)]
pub struct Note(Value);

/// Why money must not be taken now. The visitor may try again; nothing was charged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSafe {
    /// Nobody answered, or with an error.
    #[error("whether the payment's record is safe could not be asked: {0}")]
    NoAnswer(String),
    /// The answer is no.
    #[error("the payment's record is not safe yet: {0}")]
    No(String),
}

impl Assurance {
    /// Asks at `url`, with a bearer token if there is one; `https` trusts the authorities in a PEM file.
    pub fn new(url: &str, token: Option<Secret>, authorities: &Path) -> Result<Assurance, WireError> {
        let wire = HttpWire::new(url, authorities)?;
        let uri: Uri = url.parse().map_err(|_| WireError::Address(url.to_owned()))?;
        let path = uri.path_and_query().map_or("/".to_owned(), |p| p.as_str().to_owned());
        Ok(Assurance { wire, path, token })
    }

    /// Before anything is written.
    pub async fn note(&self) -> Result<Note, NotSafe> {
        self.ask("GET", None).await.map(Note)
    }

    /// Whether everything that was written since the note is safe.
    pub async fn is_safe_since(&self, note: Note) -> Result<(), NotSafe> {
        let told = self.ask("POST", Some(note.0)).await?;
        if told["safe"] == Value::Bool(true) { Ok(()) } else { Err(NotSafe::No(told.to_string())) }
    }

    async fn ask(&self, method: &'static str, body: Option<Value>) -> Result<Value, NotSafe> {
        let mut headers = Vec::new();
        if let Some(token) = &self.token {
            headers.push(("authorization", format!("Bearer {}", token.expose())));
        }
        if body.is_some() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        let ask = Ask { method, path: self.path.clone(), headers, body };
        let (status, body) = tokio::time::timeout(PATIENCE, self.wire.carry(ask))
            .await
            .map_err(|_| NotSafe::NoAnswer(format!("no answer within {} s", PATIENCE.as_secs())))?
            .map_err(NotSafe::NoAnswer)?;
        if status != 200 {
            return Err(NotSafe::NoAnswer(format!("status {status}")));
        }
        serde_json::from_slice(&body).map_err(|e| NotSafe::NoAnswer(format!("the answer: {e}")))
    }
}
