//! Carries one event to its endpoint: one connection, to an address that was judged, and only the status is read.

use std::{fmt, net::SocketAddr, path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use super::guard::{Network, Target, check};
use crate::payment::wire::{WireError, connector};

/// An endpoint that takes longer did not answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// More of an answer's head is not read, and nothing of its body.
const HEAD_MAX_BYTES: usize = 16 << 10;

/// Sends events.
pub struct Sender {
    allowed: Vec<Network>,
    tls: Result<TlsConnector, WireError>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// The event's id.
    pub id: String,
    /// The signature's header.
    pub signature: String,
    /// JSON.
    pub body: String,
}

impl Sender {
    /// Over `https`, trusting the authorities in a PEM file; besides to public addresses into the networks `allowed`.
    pub fn new(authorities: &Path, allowed: Vec<Network>) -> Sender {
        Sender { allowed, tls: connector(authorities) }
    }

    /// What is wrong with an endpoint's address, as far as it can be told before anything is sent.
    pub async fn judge(&self, url: &str) -> Result<(), String> {
        let target = Target::parse(url).map_err(str::to_owned)?;
        match tokio::time::timeout(PATIENCE, self.addresses(&target)).await {
            Ok(found) => found.map(drop),
            Err(_) => Err(format!("{} is not found in time", target.host)),
        }
    }

    /// Sends; every answer of the kind 2xx is a success. Redirects are not followed.
    pub async fn send(&self, url: &str, message: &Message) -> Result<(), String> {
        match tokio::time::timeout(PATIENCE, self.carry(url, message)).await {
            Ok(told) => told,
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    async fn carry(&self, url: &str, message: &Message) -> Result<(), String> {
        let target = Target::parse(url).map_err(str::to_owned)?;
        let addresses = self.addresses(&target).await?;
        let tcp = TcpStream::connect(addresses.as_slice()).await.map_err(|e| e.to_string())?;
        if !target.tls {
            return over(tcp, &target, message).await;
        }
        let connector = self.tls.as_ref().map_err(ToString::to_string)?;
        let name = ServerName::try_from(target.host.clone()).map_err(|e| e.to_string())?;
        let tls = connector.connect(name, tcp).await.map_err(|e| e.to_string())?;
        over(tls, &target, message).await
    }

    /// The addresses of an endpoint. One that may not be asked spoils them all.
    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, String> {
        let found = lookup_host((target.host.as_str(), target.port))
            .await
            .map_err(|e| format!("{} is not found: {e}", target.host))?;
        let addresses: Vec<SocketAddr> = found.collect();
        for address in &addresses {
            check(address.ip(), target.tls, &self.allowed)?;
        }
        if addresses.is_empty() { Err(format!("{} has no address", target.host)) } else { Ok(addresses) }
    }
}

async fn over<S>(stream: S, target: &Target, message: &Message) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_MAX_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    // What ends the connection shows in the answer; it ends with this call, however that ends.
    let mut driven = JoinSet::new();
    driven.spawn(connection);
    let request = Request::post(&target.path)
        .header(header::HOST, &target.authority)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, "Ghostlight-Tickets-Webhook/1")
        .header("webhook-id", &message.id)
        .header("webhook-signature", &message.signature)
        .body(Full::new(Bytes::from(message.body.clone())))
        .map_err(|e| e.to_string());
    let answer = match request {
        Ok(request) => sender.send_request(request).await.map_err(|e| e.to_string()),
        Err(e) => Err(e),
    };
    let status = answer?.status();
    if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
}
