//! What the gateways of both sites prove to each other and to themselves, derived from the admin token: that a
//! request was forwarded by the other gateway, and that a cookie is ours.

use hmac::{Hmac, KeyInit, Mac};
use hyper::{HeaderMap, header};
use model::{Epoch, Position, Site};
use runtime::secret::Secret;
use sha2::Sha256;

/// The cookie of a client that was told `unknown`.
pub(crate) const COOKIE: &str = "ghostlight_unknown";

/// Keys for one purpose each.
#[derive(Clone)]
pub(crate) struct Keys {
    cookie: Hmac<Sha256>,
    forwarded: Hmac<Sha256>,
}

/// What a client's cookie says: the epoch in which it was told `unknown`, and a position behind its write, where
/// one was known. Any later barrier covers both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marked {
    pub(crate) epoch: Epoch,
    pub(crate) position: Option<String>,
}

impl Keys {
    pub(crate) fn derive(admin_token: &Secret) -> Keys {
        let root = keyed(admin_token.expose().as_bytes());
        let derived = |purpose: &str| keyed(&sign(&root, purpose));
        Keys {
            cookie: derived("ghostlight gateway: unknown cookie, 1"),
            forwarded: derived("ghostlight gateway: forwarded, 1"),
        }
    }

    /// What signs the tokens of the web ACL's challenges: the same at both sites, so that a visitor solves one once.
    pub(crate) fn challenge(admin_token: &Secret) -> Vec<u8> {
        sign(&keyed(admin_token.expose().as_bytes()), "ghostlight gateway: web ACL token, 1")
    }

    /// What `site`'s gateway sends with a request that it forwards.
    pub(crate) fn forwarded_token(&self, site: &Site) -> String {
        hex(&sign(&self.forwarded, site.as_str()))
    }

    /// Whether `token` is the one that `site`'s gateway sends.
    pub(crate) fn is_forwarded_by(&self, site: &str, token: &[u8]) -> bool {
        verify(&self.forwarded, site, token)
    }

    /// The cookie's `Set-Cookie` value.
    pub(crate) fn mark(&self, epoch: Epoch, position: Option<&Position>) -> String {
        let position = position.map(|p| hex(p.to_string().as_bytes())).unwrap_or_default();
        let body = format!("1.{epoch}.{position}");
        let mac = hex(&sign(&self.cookie, &body));
        format!("{COOKIE}={body}.{mac}; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax")
    }

    /// The `Set-Cookie` value that takes the cookie away.
    pub(crate) fn unmark() -> &'static str {
        concat!("ghostlight_unknown", "=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
    }

    /// The client's cookie, if it carries one that we signed.
    pub(crate) fn marked(&self, headers: &HeaderMap) -> Option<Marked> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
        cookies
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == COOKIE)
            .find_map(|(_, value)| self.read(value))
    }

    fn read(&self, value: &str) -> Option<Marked> {
        let (body, mac) = value.rsplit_once('.')?;
        if !verify(&self.cookie, body, mac.as_bytes()) {
            return None;
        }
        let mut fields = body.split('.');
        let (version, epoch, position) = (fields.next()?, fields.next()?, fields.next()?);
        let position = (!position.is_empty()).then(|| position.to_owned());
        (version == "1").then_some(Marked { epoch: Epoch(epoch.parse().ok()?), position })
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of every length: short ones are padded, long ones hashed.
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    let used = if key.len() <= block.len() {
        key.to_vec()
    } else {
        use sha2::Digest;
        Sha256::digest(key).to_vec()
    };
    for (to, from) in block.iter_mut().zip(used) {
        *to = from;
    }
    Hmac::new(&block)
}

fn sign(key: &Hmac<Sha256>, text: &str) -> Vec<u8> {
    let mut mac = key.clone();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn verify(key: &Hmac<Sha256>, text: &str, given: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    hex(&sign(key, text)).as_bytes().ct_eq(given).into()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
        // Writing to a String cannot fail.
        write!(text, "{b:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use model::StreamId;

    use super::*;

    fn sent_back(set_cookie: &str) -> HeaderMap {
        let pair = set_cookie.split(';').next().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_str(&format!("a=b; {pair}; c=d")).unwrap());
        headers
    }

    #[test]
    fn a_cookie_comes_back_and_a_changed_one_does_not() {
        let keys = Keys::derive(&Secret::new("one"));
        let position = Position { stream: StreamId("s".into()), file: 1, offset: 2 };
        let cookie = keys.mark(Epoch(7), Some(&position));
        let marked = keys.marked(&sent_back(&cookie)).unwrap();
        assert_eq!((marked.epoch, marked.position.as_deref()), (Epoch(7), Some("733a313a32")));
        assert_eq!(keys.marked(&sent_back(&keys.mark(Epoch(7), None))).unwrap().position, None);
        assert_eq!(keys.marked(&sent_back(&cookie.replace("1.7.", "1.8."))), None);
        assert_eq!(Keys::derive(&Secret::new("two")).marked(&sent_back(&cookie)), None);
        assert_eq!(keys.marked(&sent_back(Keys::unmark())), None);
    }

    #[test]
    fn a_forwarding_token_is_bound_to_its_site_and_its_secret() {
        let keys = Keys::derive(&Secret::new("one"));
        let token = keys.forwarded_token(&Site::new("aws"));
        assert!(keys.is_forwarded_by("aws", token.as_bytes()));
        assert!(!keys.is_forwarded_by("nhn", token.as_bytes()));
        assert!(!keys.is_forwarded_by("aws", b""));
        assert!(!Keys::derive(&Secret::new("two")).is_forwarded_by("aws", token.as_bytes()));
    }
}
