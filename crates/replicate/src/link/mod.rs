//! The connection between the two agents: length-prefixed frames over TCP, and a handshake that proves to each
//! side that the other one knows the token.
//!
//! The link authenticates; it does not encrypt. It runs inside the tunnel between the clouds. Always true here:
//! no bytes that arrive can end the process, and none can make it hold more than [`FRAME_BYTES_MAX`].

pub mod frame;
pub mod pack;

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use runtime::secret::Secret;
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;
use tokio::{
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use self::frame::{Answer, Challenge, Hello, Nonce, PROTOCOL, Proof, Refusal, Request};

/// The largest frame. A single row may not be larger; servers refuse packets of this size by default as well.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long each step of the handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// How often the primary's side says that it is still there.
pub const ALIVE_EVERY: Duration = Duration::from_millis(500);

/// After this silence the standby's side takes the link for cut.
pub const SILENCE_MAX: Duration = Duration::from_secs(3);

/// How long a frame may take to leave.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// What is gathered before the socket is written to.
const WRITE_AT: usize = 64 * 1024;

/// Why the link is no more. All but `Denied` and `Oversized` pass by connecting again.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The connection.
    #[error("the link broke: {0}")]
    Broken(#[from] std::io::Error),
    /// The other side closed it.
    #[error("the other side closed the link")]
    Closed,
    /// Nothing arrived, or nothing could leave, for too long.
    #[error("the link is silent")]
    Silent,
    /// What arrived is no frame.
    #[error("the other side sent what is no frame of ours")]
    Senseless,
    /// What is to be sent does not fit.
    #[error("{0} bytes do not fit into a frame of at most {FRAME_BYTES_MAX}")]
    Oversized(usize),
    /// The other side is not who it should be.
    #[error("{0}")]
    Denied(String),
}

/// Sends frames.
#[derive(Debug)]
pub struct Sender(FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>);

/// Receives frames.
#[derive(Debug)]
pub struct Receiver(FramedRead<OwnedReadHalf, LengthDelimitedCodec>);

impl Sender {
    /// Takes a frame; it leaves when enough have gathered, or with [`flush`](Self::flush).
    pub async fn feed<T: Serialize>(&mut self, frame: &T) -> Result<(), LinkError> {
        let bytes = postcard::to_stdvec(frame).map_err(|_| LinkError::Senseless)?;
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(LinkError::Oversized(bytes.len()));
        }
        let sent: Result<(), std::io::Error> =
            timeout(SEND_TIMEOUT, self.0.feed(Bytes::from(bytes))).await.map_err(|_| LinkError::Silent)?;
        Ok(sent?)
    }

    /// Lets everything leave.
    pub async fn flush(&mut self) -> Result<(), LinkError> {
        let sent: Result<(), std::io::Error> = timeout(SEND_TIMEOUT, SinkExt::<Bytes>::flush(&mut self.0))
            .await
            .map_err(|_| LinkError::Silent)?;
        Ok(sent?)
    }

    /// Takes a frame and lets it leave.
    pub async fn send<T: Serialize>(&mut self, frame: &T) -> Result<(), LinkError> {
        self.feed(frame).await?;
        self.flush().await
    }
}

impl Receiver {
    /// Waits for a frame. Dropping the future loses nothing.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> Result<T, LinkError> {
        let bytes = self.0.next().await.ok_or(LinkError::Closed)?.map_err(|e| match e.kind() {
            std::io::ErrorKind::InvalidData => LinkError::Senseless,
            _ => LinkError::Broken(e),
        })?;
        read_frame(&bytes)
    }

    async fn receive_soon<T: DeserializeOwned>(&mut self) -> Result<T, LinkError> {
        timeout(HANDSHAKE_TIMEOUT, self.receive()).await.map_err(|_| LinkError::Silent)?
    }
}

/// A frame from its bytes, which may be anything.
pub fn read_frame<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, LinkError> {
    match postcard::take_from_bytes(bytes) {
        Ok((frame, [])) => Ok(frame),
        _ => Err(LinkError::Senseless),
    }
}

/// Both halves of an established connection.
#[derive(Debug)]
pub struct Link {
    /// To the other side.
    pub sender: Sender,
    /// From the other side.
    pub receiver: Receiver,
}

fn framed(stream: TcpStream) -> Result<Link, LinkError> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let codec = || LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec();
    let mut writer = FramedWrite::new(write, codec());
    writer.set_backpressure_boundary(WRITE_AT);
    Ok(Link { sender: Sender(writer), receiver: Receiver(FramedRead::new(read, codec())) })
}

/// Who proves something: a proof of one side is none of the other.
#[derive(Clone, Copy)]
enum Side {
    Primary,
    Standby,
}

fn mac(
    token: &Secret,
    side: Side,
    challenge: &Nonce,
    hello: &Nonce,
    request: &Request,
) -> Result<Hmac<Sha256>, LinkError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.expose().as_bytes())
        .map_err(|_| LinkError::Denied("the link's token cannot be used".into()))?;
    mac.update(match side {
        Side::Primary => b"ghostlight link primary",
        Side::Standby => b"ghostlight link standby",
    });
    mac.update(challenge);
    mac.update(hello);
    mac.update(&postcard::to_stdvec(request).map_err(|_| LinkError::Senseless)?);
    Ok(mac)
}

/// A peer that has proved itself and waits for an answer.
#[derive(Debug)]
pub struct Caller {
    link: Link,
    challenge: Nonce,
    hello: Hello,
}

/// The primary's side of the handshake, up to the question whether the peer gets what it wants.
pub async fn accept(stream: TcpStream, token: &Secret) -> Result<Caller, LinkError> {
    let mut link = framed(stream)?;
    let challenge: Nonce = rand::random();
    link.sender.send(&Challenge { protocol: PROTOCOL, nonce: challenge }).await?;
    let hello: Hello = link.receiver.receive_soon().await?;
    if hello.request.protocol != PROTOCOL {
        let text = format!("this agent speaks link protocol {PROTOCOL}, not {}", hello.request.protocol);
        link.sender.send(&Answer::Refused(Refusal::Denied(text.clone()))).await?;
        return Err(LinkError::Denied(text));
    }
    // Compared in constant time.
    if mac(token, Side::Standby, &challenge, &hello.nonce, &hello.request)?
        .verify_slice(&hello.proof)
        .is_err()
    {
        let text = "the link's token is wrong: both sites need the same secrets.link_token".to_owned();
        link.sender.send(&Answer::Refused(Refusal::Denied(text.clone()))).await?;
        return Err(LinkError::Denied(text));
    }
    Ok(Caller { link, challenge, hello })
}

impl Caller {
    /// Who it is and what it wants.
    pub fn request(&self) -> &Request {
        &self.hello.request
    }

    /// Lets it in.
    pub async fn welcome(mut self, token: &Secret) -> Result<Link, LinkError> {
        let mac = mac(token, Side::Primary, &self.challenge, &self.hello.nonce, &self.hello.request)?;
        let proof: Proof = mac.finalize().into_bytes().into();
        self.link.sender.send(&Answer::Welcome { proof }).await?;
        Ok(self.link)
    }

    /// Sends it away.
    pub async fn refuse(mut self, why: Refusal) -> Result<(), LinkError> {
        self.link.sender.send(&Answer::Refused(why)).await
    }
}

/// What came of a connection attempt that reached the peer.
#[derive(Debug)]
pub enum Connected {
    /// What was wanted will follow.
    Welcome(Box<Link>),
    /// It will not.
    Refused(Refusal),
}

/// The standby's side of the handshake.
pub async fn connect(
    address: std::net::SocketAddr,
    token: &Secret,
    request: Request,
) -> Result<Connected, LinkError> {
    let stream =
        timeout(HANDSHAKE_TIMEOUT, TcpStream::connect(address)).await.map_err(|_| LinkError::Silent)??;
    let mut link = framed(stream)?;
    let challenge: Challenge = link.receiver.receive_soon().await?;
    let nonce: Nonce = rand::random();
    let proof = mac(token, Side::Standby, &challenge.nonce, &nonce, &request)?.finalize().into_bytes().into();
    link.sender.send(&Hello { request: request.clone(), nonce, proof }).await?;
    match link.receiver.receive_soon().await? {
        Answer::Refused(why) => Ok(Connected::Refused(why)),
        Answer::Welcome { proof } => {
            match mac(token, Side::Primary, &challenge.nonce, &nonce, &request)?.verify_slice(&proof) {
                Ok(()) => Ok(Connected::Welcome(Box::new(link))),
                Err(_) => {
                    Err(LinkError::Denied(format!("who answers at {address} does not know the link's token")))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Epoch, Incarnation, Site};
    use tokio::net::TcpListener;

    use super::{
        frame::{Down, Up, Want},
        *,
    };
    use crate::transaction::{Change, Rows, Value};

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_senseless(bytes in proptest::collection::vec(0_u8..=255, 0..400)) {
            assert!(matches!(read_frame::<Down>(&bytes), Ok(_) | Err(LinkError::Senseless)));
            assert!(matches!(read_frame::<Up>(&bytes), Ok(_) | Err(LinkError::Senseless)));
            assert!(matches!(read_frame::<Hello>(&bytes), Ok(_) | Err(LinkError::Senseless)));
        }

        #[test]
        fn a_damaged_frame_is_a_frame_or_senseless(at in 0_usize..60, to in 0_u8..=255, cut in 0_usize..60) {
            let rows = Rows::Insert(vec![vec![Value::Null, Value::Bytes(vec![7; 20]), Value::Double(1.5)]; 2]);
            let frame = Down::Part { changes: vec![Change::Rows { table: 3, foreign_key_checks: true, rows }], end: None };
            let mut bytes = postcard::to_stdvec(&frame).unwrap();
            assert_eq!(read_frame::<Down>(&bytes).unwrap(), frame);
            if let Some(b) = bytes.get_mut(at) { *b = to; }
            bytes.truncate(cut);
            assert!(matches!(read_frame::<Down>(&bytes), Ok(_) | Err(LinkError::Senseless)));
        }
    }

    fn request() -> Request {
        Request {
            protocol: PROTOCOL,
            site: Site::new("aws"),
            epoch: Epoch(1),
            incarnation: Incarnation(1),
            want: Want::Seed,
        }
    }

    async fn meet(theirs: &str, ours: &str) -> (Result<Connected, LinkError>, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let theirs = Secret::new(theirs);
        let server = tokio::spawn(async move {
            let caller = accept(listener.accept().await.unwrap().0, &theirs).await?;
            caller.welcome(&theirs).await
        });
        let connected = connect(address, &Secret::new(ours), request()).await;
        (connected, server.await.unwrap().is_ok())
    }

    #[tokio::test]
    async fn both_sides_prove_that_they_know_the_token() {
        assert!(matches!(meet("a", "a").await, (Ok(Connected::Welcome(_)), true)));
        assert!(matches!(meet("a", "b").await, (Ok(Connected::Refused(Refusal::Denied(_))), false)));
    }
}
