//! The gate's TLS settings and certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::redis_server::Certificate;

/// Creates a certificate in `directory`, and returns an acceptor for TLS connections with this
/// certificate.
pub(super) fn acceptor(directory: &Path) -> TlsAcceptor {
    let files = Certificate::issue(directory);
    let certificates = CertificateDer::pem_file_iter(files.certificate())
        .and_then(Iterator::collect)
        .expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(files.key()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .expect("the key belongs to the certificate");
    TlsAcceptor::from(Arc::new(config))
}

/// The certificate of the authority that signed the gate's certificate.
pub(super) fn authority(directory: &Path) -> PathBuf {
    Certificate::authority_in(directory)
}
