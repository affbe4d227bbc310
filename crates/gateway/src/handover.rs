//! Passing the listeners on to the next process: an upgrade of the binary, or of what a reload cannot change, without a
//! refused connection.
//!
//! ```text
//!   new: may I? ─────────────▶ old
//!   new ◀── every listener ─── old      (SCM_RIGHTS; both may accept from now on)
//!   new: hears its agent, starts its threads
//!   new: I serve ────────────▶ old      stops accepting, goes on with what it has begun
//!   new ◀──────── yours now ── old      ends when that is done
//! ```
//!
//! The sockets themselves are passed, never closed and opened again: what waits in the queue of a `SO_REUSEPORT` socket is
//! reset when it is closed. They meet at an abstract address made of the listener's; it has no file that could be left
//! behind, and who is not of our own user is not spoken to. If the new process ends before it serves, nothing has changed.
//!
//! Always true here: until the new process says that it serves, the old one does.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::net::{self as unix, UnixStream},
    },
    time::Duration,
};

use runtime::process::Shutdown;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg, sockopt::socket_peercred,
};
use tokio::net::UnixListener;

/// How long one side waits for the other's next word.
const WORD_WITHIN: Duration = Duration::from_secs(5);
/// How long the new process may take from the listeners to serving: it waits for its agent.
const SERVES_WITHIN: Duration = Duration::from_secs(30);
/// The address is the old process's until it has ended its offer.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// Listeners times threads, far beyond any machine of ours.
const SOCKETS_MAX: u32 = 4_096;

const MAY_I: u8 = b'?';
const SOCKET: u8 = b'L';
const I_SERVE: u8 = b'S';
const YOURS: u8 = b'Y';

/// What the old process has passed on.
#[derive(Debug)]
pub(crate) struct Taken {
    listeners: Vec<TcpListener>,
    old: UnixStream,
}

fn address(listen: SocketAddr) -> io::Result<unix::SocketAddr> {
    unix::SocketAddr::from_abstract_name(format!("ghostlight-gateway-{listen}"))
}

/// Asks the process that serves `listen` for its listeners. `None`: there is none.
pub(crate) fn take(listen: SocketAddr) -> io::Result<Option<Taken>> {
    let mut old = match UnixStream::connect_addr(&address(listen)?) {
        Ok(old) => old,
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
        Err(e) => return Err(e),
    };
    is_ours(&old)?;
    old.set_read_timeout(Some(WORD_WITHIN))?;
    old.set_write_timeout(Some(WORD_WITHIN))?;
    old.write_all(&[MAY_I])?;
    let mut count = [0; 4];
    old.read_exact(&mut count)?;
    let count = u32::from_be_bytes(count);
    if count > SOCKETS_MAX {
        return Err(io::Error::other("the running gateway speaks another language"));
    }
    let listeners = (0..count).map(|_| receive(&old).map(TcpListener::from)).collect::<io::Result<_>>()?;
    Ok(Some(Taken { listeners, old }))
}

impl Taken {
    /// Those that listen at `address`. They are not in here any more.
    pub(crate) fn at(&mut self, address: SocketAddr) -> Vec<TcpListener> {
        let is_there = |l: &TcpListener| l.local_addr().is_ok_and(|at| at == address);
        let (there, others) = std::mem::take(&mut self.listeners).into_iter().partition(is_there);
        self.listeners = others;
        there
    }

    /// Tells the old process that it may stop, and waits until it has.
    pub(crate) fn serves(mut self) -> io::Result<()> {
        self.old.write_all(&[I_SERVE])?;
        expect(&mut self.old, YOURS)
    }
}

/// Offers `listeners` until somebody has taken them and serves. The caller stops then. Ends with an error when nothing can
/// be offered, and with nothing at `shutdown`.
pub(crate) async fn offer(
    listen: SocketAddr,
    listeners: Vec<OwnedFd>,
    shutdown: Shutdown,
) -> io::Result<bool> {
    let door = loop {
        match unix::UnixListener::bind_addr(&address(listen)?) {
            Ok(door) => break door,
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
            Err(e) => return Err(e),
        }
        tokio::select! {
            () = tokio::time::sleep(TRY_AGAIN) => {}
            () = shutdown.cancelled() => return Ok(false),
        }
    };
    door.set_nonblocking(true)?;
    let door = UnixListener::from_std(door)?;
    let listeners = std::sync::Arc::new(listeners);
    loop {
        let (stream, _) = tokio::select! {
            accepted = door.accept() => accepted?,
            () = shutdown.cancelled() => return Ok(false),
        };
        let stream = stream.into_std()?;
        let passed = listeners.clone();
        // Blocking words with a process that may be anything: not on a thread that others need.
        let given =
            tokio::task::spawn_blocking(move || give(stream, &passed)).await.map_err(io::Error::other)?;
        match given {
            Ok(mut new) => {
                // Nobody else is offered them; the new process makes its own offer as soon as it hears this.
                drop(door);
                let told = tokio::task::spawn_blocking(move || new.write_all(&[YOURS])).await;
                if let Ok(Err(e)) = told {
                    tracing::debug!("the next gateway does not listen to the last word: {e}");
                }
                return Ok(true);
            }
            Err(e) => {
                tracing::warn!("a process asked for the listeners and did not take over: {e}; serving on")
            }
        }
    }
}

/// Passes the listeners on and waits until they are served.
fn give(mut new: UnixStream, listeners: &[OwnedFd]) -> io::Result<UnixStream> {
    is_ours(&new)?;
    new.set_nonblocking(false)?;
    new.set_read_timeout(Some(WORD_WITHIN))?;
    new.set_write_timeout(Some(WORD_WITHIN))?;
    expect(&mut new, MAY_I)?;
    let count = u32::try_from(listeners.len()).map_err(io::Error::other)?;
    new.write_all(&count.to_be_bytes())?;
    for listener in listeners {
        send(&new, listener)?;
    }
    new.set_read_timeout(Some(SERVES_WITHIN))?;
    expect(&mut new, I_SERVE)?;
    Ok(new)
}

/// Refuses whoever is not of our own user: with the listeners goes every visitor's request.
fn is_ours(stream: &UnixStream) -> io::Result<()> {
    let (theirs, ours) = (socket_peercred(stream)?.uid, rustix::process::getuid());
    if theirs == ours {
        return Ok(());
    }
    let why = format!("the other side is of user {}, not {}", theirs.as_raw(), ours.as_raw());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

fn expect(stream: &mut UnixStream, word: u8) -> io::Result<()> {
    let mut said = [0];
    stream.read_exact(&mut said)?;
    let unknown = || io::Error::other("the other process speaks another language");
    if said == [word] { Ok(()) } else { Err(unknown()) }
}

/// One socket, with a byte to carry it.
fn send(stream: &UnixStream, socket: &OwnedFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::Error::other("there is no room for a socket in a message"));
    }
    let sent = sendmsg(stream, &[IoSlice::new(&[SOCKET])], &mut control, SendFlags::empty())?;
    if sent == 1 { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn receive(stream: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    // A process that we start later must not inherit it.
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
    let socket = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    match socket {
        Some(socket) if got.bytes == 1 && byte == [SOCKET] => Ok(socket),
        _ => Err(io::Error::other("a word came without its socket")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        (listener, at)
    }

    fn dup(listener: &TcpListener) -> OwnedFd {
        listener.as_fd().try_clone_to_owned().unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_waits_in_the_queue_reaches_the_next_process() {
        let ((first, at), (second, other)) = (listener(), listener());
        let offered = tokio::spawn(offer(at, vec![dup(&first), dup(&second)], Shutdown::new()));
        let mut waiting = TcpStream::connect(at).unwrap();
        waiting.write_all(b"waited").unwrap();
        let mut taken = tokio::task::spawn_blocking(move || {
            loop {
                if let Some(taken) = take(at).unwrap() {
                    return taken;
                }
            }
        })
        .await
        .unwrap();
        // The old process's own are closed; the sockets live on.
        drop((first, second));
        assert_eq!(taken.at(other).len(), 1);
        let mine = taken.at(at);
        assert!(taken.at(at).is_empty());
        tokio::task::spawn_blocking(move || taken.serves()).await.unwrap().unwrap();
        assert!(offered.await.unwrap().unwrap());
        let (mut stream, _) = mine[0].accept().unwrap();
        let mut text = [0; 6];
        stream.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"waited");
        assert!(take(at).unwrap().is_none(), "nobody offers them any more");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_process_that_takes_them_and_dies_changes_nothing() {
        let (first, at) = listener();
        let end = Shutdown::new();
        let offered = tokio::spawn(offer(at, vec![dup(&first)], end.clone()));
        for _ in 0..3 {
            let taken = tokio::task::spawn_blocking(move || {
                loop {
                    if let Some(taken) = take(at).unwrap() {
                        return taken;
                    }
                }
            });
            drop(taken.await.unwrap());
        }
        end.cancel();
        assert!(!offered.await.unwrap().unwrap());
    }

    #[test]
    fn where_nobody_serves_there_is_nothing_to_take() {
        assert!(take("127.0.0.1:1".parse().unwrap()).unwrap().is_none());
    }
}
