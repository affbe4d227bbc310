//! A look at a public door: one GET on a fresh connection, no token, only the status line is read.
//!
//! A fresh connection each time, because the question is whether a visitor who arrives now would be let in.

use std::{io, net::SocketAddr, time::Duration};

use model::observation::ProbeResult;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// No status line is longer.
const STATUS_LINE_BYTES: usize = 512;

pub(super) async fn get(address: SocketAddr, host: &str, path: &str, timeout: Duration) -> ProbeResult {
    match tokio::time::timeout(timeout, status(address, host, path)).await {
        Err(_) => ProbeResult::Silent,
        Ok(Err(_)) => ProbeResult::Refused,
        Ok(Ok(line)) => match line.split_ascii_whitespace().nth(1) {
            Some("200") => ProbeResult::Ok,
            _ => ProbeResult::Failed { why: line },
        },
    }
}

async fn status(address: SocketAddr, host: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; STATUS_LINE_BYTES];
    let mut length = 0;
    while let Some(room) = answer.get_mut(length..).filter(|room| !room.is_empty()) {
        let n = stream.read(room).await?;
        length += n;
        if n == 0 || answer.get(..length).is_some_and(|a| a.contains(&b'\n')) {
            break;
        }
    }
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    answer.truncate(length);
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}
