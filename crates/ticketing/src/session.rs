//! Who a visitor is: signed cookies, so that every instance knows everybody and no lost instance logs anyone out.
//!
//! `sid` = `<account>.<issued at, s>.<valid for, s>.<HMAC-SHA256>`. Nothing secret is in it; it cannot be made or
//! changed without the key. Forms carry a token bound to the cookie of the visitor that they were shown to.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use runtime::secret::Secret;
use subtle::ConstantTimeEq;

use crate::ids::mac;

/// The session's cookie.
pub const SESSION_COOKIE: &str = "sid";
/// A random cookie of a visitor who is not signed in, for form tokens.
pub const VISITOR_COOKIE: &str = "vid";
/// Valid without "stay signed in".
const SHORT_S: u64 = 12 * 3_600;
/// Valid with it.
const LONG_S: u64 = 30 * 86_400;

/// A signed-in visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The account.
    pub account: u64,
    /// When it was issued, in seconds since 1970.
    pub issued_s: u64,
}

/// Signs and checks.
#[derive(Clone, Debug)]
pub struct Signer {
    key: Secret,
}

impl Signer {
    /// With this key, which every instance shares.
    pub fn new(key: Secret) -> Signer {
        Signer { key }
    }

    /// The raw key, for names derived from a visitor's idempotency key.
    pub(crate) fn key(&self) -> &[u8] {
        self.key.expose().as_bytes()
    }

    /// A `Set-Cookie` value that signs `account` in.
    pub fn sign_in(&self, account: u64, remember: bool, now_ms: u64) -> String {
        let issued_s = now_ms / 1_000;
        let valid_s = if remember { LONG_S } else { SHORT_S };
        let body = format!("{account}.{issued_s}.{valid_s}");
        let seal = self.seal(&["session", &body]);
        let age = if remember { format!("; Max-Age={valid_s}") } else { String::new() };
        format!("{SESSION_COOKIE}={body}.{seal}; Path=/; HttpOnly; SameSite=Lax{age}")
    }

    /// A `Set-Cookie` value that signs out.
    pub fn sign_out() -> String {
        format!("{SESSION_COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0")
    }

    /// Reads the session's cookie.
    pub fn session(&self, cookie: &str, now_ms: u64) -> Option<Session> {
        let (body, seal) = cookie.rsplit_once('.')?;
        if !same(&self.seal(&["session", body]), seal) {
            return None;
        }
        let mut parts = body.split('.').map(str::parse::<u64>);
        let (account, issued_s, valid_s) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        // The other place's clock may be a little ahead.
        let age_s = (now_ms / 1_000).saturating_sub(issued_s);
        (age_s < valid_s).then_some(Session { account, issued_s })
    }

    /// The token that a form shown to the bearer of `cookie` carries.
    pub fn form_token(&self, cookie: &str) -> String {
        self.seal(&["form", cookie])
    }

    /// Whether a form that the bearer of `cookie` sent was shown by us.
    pub fn is_form_token(&self, cookie: &str, token: &str) -> bool {
        !cookie.is_empty() && same(&self.form_token(cookie), token)
    }

    fn seal(&self, parts: &[&str]) -> String {
        URL_SAFE_NO_PAD.encode(mac(self.key(), parts))
    }
}

/// Whether two signed texts are the same, in a time that tells nothing about where they differ.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn signer(key: &str) -> Signer {
        Signer::new(Secret::new(key))
    }

    fn value(set_cookie: &str) -> &str {
        set_cookie.split([';', '=']).nth(1).unwrap()
    }

    #[test]
    fn another_instance_with_the_same_key_knows_the_visitor() {
        let cookie = signer("k").sign_in(42, false, NOW);
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"));
        let session = signer("k").session(value(&cookie), NOW + 1_000).unwrap();
        assert_eq!(session.account, 42);
        assert_eq!(signer("other").session(value(&cookie), NOW), None);
    }

    #[test]
    fn a_changed_or_old_cookie_is_nobody() {
        let s = signer("k");
        let cookie = s.sign_in(42, false, NOW);
        let cookie = value(&cookie);
        assert_eq!(s.session(&cookie.replacen("42", "43", 1), NOW), None);
        assert_eq!(s.session(cookie, NOW + SHORT_S * 1_000), None);
        for odd in ["", ".", "...", "1.2.3", "42.x.y.z"] {
            assert_eq!(s.session(odd, NOW), None);
        }
    }

    #[test]
    fn a_form_token_belongs_to_one_cookie() {
        let s = signer("k");
        let token = s.form_token("a");
        assert!(s.is_form_token("a", &token));
        assert!(!s.is_form_token("b", &token));
        assert!(!s.is_form_token("", &s.form_token("")));
    }
}
