//! A request out of a file or a URL.

use std::net::IpAddr;

use anyhow::{Context, bail};
use waf::{Header, RequestView};

/// A request of its own.
pub(super) struct Owned {
    method: String,
    target: String,
    version: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Owned {
    /// `http://host/path?query` is a GET; anything else is a file with a raw request.
    pub(super) fn read(what: &str) -> anyhow::Result<Self> {
        if let Some((_, rest)) = what.split_once("://") {
            let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (host, target) = rest.split_at(at);
            let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
            let headers = vec![
                ("Host".to_owned(), host.as_bytes().to_vec()),
                ("User-Agent".to_owned(), b"ghostlight-waf-test".to_vec()),
                ("Accept".to_owned(), b"*/*".to_vec()),
            ];
            return Ok(Self {
                method: "GET".into(),
                target,
                version: "HTTP/1.1".into(),
                headers,
                body: Vec::new(),
            });
        }
        let bytes = std::fs::read(what)
            .with_context(|| format!("{what} is neither a URL nor a file that can be read"))?;
        Self::parse(&bytes).with_context(|| format!("{what} is no HTTP request"))
    }

    /// The request line, headers, an empty line, the body. Line ends of any kind.
    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut rest = bytes;
        let mut line = || {
            let end = rest.iter().position(|&b| b == b'\n');
            let (line, after) = end.map_or((rest, &[] as &[u8]), |at| (&rest[..at], &rest[at + 1..]));
            rest = after;
            line.strip_suffix(b"\r").unwrap_or(line)
        };
        let first = String::from_utf8_lossy(line()).into_owned();
        let mut words = first.split(' ');
        let (Some(method), Some(target)) = (words.next().filter(|m| !m.is_empty()), words.next()) else {
            bail!("its first line is `{first}`, not `METHOD /path HTTP/1.1`");
        };
        let version = words.next().unwrap_or("HTTP/1.1").to_owned();
        let mut headers = Vec::new();
        loop {
            let header = line();
            if header.is_empty() {
                break;
            }
            let Some(at) = header.iter().position(|&b| b == b':') else {
                bail!("`{}` is no header", String::from_utf8_lossy(header));
            };
            headers.push((
                String::from_utf8_lossy(&header[..at]).into_owned(),
                header[at + 1..].trim_ascii().to_vec(),
            ));
        }
        Ok(Self { method: method.into(), target: target.into(), version, headers, body: rest.to_vec() })
    }

    pub(super) fn headers(&self) -> Vec<Header<'_>> {
        self.headers.iter().map(|(name, value)| Header { name, value }).collect()
    }

    pub(super) fn view<'a>(
        &'a self,
        headers: &'a [Header<'a>],
        client_ip: IpAddr,
        now_ms: u64,
    ) -> RequestView<'a> {
        let (path, query, fragment) = RequestView::split_target(&self.target);
        RequestView {
            method: &self.method,
            path,
            query,
            fragment,
            version: &self.version,
            headers,
            body: &self.body,
            client_ip,
            ja3: None,
            ja4: None,
            request_id: "waf-test",
            now_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_request_is_taken_apart() {
        let request =
            Owned::parse(b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Type:text/plain\r\n\r\nbody\n")
                .unwrap();
        assert_eq!(
            (request.method.as_str(), request.target.as_str(), request.headers.len()),
            ("POST", "/a?b=c", 2)
        );
        assert_eq!(request.body, b"body\n");
        assert!(Owned::parse(b"").is_err());
    }
}
