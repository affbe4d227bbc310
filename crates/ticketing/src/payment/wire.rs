//! Carries requests to a provider over HTTP/1.1, with TLS for `https`.
//!
//! One connection a request: a payment is rare enough, and a connection that broke while it was idle would make an
//! outcome unknown that need not be.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Uri, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::toss::{Ask, Wire};

/// A provider that takes longer did not answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// No answer of a provider is larger.
const ANSWER_MAX_BYTES: usize = 1 << 20;

/// A provider's address.
pub struct HttpWire {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// A mistake in the configuration: the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The address cannot be understood.
    #[error("{0}: not an address of the kind https://api.example.com")]
    Address(String),
    /// The authorities' certificates cannot be read.
    #[error("{0}: {1}; name a file with the certificates of the authorities that are trusted")]
    Authorities(String, String),
}

impl HttpWire {
    /// To `address` (`https://host` or `http://host:port`), trusting the authorities in a PEM file.
    pub fn new(address: &str, authorities: &Path) -> Result<HttpWire, WireError> {
        let odd = || WireError::Address(address.to_owned());
        let uri: Uri = address.parse().map_err(|_| odd())?;
        let host = uri.host().ok_or_else(odd)?.to_owned();
        let (tls, port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => {
                let name = ServerName::try_from(host.clone()).map_err(|_| odd())?;
                (Some((connector(authorities)?, name)), 443)
            }
            _ => return Err(odd()),
        };
        Ok(HttpWire { host, port: uri.port_u16().unwrap_or(port), tls })
    }

    async fn ask(&self, ask: Ask) -> Result<(u16, Vec<u8>), String> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|e| e.to_string())?;
        match &self.tls {
            None => self.over(tcp, ask).await,
            Some((connector, name)) => {
                let tls = connector.connect(name.clone(), tcp).await.map_err(|e| e.to_string())?;
                self.over(tls, ask).await
            }
        }
    }

    async fn over<S>(&self, stream: S, ask: Ask) -> Result<(u16, Vec<u8>), String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        let driven = tokio::spawn(connection);
        let mut request = Request::builder().method(ask.method).uri(&ask.path).header("host", &self.host);
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        let body = ask.body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|e| e.to_string())?;
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES).collect().await;
        driven.abort();
        Ok((status, body.map_err(|e| e.to_string())?.to_bytes().to_vec()))
    }
}

impl Wire for HttpWire {
    fn carry(&self, ask: Ask) -> BoxFuture<'_, Result<(u16, Vec<u8>), String>> {
        Box::pin(async move {
            match tokio::time::timeout(PATIENCE, self.ask(ask)).await {
                Ok(told) => told,
                Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
            }
        })
    }
}

pub(crate) fn connector(authorities: &Path) -> Result<TlsConnector, WireError> {
    let odd = |why: String| WireError::Authorities(authorities.display().to_string(), why);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authorities).map_err(|e| odd(e.to_string()))? {
        let certificate = certificate.map_err(|e| odd(e.to_string()))?;
        roots.add(certificate).map_err(|e| odd(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(odd("there is no certificate in it".into()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| odd(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
