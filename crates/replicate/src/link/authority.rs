//! Makes the certificates of the link: one authority of the project's own, one certificate a site.
//!
//! The authority's key signs and does nothing else; no agent needs it, so it can be kept elsewhere once both sites
//! have their certificates. Keys are written for their owner's eyes only. Nothing that exists is ever overwritten
//! but a certificate that is to be renewed.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use model::Site;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use super::identity::{AUTHORITY, Identity, IdentityError, certified_name};

/// File of the authority's key.
pub const AUTHORITY_KEY: &str = "authority.key";

/// How long the authority's certificate is valid.
const AUTHORITY_VALID: Duration = Duration::days(3_650);
/// How long a site's certificate is valid.
const SITE_VALID: Duration = Duration::days(825);
/// Certificates begin a little in the past: clocks differ.
const EARLIER: Duration = Duration::hours(24);

/// A certificate cannot be made or stored.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The authority's key is no key.
    #[error(
        "{path} is no private key: {why}; without it no certificate can be signed. Put the right file back, or remove the folder and give both sites new certificates"
    )]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The certificate itself, as the site's name or the clock would have it.
    #[error("a certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// What was made cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// The authority of one service: its key, and its certificate.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    key_pem: String,
}

/// What [`prepare`] did with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// It was made.
    Made(PathBuf),
    /// It was there and is left as it is.
    Kept(PathBuf),
}

impl Authority {
    /// A new one.
    pub fn new() -> Result<Authority, AuthorityError> {
        Authority::of(KeyPair::generate()?)
    }

    /// The authority whose key this is. Its certificate is signed again: who trusts the earlier one trusts this one,
    /// because name and key are the same.
    fn of(key: KeyPair) -> Result<Authority, AuthorityError> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, "Ghostlight link authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = validity(AUTHORITY_VALID);
        let certificate = params.self_signed(&key)?;
        let key_pem = key.serialize_pem();
        Ok(Authority { issuer: Issuer::new(params, key), certificate, key_pem })
    }

    /// A certificate for `site` with a new key, both as PEM.
    fn issue(&self, site: &Site) -> Result<(Certificate, KeyPair), AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![certified_name(site)])?;
        params.distinguished_name.push(DnType::CommonName, format!("Ghostlight agent of {site}"));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = validity(SITE_VALID);
        Ok((params.signed_by(&key, &self.issuer)?, key))
    }

    /// An identity that is kept in memory only.
    pub fn identity(&self, site: &Site) -> Result<Identity, AuthorityError> {
        let (certificate, key) = self.issue(site)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Identity::new(site, self.certificate.der().clone(), certificate.der().clone(), key)?)
    }
}

fn validity(length: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - EARLIER, now + length)
}

/// Makes what is missing in `folder` for these sites, and a new certificate for each of `renew`.
///
/// The authority's key is needed only if something has to be signed.
pub fn prepare(folder: &Path, sites: &[Site], renew: &[Site]) -> Result<Vec<Prepared>, AuthorityError> {
    let make = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    make.map_err(|source| AuthorityError::File { path: folder.to_owned(), source })?;
    let (authority_path, key_path) = (folder.join(AUTHORITY), folder.join(AUTHORITY_KEY));
    let mut prepared = Vec::new();
    let mut authority = None;
    if !authority_path.exists() {
        let made = match key_path.exists() {
            true => open(&key_path)?,
            false => Authority::new()?,
        };
        if !key_path.exists() {
            write(&key_path, &made.key_pem, false)?;
            prepared.push(Prepared::Made(key_path.clone()));
        }
        write(&authority_path, &made.certificate.pem(), false)?;
        prepared.push(Prepared::Made(authority_path));
        authority = Some(made);
    } else {
        prepared.push(Prepared::Kept(authority_path));
    }
    for site in sites {
        let (certificate_path, site_key_path) =
            (folder.join(format!("{site}.pem")), folder.join(format!("{site}.key")));
        if certificate_path.exists() && site_key_path.exists() && !renew.contains(site) {
            prepared.push(Prepared::Kept(certificate_path));
            continue;
        }
        let signing = match authority.take() {
            Some(authority) => authority,
            None => open(&key_path)?,
        };
        let (certificate, key) = signing.issue(site)?;
        authority = Some(signing);
        write(&site_key_path, &key.serialize_pem(), true)?;
        write(&certificate_path, &certificate.pem(), true)?;
        prepared.push(Prepared::Made(certificate_path));
    }
    Ok(prepared)
}

fn open(key_path: &Path) -> Result<Authority, AuthorityError> {
    let pem = fs::read_to_string(key_path)
        .map_err(|source| AuthorityError::File { path: key_path.to_owned(), source })?;
    let key = KeyPair::from_pem(&pem)
        .map_err(|e| AuthorityError::Key { path: key_path.to_owned(), why: e.to_string() })?;
    Authority::of(key)
}

/// Writes beside the place and renames, so that no reader ever sees half a file.
fn write(path: &Path, text: &str, replace: bool) -> Result<(), AuthorityError> {
    let attempt = || {
        if !replace && path.exists() {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        let beside = path.with_extension("new");
        if beside.exists() {
            fs::remove_file(&beside)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    attempt().map_err(|source| AuthorityError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn sites() -> [Site; 2] {
        [Site::new("nhn"), Site::new("aws")]
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            let path = std::env::temp_dir().join(format!("ghostlight-link-{:016x}", rand::random::<u64>()));
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn what_is_missing_is_made_once_and_what_is_there_is_kept() {
        let folder = Folder::new();
        let made = prepare(&folder.0, &sites(), &[]).unwrap();
        assert!(made.iter().all(|p| matches!(p, Prepared::Made(_))), "{made:?}");
        let read = |name: &str| fs::read_to_string(folder.0.join(name)).unwrap();
        let (authority, nhn, aws) = (read(AUTHORITY), read("nhn.pem"), read("aws.pem"));
        let mode = fs::metadata(folder.0.join("nhn.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = prepare(&folder.0, &sites(), &[]).unwrap();
        assert!(again.iter().all(|p| matches!(p, Prepared::Kept(_))), "{again:?}");
        prepare(&folder.0, &sites(), &[Site::new("aws")]).unwrap();
        assert_eq!((read(AUTHORITY), read("nhn.pem")), (authority, nhn));
        assert_ne!(read("aws.pem"), aws);
        for site in sites() {
            let identity = Identity::load(&folder.0, &site).unwrap();
            assert!(identity.lasts(std::time::Duration::from_secs(820 * 86_400)));
            assert!(!identity.lasts(std::time::Duration::from_secs(830 * 86_400)));
        }
    }

    #[test]
    fn agents_need_the_authoritys_key_only_for_signing() {
        let folder = Folder::new();
        prepare(&folder.0, &sites(), &[]).unwrap();
        fs::remove_file(folder.0.join(AUTHORITY_KEY)).unwrap();
        prepare(&folder.0, &sites(), &[]).unwrap();
        assert!(Identity::load(&folder.0, &Site::new("nhn")).is_ok());
        let e = prepare(&folder.0, &sites(), &[Site::new("nhn")]).unwrap_err();
        assert!(e.to_string().contains(AUTHORITY_KEY), "{e}");
    }

    #[test]
    fn a_certificate_of_another_site_or_authority_is_named_as_such() {
        let folder = Folder::new();
        prepare(&folder.0, &sites(), &[]).unwrap();
        let at = |name: &str| folder.0.join(name);
        fs::copy(at("aws.pem"), at("nhn.pem")).unwrap();
        fs::copy(at("aws.key"), at("nhn.key")).unwrap();
        let e = Identity::load(&folder.0, &Site::new("nhn")).unwrap_err();
        assert!(matches!(e, IdentityError::Unusable { .. }), "{e}");
        let other = Folder::new();
        prepare(&other.0, &sites(), &[]).unwrap();
        fs::copy(other.0.join(AUTHORITY), at(AUTHORITY)).unwrap();
        let e = Identity::load(&folder.0, &Site::new("aws")).unwrap_err();
        assert!(matches!(e, IdentityError::Unusable { .. }), "{e}");
    }
}
