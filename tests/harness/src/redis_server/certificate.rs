//! The certificate of a TLS server, signed by an authority that exists for one test.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};

/// The certificate files of one server.
pub(crate) struct Certificate {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// Creates an authority and a certificate for 127.0.0.1 and localhost, and writes them to `directory`.
    pub(crate) fn issue(directory: &Path) -> Self {
        let files = Self {
            authority: Self::authority_in(directory),
            certificate: directory.join("server.pem"),
            key: directory.join("server-key.pem"),
        };
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(
            authority,
            KeyPair::generate().expect("keys need no input"),
        )
        .expect("a certificate authority is within the library's limits");

        let key = KeyPair::generate().expect("keys need no input");
        let certificate = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])
            .and_then(|server| server.signed_by(&key, &authority))
            .expect("both names are valid");

        let written = [
            (&files.authority, authority.pem()),
            (&files.certificate, certificate.pem()),
            (&files.key, key.serialize_pem()),
        ];
        for (file, content) in written {
            std::fs::write(file, content).expect("the server's directory is writable");
        }
        files
    }

    pub(super) fn authority(&self) -> &Path {
        &self.authority
    }

    /// The file of the authority's certificate.
    pub(crate) fn authority_in(directory: &Path) -> PathBuf {
        directory.join("authority.pem")
    }

    /// The file of the server's certificate.
    pub(crate) fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// The file of the server's key.
    pub(crate) fn key(&self) -> &Path {
        &self.key
    }

    /// The lines of `redis.conf` for this certificate. Clients need no certificate of their own.
    pub(super) fn settings(&self) -> String {
        format!(
            "tls-cert-file \"{}\"\ntls-key-file \"{}\"\ntls-ca-cert-file \"{}\"\ntls-auth-clients no",
            self.certificate.display(),
            self.key.display(),
            self.authority.display(),
        )
    }
}
