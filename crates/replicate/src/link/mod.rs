//! The connection between the two agents: length-prefixed frames, compressed, in TLS 1.3 with a certificate on each
//! side.
//!
//! ```text
//!   frames ─postcard─▶ length + bytes ─zstd, one stream a direction─▶ blocks: length + bytes ─▶ TLS ─▶ TCP
//! ```
//!
//! Always true here: no bytes that arrive can end the process, and none can make
//! it hold more than [`FRAME_BYTES_MAX`] and the compressor's window.

pub mod authority;
mod compress;
pub mod frame;
pub mod identity;
pub mod pack;

use std::{fmt, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use model::Site;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{ReadHalf, WriteHalf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsStream;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

pub use self::identity::Identity;
use self::{
    compress::{Compressor, Decompressor},
    frame::{Answer, PROTOCOL, Refusal, Request},
};

/// The largest frame. A row's change (its image before and after) may not be larger: so a BLOB of 64 MiB still fits.
pub const FRAME_BYTES_MAX: usize = 160 * 1024 * 1024;

/// How long each step of the handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// How often each side says that it is still there, if it has nothing else to say.
pub const ALIVE_EVERY: Duration = Duration::from_millis(model::agent::LINK_ALIVE_MS);

/// After this silence the standby's side takes the link for cut.
pub const SILENCE_MAX: Duration = Duration::from_secs(3);

/// How long a frame may take to leave.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Frames are gathered up to so many bytes before they leave as one block.
const BLOCK_BYTES: usize = 64 * 1024;

/// The largest block: one frame of the largest size behind others, and what compression may add to noise.
const BLOCK_BYTES_MAX: usize = FRAME_BYTES_MAX + 4 * BLOCK_BYTES;

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
pub struct Sender {
    blocks: FramedWrite<WriteHalf<TlsStream<TcpStream>>, LengthDelimitedCodec>,
    compressor: Compressor,
    /// Frames that have not left yet, each behind its length.
    gathered: Vec<u8>,
}

/// Receives frames.
pub struct Receiver {
    blocks: FramedRead<ReadHalf<TlsStream<TcpStream>>, LengthDelimitedCodec>,
    decompressor: Decompressor,
    /// What has arrived and was not taken yet.
    arrived: Vec<u8>,
    /// How much of it was.
    taken: usize,
}

impl Sender {
    /// Takes a frame; it leaves when enough have gathered, or with [`flush`](Self::flush).
    pub async fn feed<T: Serialize>(&mut self, frame: &T) -> Result<(), LinkError> {
        let bytes = postcard::to_stdvec(frame).map_err(|_| LinkError::Senseless)?;
        let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= FRAME_BYTES_MAX);
        let length = length.ok_or(LinkError::Oversized(bytes.len()))?;
        self.gathered.extend_from_slice(&length.to_be_bytes());
        self.gathered.extend_from_slice(&bytes);
        if self.gathered.len() >= BLOCK_BYTES {
            let block = self.block()?;
            soon(self.blocks.feed(block)).await?;
        }
        Ok(())
    }

    /// Lets everything leave.
    pub async fn flush(&mut self) -> Result<(), LinkError> {
        if !self.gathered.is_empty() {
            let block = self.block()?;
            soon(self.blocks.feed(block)).await?;
        }
        soon(SinkExt::<Bytes>::flush(&mut self.blocks)).await
    }

    /// Takes a frame and lets it leave.
    pub async fn send<T: Serialize>(&mut self, frame: &T) -> Result<(), LinkError> {
        self.feed(frame).await?;
        self.flush().await
    }

    /// Takes the last frame and closes this direction, so that the frame arrives although the connection then ends.
    pub async fn send_last<T: Serialize>(&mut self, frame: &T) -> Result<(), LinkError> {
        self.send(frame).await?;
        soon(SinkExt::<Bytes>::close(&mut self.blocks)).await
    }

    fn block(&mut self) -> Result<Bytes, LinkError> {
        let block = self.compressor.block(&self.gathered)?;
        self.gathered.clear();
        self.gathered.shrink_to(2 * BLOCK_BYTES);
        Ok(block.into())
    }
}

async fn soon(sending: impl Future<Output = io::Result<()>>) -> Result<(), LinkError> {
    Ok(timeout(SEND_TIMEOUT, sending).await.map_err(|_| LinkError::Silent)??)
}

impl Receiver {
    /// Waits for a frame. Dropping the future loses nothing.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> Result<T, LinkError> {
        loop {
            if let Some(frame) = self.next_arrived()? {
                return Ok(frame);
            }
            let block = self.blocks.next().await.ok_or(LinkError::Closed)?.map_err(of_tls)?;
            self.arrived.drain(..std::mem::take(&mut self.taken));
            self.arrived.shrink_to(2 * BLOCK_BYTES);
            self.decompressor
                .block(&block, &mut self.arrived, BLOCK_BYTES_MAX)
                .map_err(|_| LinkError::Senseless)?;
        }
    }

    /// The next frame of those that have arrived. A frame never spans blocks.
    fn next_arrived<T: DeserializeOwned>(&mut self) -> Result<Option<T>, LinkError> {
        let Some(rest) = self.arrived.get(self.taken..).filter(|rest| !rest.is_empty()) else {
            return Ok(None);
        };
        let (length, rest) = rest.split_first_chunk().ok_or(LinkError::Senseless)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| LinkError::Senseless)?;
        let bytes = rest.get(..length).ok_or(LinkError::Senseless)?;
        let frame = read_frame(bytes)?;
        self.taken += 4 + length;
        Ok(Some(frame))
    }

    async fn receive_soon<T: DeserializeOwned>(&mut self) -> Result<T, LinkError> {
        timeout(HANDSHAKE_TIMEOUT, self.receive()).await.map_err(|_| LinkError::Silent)?
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({} bytes gathered)", self.gathered.len())
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({} bytes arrived)", self.arrived.len() - self.taken)
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

fn framed(stream: TlsStream<TcpStream>) -> Result<Link, LinkError> {
    let (read, write) = tokio::io::split(stream);
    let codec = || LengthDelimitedCodec::builder().max_frame_length(BLOCK_BYTES_MAX).new_codec();
    let mut blocks = FramedWrite::new(write, codec());
    blocks.set_backpressure_boundary(BLOCK_BYTES);
    let sender = Sender { blocks, compressor: Compressor::new()?, gathered: Vec::new() };
    let receiver = Receiver {
        blocks: FramedRead::new(read, codec()),
        decompressor: Decompressor::new()?,
        arrived: Vec::new(),
        taken: 0,
    };
    Ok(Link { sender, receiver })
}

/// What TLS says, told apart: a certificate that is not accepted passes only when somebody mends it.
fn of_tls(e: io::Error) -> LinkError {
    use rustls::{AlertDescription as Alert, Error};
    match e.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(why)) => LinkError::Denied(format!(
            "the other agent's certificate is not accepted: {why}; both sites need the certificates of one `ghostlight init`"
        )),
        Some(Error::NoCertificatesPresented) => {
            LinkError::Denied("who connected to the link showed no certificate".into())
        }
        Some(Error::AlertReceived(
            alert @ (Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::DecryptError
            | Alert::AccessDenied),
        )) => LinkError::Denied(format!(
            "the other agent does not accept this one's certificate ({alert:?}); both sites need the certificates of one `ghostlight init`"
        )),
        None if e.kind() == io::ErrorKind::UnexpectedEof => LinkError::Closed,
        None if e.kind() == io::ErrorKind::InvalidData => LinkError::Senseless,
        _ => LinkError::Broken(e),
    }
}

/// A peer that has proved itself and waits for an answer.
#[derive(Debug)]
pub struct Caller {
    link: Link,
    request: Request,
}

/// The primary's side of the handshake, up to the question whether the peer gets what it wants.
pub async fn accept(stream: TcpStream, identity: &Identity) -> Result<Caller, LinkError> {
    stream.set_nodelay(true)?;
    let tls = timeout(HANDSHAKE_TIMEOUT, identity.acceptor().accept(stream))
        .await
        .map_err(|_| LinkError::Silent)?
        .map_err(of_tls)?;
    let shown = tls.get_ref().1.peer_certificates().and_then(|c| c.first()).map(|c| c.clone().into_owned());
    let mut link = framed(tls.into())?;
    let request: Request = link.receiver.receive_soon().await?;
    let refused = if request.protocol != PROTOCOL {
        Some(format!("this agent speaks link protocol {PROTOCOL}, not {}", request.protocol))
    } else if !shown.is_some_and(|c| Identity::belongs_to(&c, &request.site)) {
        Some(format!("the certificate shown is not the one of {}", request.site))
    } else {
        None
    };
    match refused {
        None => Ok(Caller { link, request }),
        Some(text) => {
            link.sender.send_last(&Answer::Refused(Refusal::Denied(text.clone()))).await?;
            Err(LinkError::Denied(text))
        }
    }
}

impl Caller {
    /// Who it is and what it wants.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Lets it in.
    pub async fn welcome(mut self) -> Result<Link, LinkError> {
        self.link.sender.send(&Answer::Welcome).await?;
        Ok(self.link)
    }

    /// Sends it away.
    pub async fn refuse(mut self, why: Refusal) -> Result<(), LinkError> {
        self.link.sender.send_last(&Answer::Refused(why)).await
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

/// The standby's side of the handshake: `peer` is whose agent must answer.
pub async fn connect(
    address: SocketAddr,
    identity: &Identity,
    peer: &Site,
    request: Request,
) -> Result<Connected, LinkError> {
    let name = Identity::name_of(peer).map_err(LinkError::Denied)?;
    let dialling = async {
        let stream = TcpStream::connect(address).await.map_err(LinkError::Broken)?;
        stream.set_nodelay(true)?;
        identity.connector().connect(name, stream).await.map_err(of_tls)
    };
    let tls = timeout(HANDSHAKE_TIMEOUT, dialling).await.map_err(|_| LinkError::Silent)??;
    let mut link = framed(tls.into())?;
    link.sender.send(&request).await?;
    match link.receiver.receive_soon().await? {
        Answer::Refused(why) => Ok(Connected::Refused(why)),
        Answer::Welcome => Ok(Connected::Welcome(Box::new(link))),
    }
}

#[cfg(test)]
mod tests {
    use model::{Epoch, Incarnation, Site};
    use tokio::net::TcpListener;

    use super::{
        authority::Authority,
        frame::{Down, Up, Want},
        *,
    };
    use crate::transaction::{Change, Rows, Value};

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_senseless(bytes in proptest::collection::vec(0_u8..=255, 0..400)) {
            assert!(matches!(read_frame::<Down>(&bytes), Ok(_) | Err(LinkError::Senseless)));
            assert!(matches!(read_frame::<Up>(&bytes), Ok(_) | Err(LinkError::Senseless)));
            assert!(matches!(read_frame::<Request>(&bytes), Ok(_) | Err(LinkError::Senseless)));
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
            want: Want::Outline,
        }
    }

    /// What each side says when an agent that shows `theirs` asks the one that shows `ours`.
    async fn meet(
        ours: Identity,
        theirs: Identity,
    ) -> (Result<Link, LinkError>, Result<Connected, LinkError>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server =
            tokio::spawn(
                async move { accept(listener.accept().await.unwrap().0, &ours).await?.welcome().await },
            );
        let connected = connect(address, &theirs, &Site::new("nhn"), request()).await;
        (server.await.unwrap(), connected)
    }

    fn identity(authority: &Authority, site: &str) -> Identity {
        authority.identity(&Site::new(site)).unwrap()
    }

    #[tokio::test]
    async fn only_the_two_sites_of_one_authority_meet() {
        let (ours, foreign) = (Authority::new().unwrap(), Authority::new().unwrap());
        let good = meet(identity(&ours, "nhn"), identity(&ours, "aws")).await;
        assert!(matches!(good, (Ok(_), Ok(Connected::Welcome(_)))), "{good:?}");
        for (nhn, aws) in [(&ours, &foreign), (&foreign, &ours)] {
            let met = meet(identity(nhn, "nhn"), identity(aws, "aws")).await;
            assert!(matches!(met, (Err(LinkError::Denied(_)), Err(LinkError::Denied(_)))), "{met:?}");
        }
        // The right authority, and the wrong site: on the side that answers, and on the side that asks.
        let met = meet(identity(&ours, "aws"), identity(&ours, "aws")).await;
        assert!(matches!(met.1, Err(LinkError::Denied(_))), "{met:?}");
        let met = meet(identity(&ours, "nhn"), identity(&ours, "nhn")).await;
        assert!(
            matches!(met, (Err(LinkError::Denied(_)), Ok(Connected::Refused(Refusal::Denied(_))))),
            "{met:?}"
        );
    }

    #[tokio::test]
    async fn a_frame_arrives_as_soon_as_it_is_flushed_and_an_end_is_an_end() {
        let authority = Authority::new().unwrap();
        let met = meet(identity(&authority, "nhn"), identity(&authority, "aws")).await;
        let (Ok(mut primary), Ok(Connected::Welcome(mut standby))) = met else { panic!("{met:?}") };
        for n in 0..2_000_u64 {
            let rows = Rows::Insert(vec![vec![Value::Unsigned(n), Value::Bytes(vec![b'a'; 100])]]);
            let part = Down::Part {
                changes: vec![Change::Rows { table: 1, foreign_key_checks: true, rows }],
                end: None,
            };
            primary.sender.send(&part).await.unwrap();
            assert_eq!(standby.receiver.receive::<Down>().await.unwrap(), part);
        }
        drop(primary);
        assert!(matches!(standby.receiver.receive::<Down>().await, Err(LinkError::Closed)));
    }

    #[tokio::test]
    async fn who_speaks_no_tls_is_sent_away_and_who_says_nothing_is_not_waited_for() {
        use tokio::io::AsyncWriteExt;
        let identity = identity(&Authority::new().unwrap(), "nhn");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        caller.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let answer = accept(listener.accept().await.unwrap().0, &identity).await;
        assert!(matches!(answer, Err(LinkError::Broken(_))), "{answer:?}");
        let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let answer = accept(listener.accept().await.unwrap().0, &identity).await;
        assert!(matches!(answer, Err(LinkError::Silent)), "{answer:?}");
    }
}
