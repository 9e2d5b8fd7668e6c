//! TLS to the farm: joining, messages and objects trust the same authorities, those of the system and the owner's `ca`.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio_tungstenite::Connector;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The authorities whose certificates are believed to be the farm's.
#[derive(Clone)]
pub struct TrustedAuthorities {
    certificates: Arc<Vec<Certificate<'static>>>,
    client: Arc<ClientConfig>,
}

impl TrustedAuthorities {
    /// Reads the system's authorities, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR` where these are set, and adds those of the PEM
    /// file `ca`. A system without any is no error: the farm's URL may be plain HTTP, or `ca` is all that is needed.
    ///
    /// # Errors
    ///
    /// In one sentence, when `ca` cannot be read or has no usable certificate.
    pub fn load(ca: Option<&Path>) -> anyhow::Result<TrustedAuthorities> {
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::warn!("cannot read some of the system's certificates: {error}");
        }
        let mut certificates = system.certs;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        if let Some(ca) = ca {
            for certificate in own_authorities(ca)? {
                roots.add(certificate.clone()).with_context(|| {
                    format!("{}, the `ca` of worker.toml, has an unusable certificate", ca.display())
                })?;
                certificates.push(certificate);
            }
        }
        let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("internal error: the TLS library refuses its own versions")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let certificates = certificates.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
        Ok(TrustedAuthorities { certificates: Arc::new(certificates), client: Arc::new(client) })
    }

    /// For the WebSocket.
    pub fn connector(&self) -> Connector {
        Connector::Rustls(Arc::clone(&self.client))
    }

    /// For HTTP.
    pub fn http(&self) -> TlsConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::clone(&self.certificates)))
            .unversioned_rustls_crypto_provider(provider)
            .build()
    }
}

fn own_authorities(ca: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let file = ca.display();
    let read = || CertificateDer::pem_file_iter(ca)?.collect::<Result<Vec<_>, _>>();
    let certificates = read().with_context(|| format!("cannot read {file}, the `ca` of worker.toml"))?;
    ensure!(
        !certificates.is_empty(),
        "{file}, the `ca` of worker.toml, has no certificate: expected PEM, which begins with -----BEGIN CERTIFICATE-----"
    );
    Ok(certificates)
}

/// How to mend a failed handshake, if the cause is a certificate that this machine does not trust.
pub fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            return matches!(why, CertificateError::UnknownIssuer).then_some(
                "this machine does not know the authority that issued the farm's certificate: name the authority's \
                 PEM file with `join --ca FILE`, or as `ca` in worker.toml",
            );
        }
        // Both wrap their cause without naming it as their source.
        let io = match error.downcast_ref() {
            Some(ureq::Error::Io(io)) => Some(io),
            _ => error.downcast_ref(),
        };
        next = match io.and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        let Err(error) = TrustedAuthorities::load(Some(file.path())) else { panic!("{text} was accepted") };
        format!("{error:#}").replace(&file.path().display().to_string(), "FILE")
    }

    #[test]
    fn a_file_that_is_no_authority_is_refused_with_what_is_expected() {
        assert!(refusal("").starts_with("FILE, the `ca` of worker.toml, has no certificate: expected PEM"));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(refusal(broken).starts_with("FILE, the `ca` of worker.toml, has an unusable certificate"));
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(refusal(cut).starts_with("cannot read FILE, the `ca` of worker.toml"), "{}", refusal(cut));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let Err(error) = TrustedAuthorities::load(Some(Path::new("/nowhere/ca.pem"))) else {
            panic!("it is not there")
        };
        assert!(format!("{error:#}").starts_with("cannot read /nowhere/ca.pem, the `ca` of worker.toml"));
    }

    #[test]
    fn an_unknown_authority_is_explained_however_deep_it_is_wrapped() {
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = std::io::Error::other(std::io::Error::other(unknown));
        assert!(advice(&wrapped).is_some_and(|text| text.contains("`ca` in worker.toml")));
        assert!(advice(&ureq::Error::Io(wrapped)).is_some());
        let expired = rustls::Error::InvalidCertificate(CertificateError::Expired);
        assert_eq!(advice(&std::io::Error::other(expired)), None);
        assert_eq!(advice(&std::io::Error::other("refused")), None);
    }
}
