//! The worker's Ed25519 key. It is generated on this machine and never leaves it; the master has the public half.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use ed25519_dalek::{Signer, SigningKey};
use protocol::SignedRequest;

/// Signed before the nonce, so that the signature is valid for nothing else.
const PURPOSE: &str = "trunkfarm session 1\n";

#[derive(Debug, Clone)]
pub struct Key(SigningKey);

impl Key {
    /// Reads the key, or creates one that only its owner may read.
    pub fn open_or_create(path: &Path) -> anyhow::Result<Key> {
        match Key::open(path) {
            Err(e) if is_missing(&e) => Key::create(path),
            opened => opened,
        }
    }

    pub fn open(path: &Path) -> anyhow::Result<Key> {
        let text = fs::read_to_string(path).with_context(|| format!("reading the key {}", path.display()))?;
        let secret = from_hex(text.trim()).with_context(|| {
            format!(
                "{} does not contain a worker's key: expected 64 hexadecimal digits; remove the file and run `farm-worker join` again",
                path.display()
            )
        })?;
        Ok(Key(SigningKey::from_bytes(&secret)))
    }

    fn create(path: &Path) -> anyhow::Result<Key> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).context("asking the system for random bytes")?;
        let writing = || format!("writing the key {}", path.display());
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(writing)?;
        file.write_all(format!("{}\n", to_hex(&secret)).as_bytes()).with_context(writing)?;
        file.sync_all().with_context(writing)?;
        Ok(Key(SigningKey::from_bytes(&secret)))
    }

    /// 64 hexadecimal digits.
    pub fn public(&self) -> String {
        to_hex(self.0.verifying_key().as_bytes())
    }

    /// What the volunteer tells the operator.
    pub fn code(&self) -> String {
        self.public()[..8].to_string()
    }

    /// A request that this key signs: to leave the farm, or to have another key.
    pub fn sign_request(&self, at_ms: i64, next: Option<&Key>) -> SignedRequest {
        let mut request = SignedRequest {
            protocol: protocol::VERSION,
            key: self.public(),
            at_ms,
            next_key: next.map(Key::public),
            signature: String::new(),
        };
        request.signature = to_hex(&self.0.sign(request.text().as_bytes()).to_bytes());
        request
    }

    /// The answer to a master's challenge, hexadecimal.
    pub fn answer(&self, nonce: &str) -> String {
        to_hex(&self.0.sign(format!("{PURPOSE}{nonce}").as_bytes()).to_bytes())
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::NotFound)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    // A SHA-256 and a key are both written as 64 lower-case digits.
    text.parse::<protocol::Sha256>().ok().map(|digits| digits.0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ed25519_dalek::{Signature, Verifier};

    use super::*;

    #[test]
    fn a_key_is_created_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let first = Key::open_or_create(&path).unwrap();
        let second = Key::open_or_create(&path).unwrap();
        assert_eq!(first.public(), second.public());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(first.public().len(), 64);
        assert!(first.public().starts_with(&first.code()));
        assert_eq!(first.code().len(), 8);
    }

    #[test]
    fn the_answer_to_a_challenge_is_signed_with_its_purpose() {
        let key = Key(SigningKey::from_bytes(&[7; 32]));
        let answer = key.answer("nonce");
        let bytes: Vec<u8> =
            (0..64).map(|i| u8::from_str_radix(&answer[2 * i..2 * i + 2], 16).unwrap()).collect();
        let signature = Signature::from_slice(&bytes).unwrap();
        let public = key.0.verifying_key();
        assert!(public.verify(b"trunkfarm session 1\nnonce", &signature).is_ok());
        assert!(public.verify(b"nonce", &signature).is_err());
    }

    #[test]
    fn a_damaged_key_is_reported_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "half a key").unwrap();
        let error = format!("{:#}", Key::open_or_create(&path).unwrap_err());
        assert!(error.contains("expected 64 hexadecimal digits"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "half a key");
    }
}
