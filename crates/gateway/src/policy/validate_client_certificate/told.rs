//! Certificates that proxies tell of with request after request.
use super::Certificate;
use jose::PeerCertificate;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex};

/// How many bytes they take, of some 256 callers.
const BYTES: u64 = 2 << 20;
const USUAL: u64 = 8 << 10;

/// Certificates that were told of, each read once. What is decided about one is good for the second and the rule that it is kept with,
/// as it is for a connection's; nothing else is.
pub(crate) struct ToldCertificates(Cache<[u8; 32], Arc<Certificate>, Bytes>);

#[derive(Clone)]
struct Bytes;

impl Weighter<[u8; 32], Arc<Certificate>> for Bytes {
    fn weight(&self, _: &[u8; 32], certificate: &Arc<Certificate>) -> u64 {
        certificate.octets
    }
}

impl Default for ToldCertificates {
    fn default() -> Self {
        let entries = usize::try_from(BYTES / USUAL).unwrap_or_default();
        Self(Cache::with_weighter(entries, BYTES, Bytes))
    }
}

impl ToldCertificates {
    /// That of a request of which a proxy tells this chain.
    pub(crate) fn of(&self, chain: &[CertificateDer<'static>]) -> Arc<Certificate> {
        let digest = digest(chain);
        if let Some(known) = self.0.get(&digest) {
            return known;
        }
        // What was read of it, and what is decided by some rules, beside its own octets, twice.
        let octets = chain.iter().map(|one| 2 * one.len() as u64).sum::<u64>().saturating_add(USUAL / 2);
        let read = PeerCertificate::read(chain);
        let certificate = Arc::new(Certificate { read, host: None, judged: Mutex::default(), octets });
        self.0.insert(digest, Arc::clone(&certificate));
        certificate
    }
}

/// Of all certificates, each with its length before it: how a chain is cut is part of what it says.
fn digest(chain: &[CertificateDer<'static>]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for one in chain {
        digest.update((one.len() as u64).to_be_bytes());
        digest.update(one);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::super::{Flags, Rule};
    use super::*;
    use decision::Timestamp;
    use jose::Authorities;

    fn chain(certificates: &[&[u8]]) -> Vec<CertificateDer<'static>> {
        certificates.iter().map(|one| one.to_vec().into()).collect()
    }

    #[test]
    fn a_chain_is_read_once_and_every_other_is_another() {
        let told = ToldCertificates::default();
        let chains: [&[&[u8]]; 6] =
            [&[b"ab", b"c"], &[b"a", b"bc"], &[b"abc"], &[b"c", b"ab"], &[b"ab"], &[b"ab", b"c", b""]];
        let first: Vec<_> = chains.iter().map(|it| told.of(&chain(it))).collect();
        for (at, it) in chains.iter().enumerate() {
            let again = told.of(&chain(it));
            let same: Vec<usize> = (0..first.len()).filter(|other| Arc::ptr_eq(&first[*other], &again)).collect();
            assert_eq!(same, [at]);
        }
    }

    #[test]
    fn no_certificate_keeps_a_rule_that_was_replaced() {
        let made = rcgen::generate_simple_self_signed(["partner".to_owned()]).unwrap();
        let certificate = ToldCertificates::default().of(&[made.cert.der().clone()]);
        let flags = Flags { trust: false, not_before: false, not_after: false };
        let rule = Arc::new(Rule { trusted: Authorities::default(), identities: Vec::new(), flags });
        assert_eq!(certificate.judged(&rule, Timestamp(0)), Ok(()));
        let replaced = Arc::downgrade(&rule);
        drop(rule);
        assert!(replaced.upgrade().is_none(), "its lists may be long");
    }

    #[test]
    fn however_many_are_told_they_are_bounded_in_bytes() {
        let told = ToldCertificates::default();
        for number in 0..5_000_u32 {
            let long = vec![0; usize::try_from(number % 30_000).unwrap()];
            told.of(&chain(&[&number.to_be_bytes(), &long]));
            assert!(told.0.weight() <= BYTES);
        }
        assert!(told.0.len() > 20 && told.0.len() <= 512, "{}", told.0.len());
    }
}
