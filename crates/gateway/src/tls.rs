//! The certificates of a listener: one or several, chosen by the name that a visitor asks for, read from files and read
//! again when these change.
//!
//! A new certificate is shown from the next handshake on; connections that are open keep theirs and are not touched.
//! Files that cannot be used (half written, key and certificate of different pairs) are named in the log, and what was
//! shown before is shown on.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use runtime::process::Shutdown;
use rustls::{
    ServerConfig,
    client::verify_server_name,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The files of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and those between it and its authority, PEM.
    pub chain: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// A certificate cannot be used: the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is no PEM of what it should be.
    #[error("{path}: {why}; write a PEM file there")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Key and certificate do not fit, or are of a kind that is not spoken here.
    #[error("{chain} and {key} cannot be used together: {why}")]
    Pair {
        /// The certificate's file.
        chain: String,
        /// The key's file.
        key: String,
        /// What is wrong.
        why: rustls::Error,
    },
    /// No certificate is named.
    #[error("a listener with TLS needs at least one certificate")]
    None,
    /// The library refuses its own parameters: our fault.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// What a listener shows.
#[derive(Debug)]
pub struct Certificates {
    files: Vec<CertificateFiles>,
    shown: ArcSwap<Vec<Arc<CertifiedKey>>>,
}

impl Certificates {
    /// Reads them all; fails at the first that cannot be used.
    pub fn read(files: Vec<CertificateFiles>) -> Result<Arc<Certificates>, TlsError> {
        if files.is_empty() {
            return Err(TlsError::None);
        }
        let shown = ArcSwap::from_pointee(read_all(&files)?);
        Ok(Arc::new(Certificates { files, shown }))
    }

    /// Where they are read from.
    pub(crate) fn files(&self) -> &[CertificateFiles] {
        &self.files
    }

    /// A server that shows them: TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1, sessions resumed by tickets.
    pub(crate) fn server(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Setup)?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = ring::Ticketer::new().map_err(TlsError::Setup)?;
        Ok(Arc::new(config))
    }

    /// Reads them again whenever a file has changed, until `shutdown`.
    pub(crate) async fn follow(self: Arc<Self>, shutdown: Shutdown) {
        let mut seen = self.stamps();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = shutdown.cancelled() => return,
            }
            let now = self.stamps();
            if now == seen {
                continue;
            }
            seen = now;
            match read_all(&self.files) {
                Ok(read) => {
                    self.shown.store(Arc::new(read));
                    tracing::info!("new certificates are shown from now on");
                }
                // Looked at again when the files change again.
                Err(e) => tracing::warn!("the certificates of before are shown on: {e}"),
            }
        }
    }

    fn stamps(&self) -> Vec<Option<[i128; 4]>> {
        self.files.iter().flat_map(|f| [stamp(&f.chain), stamp(&f.key)]).collect()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let all = self.shown.load();
        let name = hello.server_name().and_then(|n| ServerName::try_from(n).ok());
        let fits = |key: &&Arc<CertifiedKey>| {
            let parsed = key.cert.first().and_then(|c| ParsedCertificate::try_from(c).ok());
            name.as_ref().zip(parsed).is_some_and(|(name, cert)| verify_server_name(&cert, name).is_ok())
        };
        // A visitor who names none, or one that we do not have, is shown the first: his browser tells him what is wrong.
        all.iter().find(fits).or(all.first()).cloned()
    }
}

/// What tells that a file is another one now, or was written again.
pub(crate) fn stamp(path: &Path) -> Option<[i128; 4]> {
    let found = std::fs::metadata(path).ok()?;
    Some([found.ino().into(), found.size().into(), found.mtime().into(), found.mtime_nsec().into()])
}

fn read_all(files: &[CertificateFiles]) -> Result<Vec<Arc<CertifiedKey>>, TlsError> {
    files.iter().map(|f| read(f).map(Arc::new)).collect()
}

fn read(files: &CertificateFiles) -> Result<CertifiedKey, TlsError> {
    let path = |path: &Path| path.display().to_string();
    let file = |at: &Path, why: String| TlsError::File { path: path(at), why };
    let chain = CertificateDer::pem_file_iter(&files.chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| file(&files.chain, e.to_string()))?;
    if chain.is_empty() {
        return Err(file(&files.chain, "there is no certificate in it".into()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| file(&files.key, e.to_string()))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|why| TlsError::Pair {
        chain: path(&files.chain),
        key: path(&files.key),
        why,
    })
}
