//! Asking a process whether it is ready, from outside and without trusting it.

use std::{net::SocketAddr, time::Duration};

use cloud::local::mariadb;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long one question may take.
const ASK: Duration = Duration::from_millis(1_000);

/// How a process shows that it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// A database greets here.
    Database(SocketAddr),
    /// `GET path` answers 200 here.
    Http(SocketAddr, &'static str),
}

impl Ready {
    /// Whether it is ready now.
    pub async fn is(&self) -> bool {
        match self {
            Ready::Database(address) => mariadb::accepts_connections(*address).await,
            Ready::Http(address, path) => answers_200(*address, path).await,
        }
    }
}

/// Whether `GET path` is answered with 200 in time.
pub async fn answers_200(address: SocketAddr, path: &str) -> bool {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: ghostlight-lab\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut status_line = [0_u8; 12];
        stream.read_exact(&mut status_line).await?;
        std::io::Result::Ok(status_line.ends_with(b" 200"))
    };
    matches!(timeout(ASK, exchange).await, Ok(Ok(true)))
}
