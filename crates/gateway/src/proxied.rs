//! The PROXY protocol, versions 1 and 2: a load balancer before us says, in front of everything else, from whom a
//! connection really comes.
//!
//! Trust boundary: it is read only on listeners that ask for it, and there it must come; whoever can connect to such a
//! listener can claim any address, so only the load balancer must be able to. Not a byte behind the header is taken.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::{io::AsyncReadExt, net::TcpStream};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;
/// More than addresses and a few notes (TLVs) are not wanted.
const BLOCK_BYTES_MAX: usize = 4_096;

/// Reads the header. `None`: the load balancer speaks for itself (a health check), or the address is of another kind.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut first = [0];
    stream.read_exact(&mut first).await?;
    match first {
        [b'P'] => line(&rest_of_line(stream).await?),
        [b'\r'] => {
            let mut head = [0; 15];
            stream.read_exact(&mut head).await?;
            let (signature, fields) = head.split_at(SIGNATURE.len() - 1);
            if !SIGNATURE.ends_with(signature) {
                return Err(wrong("no signature of version 2"));
            }
            let &[version_command, family, high, low] = fields else { return Err(wrong("too short")) };
            let mut block = vec![0; usize::from(u16::from_be_bytes([high, low]))];
            if block.len() > BLOCK_BYTES_MAX {
                return Err(wrong("too long"));
            }
            stream.read_exact(&mut block).await?;
            self::block(version_command, family, &block)
        }
        _ => Err(wrong("neither version 1 nor 2")),
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no PROXY header: {what}"))
}

/// What follows the first `P`, up to the line's end and not a byte further.
async fn rest_of_line(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut line = vec![b'P'];
    let mut ahead = [0; LINE_BYTES_MAX];
    loop {
        let seen = stream.peek(&mut ahead).await?;
        let seen = ahead.get(..seen).unwrap_or_default();
        if seen.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = seen.iter().position(|b| *b == b'\n');
        let take = end.map_or(seen.len(), |at| at + 1);
        if line.len() + take > LINE_BYTES_MAX {
            return Err(wrong("a line of version 1 is shorter"));
        }
        let from = line.len();
        line.resize(from + take, 0);
        stream.read_exact(line.get_mut(from..).unwrap_or_default()).await?;
        if end.is_some() {
            return Ok(line);
        }
    }
}

/// `PROXY TCP4 203.0.113.7 192.0.2.1 51000 80\r\n`
fn line(line: &[u8]) -> io::Result<Option<SocketAddr>> {
    let text = std::str::from_utf8(line).ok().and_then(|l| l.strip_suffix("\r\n"));
    let text = text.ok_or_else(|| wrong("the line does not end as it must"))?;
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, destination, source_port, destination_port] => {
            let ip =
                |text: &str| text.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv4() == (*family == "TCP4"));
            let port = |text: &str| text.parse::<u16>().ok();
            let all = ip(source).zip(port(source_port)).zip(ip(destination).zip(port(destination_port)));
            let ((ip, port), _) = all.ok_or_else(|| wrong("an address cannot be read"))?;
            Ok(Some(SocketAddr::new(ip, port)))
        }
        _ => Err(wrong("the line is not of version 1")),
    }
}

fn block(version_command: u8, family: u8, block: &[u8]) -> io::Result<Option<SocketAddr>> {
    match version_command {
        // LOCAL: the balancer's own connection.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(wrong("an unknown version or command")),
    }
    let short = || wrong("the addresses are cut off");
    let port = |at: usize| -> io::Result<u16> {
        let bytes = block.get(at..at + 2).and_then(|b| b.try_into().ok()).ok_or_else(short)?;
        Ok(u16::from_be_bytes(bytes))
    };
    match family {
        // TCP over IPv4: two addresses, then two ports.
        0x11 => {
            let ip: [u8; 4] = block.get(..4).and_then(|b| b.try_into().ok()).ok_or_else(short)?;
            port(10)?;
            Ok(Some(SocketAddr::new(Ipv4Addr::from(ip).into(), port(8)?)))
        }
        0x21 => {
            let ip: [u8; 16] = block.get(..16).and_then(|b| b.try_into().ok()).ok_or_else(short)?;
            port(34)?;
            Ok(Some(SocketAddr::new(Ipv6Addr::from(ip).into(), port(32)?)))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    /// Sends `bytes` in two pieces, cut at each place in turn, with `GET` behind them.
    async fn check(bytes: &[u8], want: Option<Option<&str>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for cut in 0..bytes.len() {
            let mut out = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            out.set_nodelay(true).unwrap();
            let (mut taken, _) = listener.accept().await.unwrap();
            let (one, two) = bytes.split_at(cut);
            let write = async {
                out.write_all(one).await.unwrap();
                tokio::task::yield_now().await;
                out.write_all(two).await.unwrap();
                out.write_all(b"GET").await.unwrap();
                out.shutdown().await.unwrap();
            };
            let (told, ()) = tokio::join!(read(&mut taken), write);
            let Some(want) = want else {
                assert!(told.is_err(), "{bytes:?} is taken");
                continue;
            };
            assert_eq!(told.unwrap(), want.map(|a| a.parse().unwrap()), "{bytes:?}");
            let mut rest = Vec::new();
            taken.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"GET", "not a byte behind the header is taken");
        }
    }

    fn v2(version_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[version_command, family], &length, block].concat()
    }

    #[tokio::test]
    async fn version_1() {
        check(b"PROXY TCP4 203.0.113.7 192.0.2.1 51000 80\r\n", Some(Some("203.0.113.7:51000"))).await;
        check(b"PROXY TCP6 2001:db8::7 2001:db8::1 51000 80\r\n", Some(Some("[2001:db8::7]:51000"))).await;
        check(b"PROXY UNKNOWN\r\n", Some(None)).await;
        check(b"PROXY TCP4 2001:db8::7 192.0.2.1 51000 80\r\n", None).await;
        check(b"PROXY TCP4 203.0.113.7 192.0.2.1 510000 80\r\n", None).await;
        check(b"PROXY TCP4 203.0.113.7 192.0.2.1 51000 80\n", None).await;
        check(b"POST / HTTP/1.1\r\n", None).await;
        check([b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200], b"\r\n"].concat().as_slice(), None).await;
    }

    #[tokio::test]
    async fn version_2() {
        let v4 = [203, 0, 113, 7, 192, 0, 2, 1, 0xc7, 0x38, 0, 80];
        check(&v2(0x21, 0x11, &v4), Some(Some("203.0.113.7:51000"))).await;
        let with_notes = [v4.as_slice(), &[4, 0, 1, 9]].concat();
        check(&v2(0x21, 0x11, &with_notes), Some(Some("203.0.113.7:51000"))).await;
        let address = |last: u8| [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[last]].concat();
        let v6 = [address(7), address(1), vec![0xc7, 0x38, 0, 80]].concat();
        check(&v2(0x21, 0x21, &v6), Some(Some("[2001:db8::7]:51000"))).await;
        check(&v2(0x20, 0, &[]), Some(None)).await;
        check(&v2(0x21, 0x31, &[0; 216]), Some(None)).await;
        check(&v2(0x21, 0x11, &v4[..11]), None).await;
        check(&v2(0x22, 0x11, &v4), None).await;
        check(&v2(0x11, 0x11, &v4), None).await;
    }
}
