//! T-01's table, for chains in `x5c`.
use super::{ChainFault, TrustedSubject};
use crate::assertion::{AssertionRefusal, verify_trusting};
use crate::{Algorithm, Header, KeyError, SigningKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use decision::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use serde_json::json;
use std::sync::{Arc, LazyLock};

const NOW: i64 = 1_750_000_000;

/// RSA keys take long to make: one for all.
static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::PS256).unwrap());

/// A certificate authority, and its certificate.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

fn moment(seconds: i64) -> rcgen::CertificateParams {
    let at = |it: i64| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(it.unsigned_abs());
    let mut parameters = CertificateParams::default();
    (parameters.not_before, parameters.not_after) = (at(NOW - seconds), at(NOW + seconds));
    parameters
}

fn named(parameters: &mut CertificateParams, name: &str) {
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, "Contoso");
    parameters.distinguished_name.push(DnType::CommonName, name);
}

fn authority_of(name: &str, above: Option<&Authority>, edit: impl FnOnce(&mut CertificateParams)) -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut parameters = moment(1_000_000);
    named(&mut parameters, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    edit(&mut parameters);
    let certificate = match above {
        None => parameters.self_signed(&key),
        Some(above) => parameters.signed_by(&key, &above.issuer),
    };
    Authority { der: certificate.unwrap().der().to_vec(), issuer: Issuer::new(parameters, key) }
}

fn leaf(authority: &Authority, edit: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&KEY.pkcs8().into(), &rcgen::PKCS_RSA_SHA256).unwrap();
    let mut parameters = moment(1_000);
    named(&mut parameters, "orders");
    edit(&mut parameters);
    parameters.signed_by(&pair, &authority.issuer).unwrap().der().to_vec()
}

fn thumbprint(der: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    digest.as_ref().iter().fold(String::new(), |text, octet| text + &format!("{octet:02X}"))
}

/// What the chain proves to who trusts `CN=orders,O=Contoso` of this authority.
fn judge(trusted: &Authority, chain: &[&[u8]], revoked: &[String]) -> Result<(), ChainFault> {
    judged("CN=orders,O=Contoso", trusted, chain, revoked)
}

fn judged(subject: &str, trusted: &Authority, chain: &[&[u8]], revoked: &[String]) -> Result<(), ChainFault> {
    let trusted = [Arc::new(TrustedSubject::new(subject, &trusted.der, revoked).unwrap())];
    let x5c = chain.iter().map(|der| STANDARD.encode(der)).collect();
    let header = Header { x5c: Some(x5c), ..Header::typ("JWT") };
    let claims = json!({"iss": "orders", "sub": "orders", "aud": "us", "exp": NOW + 600});
    let text = KEY.sign(&header, claims.to_string().as_bytes()).unwrap();
    match verify_trusting(&text, &[], &trusted, Timestamp(NOW)) {
        Ok(assertion) => {
            assert_eq!(assertion.iss, "orders");
            Ok(())
        }
        Err(AssertionRefusal::Chain(fault)) => Err(fault),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_chain_to_the_registered_authority_serves_whoever_renews_its_certificate() {
    let root = authority_of("Root", None, |_| {});
    let middle = authority_of("Middle", Some(&root), |_| {});
    let direct = leaf(&root, |_| {});
    assert_eq!(judge(&root, &[&direct], &[]), Ok(()));
    assert_eq!(judge(&root, &[&direct, &root.der], &[]), Ok(()), "the root may be in the chain");
    let through = leaf(&middle, |_| {});
    assert_eq!(judge(&root, &[&through, &middle.der], &[]), Ok(()));
    assert_eq!(judge(&root, &[&through, &root.der, &middle.der], &[]), Ok(()), "in any order");
    assert_eq!(judge(&middle, &[&through], &[]), Ok(()), "an authority below a root may be the registered one");
    let server = leaf(&root, |it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert_eq!(judge(&root, &[&server], &[]), Ok(()), "whatever the certificate is for");
}

#[test]
fn a_renewed_certificate_changes_nothing_and_an_ended_one_is_refused() {
    let root = authority_of("Root", None, |_| {});
    let at = |it: i64| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(it.unsigned_abs());
    let ended = leaf(&root, |it| it.not_after = at(NOW - 1));
    let coming = leaf(&root, |it| it.not_before = at(NOW + 1));
    assert_eq!(judge(&root, &[&ended], &[]), Err(ChainFault::Dates));
    assert_eq!(judge(&root, &[&coming], &[]), Err(ChainFault::Dates));
    let old = authority_of("Root", None, |it| it.not_after = at(NOW));
    assert_eq!(judge(&old, &[&leaf(&old, |_| {})], &[]), Err(ChainFault::Dates), "the registered authority has ended");
    let middle = authority_of("Middle", Some(&root), |it| it.not_after = at(NOW - 1));
    assert_eq!(judge(&root, &[&leaf(&middle, |_| {}), &middle.der], &[]), Err(ChainFault::Dates));
}

#[test]
fn a_subject_is_compared_whole_and_nobody_else_vouches_for_it() {
    let root = authority_of("Root", None, |_| {});
    for (case, name) in [
        ("another", "Orders"),
        ("longer", "orders.evil"),
        ("with a zero octet", "orders\0.evil"),
        ("with a space", "orders "),
        ("with a comma", "orders,O=Contoso"),
    ] {
        let leaf = leaf(&root, |it| named(it, name));
        assert_eq!(judge(&root, &[&leaf], &[]), Err(ChainFault::Subject), "{case}");
    }
    let longer = leaf(&root, |it| it.distinguished_name.push(DnType::OrganizationalUnitName, "x"));
    assert_eq!(judge(&root, &[&longer], &[]), Err(ChainFault::Subject));
    let shorter = leaf(&root, |it| {
        it.distinguished_name = DistinguishedName::new();
        it.distinguished_name.push(DnType::CommonName, "orders");
    });
    assert_eq!(judge(&root, &[&shorter], &[]), Err(ChainFault::Subject));
    assert_eq!(judged("CN=orders", &root, &[&shorter], &[]), Ok(()));
    let unreadable = leaf(&root, |it| {
        it.distinguished_name = DistinguishedName::new();
        it.distinguished_name.push(DnType::CommonName, DnValue::BmpString("orders".try_into().unwrap()));
    });
    assert_eq!(judged("CN=orders", &root, &[&unreadable], &[]), Err(ChainFault::Subject), "a value that is no text");
    // Names are anybody's to choose: what counts is who signed.
    let impostor = authority_of("Root", None, |_| {});
    let forged = leaf(&impostor, |_| {});
    assert_eq!(judge(&root, &[&forged], &[]), Err(ChainFault::Authority));
    assert_eq!(judge(&root, &[&forged, &impostor.der], &[]), Err(ChainFault::Authority));
    assert_eq!(judge(&root, &[&forged, &root.der, &impostor.der], &[]), Err(ChainFault::Authority));
    let own = crate::SigningKey::self_signed(&KEY, "orders", Timestamp(NOW - 9), Timestamp(NOW + 9)).unwrap();
    assert_eq!(judged("CN=orders", &root, &[&own], &[]), Err(ChainFault::Authority), "self-signed, the same subject");
    assert_eq!(judged("CN=orders", &root, &[&own, &root.der], &[]), Err(ChainFault::Authority));
}

#[test]
fn t_01_authorities_keep_their_limits() {
    let limited = |depth| move |it: &mut CertificateParams| it.is_ca = IsCa::Ca(BasicConstraints::Constrained(depth));
    let root = authority_of("Root", None, limited(0));
    let middle = authority_of("Middle", Some(&root), |_| {});
    assert_eq!(judge(&root, &[&leaf(&root, |_| {})], &[]), Ok(()));
    assert_eq!(judge(&root, &[&leaf(&middle, |_| {}), &middle.der], &[]), Err(ChainFault::Authority), "the anchor's");
    let root = authority_of("Root", None, |_| {});
    let middle = authority_of("Middle", Some(&root), limited(0));
    let lower = authority_of("Lower", Some(&middle), |_| {});
    let deep = leaf(&lower, |_| {});
    assert_eq!(judge(&root, &[&deep, &lower.der, &middle.der], &[]), Err(ChainFault::Authority), "one below it");
    // Who got a certificate as a client cannot make more of them.
    let client = authority_of("orders", Some(&root), |it| {
        it.is_ca = IsCa::ExplicitNoCa;
        it.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    assert_eq!(judge(&root, &[&leaf(&client, |_| {}), &client.der], &[]), Err(ChainFault::Authority));
    let signs_not = authority_of("Middle", Some(&root), |it| it.key_usages = vec![KeyUsagePurpose::CrlSign]);
    assert_eq!(judge(&root, &[&leaf(&signs_not, |_| {}), &signs_not.der], &[]), Err(ChainFault::Authority));
    let authority = leaf(&root, |it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(judge(&root, &[&authority], &[]), Err(ChainFault::Authority), "an authority is no client");
    let encrypts = leaf(&root, |it| it.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    assert_eq!(judge(&root, &[&encrypts], &[]), Err(ChainFault::Leaf));
    let constrained = authority_of("Root", None, |it| {
        let names = rcgen::NameConstraints {
            permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("contoso.example".into())],
            excluded_subtrees: Vec::new(),
        };
        it.name_constraints = Some(names);
    });
    let elsewhere = |name: &str| {
        let san = rcgen::SanType::DnsName(name.try_into().unwrap());
        leaf(&constrained, |it| it.subject_alt_names = vec![san])
    };
    assert_eq!(judge(&constrained, &[&elsewhere("orders.contoso.example")], &[]), Ok(()));
    assert_eq!(judge(&constrained, &[&elsewhere("orders.evil.example")], &[]), Err(ChainFault::Authority));
}

#[test]
fn revoked_certificates_count_no_more() {
    let root = authority_of("Root", None, |_| {});
    let middle = authority_of("Middle", Some(&root), |_| {});
    let through = leaf(&middle, |_| {});
    let other = leaf(&middle, |_| {});
    let chain: [&[u8]; 2] = [&through, &middle.der];
    assert_eq!(judge(&root, &chain, &[thumbprint(&through)]), Err(ChainFault::Revoked));
    assert_eq!(judge(&root, &chain, &[thumbprint(&through).to_lowercase()]), Err(ChainFault::Revoked));
    assert_eq!(judge(&root, &chain, &[thumbprint(&middle.der)]), Err(ChainFault::AuthorityRevoked));
    assert_eq!(judge(&root, &chain, &[thumbprint(&other)]), Ok(()));
}

#[test]
fn t_01_what_is_no_chain_is_refused() {
    let root = authority_of("Root", None, |_| {});
    let good = leaf(&root, |_| {});
    let many: Vec<&[u8]> = std::iter::repeat_n(good.as_slice(), 9).collect();
    assert_eq!(judge(&root, &[], &[]), Err(ChainFault::Form));
    assert_eq!(judge(&root, &[b"no certificate"], &[]), Err(ChainFault::Leaf));
    assert_eq!(judge(&root, &[&good[..good.len() - 1]], &[]), Err(ChainFault::Leaf));
    assert_eq!(judge(&root, &[&[good.as_slice(), b"x"].concat()], &[]), Err(ChainFault::Leaf));
    assert_eq!(judge(&root, &[&good, b"no certificate"], &[]), Ok(()), "what is not needed is not read");
    assert_eq!(judge(&root, &many, &[]), Err(ChainFault::Length));
    let elliptic = {
        let mut parameters = moment(1_000);
        named(&mut parameters, "orders");
        parameters.signed_by(&KeyPair::generate().unwrap(), &root.issuer).unwrap().der().to_vec()
    };
    assert_eq!(judge(&root, &[&elliptic], &[]), Err(ChainFault::Leaf), "only RSA signs assertions");
}

#[test]
fn only_an_authority_can_be_registered_as_one() {
    let root = authority_of("Root", None, |_| {});
    let refused = |der: &[u8]| TrustedSubject::new("CN=x", der, &[]).err();
    assert_eq!(refused(&root.der), None);
    assert_eq!(refused(&leaf(&root, |_| {})), Some(KeyError::NoAuthority));
    let own = KEY.self_signed("orders", Timestamp(NOW - 9), Timestamp(NOW + 9)).unwrap();
    assert_eq!(refused(&own), Some(KeyError::NoAuthority));
    let signs_not = authority_of("Root", None, |it| it.key_usages = vec![KeyUsagePurpose::CrlSign]);
    assert_eq!(refused(&signs_not.der), Some(KeyError::NoAuthority));
    assert_eq!(refused(b"no certificate"), Some(KeyError::Certificate));
}

#[test]
fn a_thumbprint_beside_the_chain_must_be_its_first_certificates() {
    let root = authority_of("Root", None, |_| {});
    let (good, other) = (leaf(&root, |_| {}), leaf(&root, |_| {}));
    let trusted = [Arc::new(TrustedSubject::new("CN=orders,O=Contoso", &root.der, &[]).unwrap())];
    let named = |der: &[u8], x5t: &dyn Fn(&[u8]) -> Header| {
        let header = Header { x5c: Some(vec![STANDARD.encode(&good)]), ..x5t(der) };
        let claims = json!({"iss": "orders", "sub": "orders", "aud": "us", "exp": NOW + 600});
        let text = KEY.sign(&header, claims.to_string().as_bytes()).unwrap();
        verify_trusting(&text, &[], &trusted, Timestamp(NOW)).map(drop)
    };
    let sha1 = |der: &[u8]| Header { x5t: Some(crate::verifying_key::x5t(der)), ..Header::typ("JWT") };
    let sha256 = |der: &[u8]| Header { x5t_s256: Some(crate::verifying_key::x5t_s256(der)), ..Header::typ("JWT") };
    assert_eq!((named(&good, &sha1), named(&good, &sha256)), (Ok(()), Ok(())));
    let fault = Err(AssertionRefusal::Chain(ChainFault::Thumbprint));
    assert_eq!((named(&other, &sha1), named(&other, &sha256)), (fault, fault));
}
