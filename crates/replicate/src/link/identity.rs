//! Who an agent is on the link: a certificate of the project's own authority, and its key.
//!
//! One folder holds what an agent needs: `authority.pem`, `<site>.pem` and `<site>.key`. Only TLS 1.3 is spoken, both
//! sides show a certificate, and a certificate is good for exactly one site: a key that leaks from one site opens
//! nothing in the name of the other. Public authorities are not asked.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use model::Site;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier, verify_server_name},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{ParsedCertificate, WebPkiClientVerifier},
    version::TLS13,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// File of the authority's certificate, the same at both sites.
pub const AUTHORITY: &str = "authority.pem";

/// An agent's certificate and key, and the authority that both sides trust. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    site: Site,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    own: Arc<CertificateDer<'static>>,
    verifier: Arc<WebPkiServerVerifier>,
}

/// An identity cannot be used. The operator's to mend, as the text says.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file is missing or is no PEM file of its kind.
    #[error("{path} cannot be read: {why}; `ghostlight init` makes what is missing")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Certificate, key and authority do not belong together, or the certificate is not this site's or not valid now.
    #[error(
        "the certificate of {site} for the link cannot be used: {why}; make it anew with `ghostlight init --renew {site}`"
    )]
    Unusable {
        /// Whose.
        site: Site,
        /// What is wrong with it.
        why: String,
    },
}

/// The name in a site's certificate.
pub(super) fn certified_name(site: &Site) -> String {
    format!("{}.agent.ghostlight", site.as_str().to_ascii_lowercase())
}

fn server_name(site: &Site) -> Result<ServerName<'static>, InvalidDnsNameError> {
    ServerName::try_from(certified_name(site))
}

impl Identity {
    /// Reads the identity of `site` from `folder`, and checks that it can be used now.
    pub fn load(folder: &Path, site: &Site) -> Result<Identity, IdentityError> {
        let authority = certificate(folder.join(AUTHORITY))?;
        let own = certificate(folder.join(format!("{site}.pem")))?;
        let path = folder.join(format!("{site}.key"));
        let key = PrivateKeyDer::from_pem_file(&path)
            .map_err(|e| IdentityError::File { path, why: e.to_string() })?;
        Identity::new(site, authority, own, key)
    }

    /// Joins the parts, and checks that they can be used now.
    pub fn new(
        site: &Site,
        authority: CertificateDer<'static>,
        own: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Identity, IdentityError> {
        let unusable = |why: String| IdentityError::Unusable { site: site.clone(), why };
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority).map_err(|e| unusable(format!("{AUTHORITY}: {e}")))?;
        let roots = Arc::new(roots);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|e| unusable(e.to_string()))?;
        let of_clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|e| unusable(e.to_string()))?;
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(|e| unusable(e.to_string()))?
            .with_client_cert_verifier(of_clients)
            .with_single_cert(vec![own.clone()], key.clone_key())
            .map_err(|e| unusable(e.to_string()))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|e| unusable(e.to_string()))?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![own.clone()], key)
            .map_err(|e| unusable(e.to_string()))?;
        let identity = Identity {
            site: site.clone(),
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
            own: Arc::new(own),
            verifier,
        };
        identity.valid_at(UnixTime::now()).map_err(unusable)?;
        Ok(identity)
    }

    /// Whether the certificate will still be accepted after `time`.
    pub fn lasts(&self, time: Duration) -> bool {
        self.valid_at(UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + time))
            .is_ok()
    }

    fn valid_at(&self, at: UnixTime) -> Result<(), String> {
        let name = server_name(&self.site).map_err(|e| e.to_string())?;
        self.verifier
            .verify_server_cert(&self.own, &[], &name, &[], at)
            .map(|_| ())
            .map_err(|e| e.to_string())
    }

    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    pub(super) fn connector(&self) -> &TlsConnector {
        &self.connector
    }

    /// The name under which the agent of `peer` must prove itself.
    pub(super) fn name_of(peer: &Site) -> Result<ServerName<'static>, String> {
        server_name(peer).map_err(|e| format!("`{peer}` cannot stand in a certificate: {e}"))
    }

    /// Whether a certificate that the authority signed is the one of `site`.
    pub(super) fn belongs_to(certificate: &CertificateDer<'_>, site: &Site) -> bool {
        let (Ok(parsed), Ok(name)) = (ParsedCertificate::try_from(certificate), server_name(site)) else {
            return false;
        };
        verify_server_name(&parsed, &name).is_ok()
    }
}

fn certificate(path: PathBuf) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_file(&path).map_err(|e| IdentityError::File { path, why: e.to_string() })
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.site)
    }
}
