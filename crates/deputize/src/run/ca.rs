//! A certificate authority for one run. Its key signs one certificate and is gone before anything is served; it can speak for
//! the names of that certificate and nothing else, so whoever trusts it risks no other name.
use crate::failure::Failure;
use crate::system::SystemClock;
use decision::{Clock, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use std::time::Duration;

const DAY: i64 = 86_400;
/// Longer than anybody lets a command run.
const DAYS: i64 = 90;

/// What a run needs of its authority.
pub(super) struct RunCa {
    /// What programs trust, in PEM.
    pub(super) pem: String,
    /// What the authority shows, in PEM: the certificate and who signed it.
    pub(super) chain_pem: String,
    /// The key of that certificate.
    pub(super) key_pem: String,
}

/// Makes one for these names.
pub(super) fn make(names: &[String]) -> Result<RunCa, Failure> {
    let (ca, ca_key) = (authority(names)?, KeyPair::generate().map_err(failed)?);
    let pem = ca.self_signed(&ca_key).map_err(failed)?.pem();
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = leaf(names)?.signed_by(&key, &Issuer::new(ca, ca_key)).map_err(failed)?;
    Ok(RunCa { chain_pem: certificate.pem(), key_pem: key.serialize_pem(), pem })
}

fn authority(names: &[String]) -> Result<CertificateParams, Failure> {
    let mut ca = CertificateParams::new(Vec::new()).map_err(failed)?;
    ca.distinguished_name = named("deputize run: not Microsoft's, for one command only");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    ca.name_constraints = Some(NameConstraints {
        permitted_subtrees: names.iter().cloned().map(GeneralSubtree::DnsName).collect(),
        // Permitted names bind only names: without these lines it could speak for any address (RFC 5280 section 4.2.1.10).
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([0; 4], 0)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix([0; 16], 0)),
        ],
    });
    limit(&mut ca);
    Ok(ca)
}

fn leaf(names: &[String]) -> Result<CertificateParams, Failure> {
    let mut leaf = CertificateParams::new(names).map_err(failed)?;
    leaf.distinguished_name = named(names.first().map(String::as_str).unwrap_or_default());
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    limit(&mut leaf);
    Ok(leaf)
}

fn limit(certificate: &mut CertificateParams) {
    let now = SystemClock.now();
    let moment = |at: Timestamp| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at.0.unsigned_abs());
    certificate.not_before = moment(now.plus(-DAY));
    certificate.not_after = moment(now.plus(DAYS * DAY));
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn failed(error: rcgen::Error) -> Failure {
    Failure::plain(format!("no certificate could be made: {error}"))
}
#[cfg(test)]
mod tests {
    use super::*;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
    use std::sync::Arc;

    fn judged(ca_pem: &str, chain_pem: &str, name: &str) -> Result<(), String> {
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(der(ca_pem)).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(SystemClock.now().0.unsigned_abs()));
        let judged = verifier.verify_server_cert(
            &der(chain_pem),
            &[],
            &ServerName::try_from(name.to_owned()).unwrap(),
            &[],
            now,
        );
        judged.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn the_authority_of_a_run_speaks_for_its_names_and_for_no_other() {
        let names = ["login.microsoftonline.com".to_owned(), "sts.windows.net".to_owned()];
        let RunCa { pem, chain_pem, .. } = make(&names).unwrap();
        for name in &names {
            assert_eq!(judged(&pem, &chain_pem, name), Ok(()), "{name}");
        }
        assert!(judged(&pem, &chain_pem, "graph.microsoft.com").is_err());
        // Were its key stolen before it is gone, it could still sign for no other name.
        for other in ["graph.microsoft.com", "contoso.example", "127.0.0.1"] {
            let constrained = stolen(&names, other);
            assert!(
                constrained.as_ref().is_err_and(|error| error.contains("NameConstraint")),
                "{other}: {constrained:?}"
            );
        }
        assert_eq!(
            stolen(&names, "sts.windows.net"),
            Ok(()),
            "what is permitted shows that the rest is refused for its name"
        );
    }

    /// Signs for `other` with such an authority, and lets a client judge it.
    fn stolen(names: &[String], other: &str) -> Result<(), String> {
        let (ca, ca_key) = (authority(names).unwrap(), KeyPair::generate().unwrap());
        let pem = ca.self_signed(&ca_key).unwrap().pem();
        let leaf = leaf(&[other.to_owned()]).unwrap();
        let chain = leaf.signed_by(&KeyPair::generate().unwrap(), &Issuer::new(ca, ca_key)).unwrap().pem();
        judged(&pem, &chain, other)
    }
}
