use std::{error::Error as _, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::secret::Secret;

/// No answer of the admin API is larger.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Asks one process's admin API. Cheap to clone; keeps its connections open.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    token: Secret,
    http: legacy::Client<HttpConnector, Full<Bytes>>,
}

/// Why there is no answer, told apart by what may be concluded from it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The host is there, nothing listens. Retry when the process is back.
    #[error("{0} refused the connection: the process is not running")]
    Refused(SocketAddr),
    /// No answer in time; whether the request took effect is not known.
    #[error("{0} did not answer within {1:?}")]
    Silent(SocketAddr, Duration),
    /// The connection broke; whether the request took effect is not known.
    #[error("connection to {0} broke: {1}")]
    Broken(SocketAddr, String),
    /// The other side said no, in these words.
    #[error("{1} from {0}: {2}")]
    Status(SocketAddr, StatusCode, String),
    /// The other side answered something that is not ours: versions differ.
    #[error("the answer of {0} is not understood: {1}; do both run the same version?")]
    Unreadable(SocketAddr, String),
}

impl Client {
    /// A client for the process at `address`.
    pub fn new(address: SocketAddr, token: Secret) -> Client {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector);
        Client { address, token, http }
    }

    /// Whom it asks.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// GET `path`, expecting JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, timeout: Duration) -> Result<T, ClientError> {
        self.send(Method::GET, path, Bytes::new(), timeout).await
    }

    /// POST `body` as JSON to `path`, expecting JSON.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, ClientError> {
        let body =
            serde_json::to_vec(body).map_err(|e| ClientError::Unreadable(self.address, e.to_string()))?;
        self.send(Method::POST, path, body.into(), timeout).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<T, ClientError> {
        let bytes = match tokio::time::timeout(timeout, self.exchange(method, path, body)).await {
            Ok(result) => result?,
            Err(_) => return Err(ClientError::Silent(self.address, timeout)),
        };
        serde_json::from_slice(&bytes).map_err(|e| ClientError::Unreadable(self.address, e.to_string()))
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.expose()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|e| ClientError::Unreadable(self.address, e.to_string()))?;
        let response = self.http.request(request).await.map_err(|e| self.classify(&e))?;
        let status = response.status();
        let bytes = Limited::new(response.into_body(), BODY_BYTES_MAX)
            .collect()
            .await
            .map_err(|e| ClientError::Broken(self.address, e.to_string()))?
            .to_bytes();
        if status.is_success() {
            return Ok(bytes);
        }
        let words = serde_json::from_slice::<serde_json::Value>(&bytes)
            .ok()
            .and_then(|v| v.get("error").and_then(|e| e.as_str()).map(str::to_owned))
            .unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
        Err(ClientError::Status(self.address, status, words))
    }

    fn classify(&self, e: &legacy::Error) -> ClientError {
        let mut cause = e.source();
        while let Some(inner) = cause {
            if let Some(io) = inner.downcast_ref::<std::io::Error>()
                && io.kind() == std::io::ErrorKind::ConnectionRefused
            {
                return ClientError::Refused(self.address);
            }
            cause = inner.source();
        }
        ClientError::Broken(self.address, e.to_string())
    }
}
