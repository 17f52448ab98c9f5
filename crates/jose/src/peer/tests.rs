//! T-01 and T-02: certificates of callers that lie, are late, or are revoked.
use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints, RevokedCertParams,
    SerialNumber,
};

const NOW: Timestamp = Timestamp(1_750_000_000);

type Der = CertificateDer<'static>;

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: Der,
    pem: String,
}

fn parameters(name: &str, seconds: i64) -> CertificateParams {
    let at = |it: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(it.unsigned_abs());
    let mut parameters = CertificateParams::default();
    (parameters.not_before, parameters.not_after) = (at(NOW.0 - seconds), at(NOW.0 + seconds));
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, "Contoso");
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

fn ca(name: &str, above: Option<&Ca>, edit: impl FnOnce(&mut CertificateParams)) -> Ca {
    let key = KeyPair::generate().unwrap();
    let mut parameters = parameters(name, 1_000_000);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    edit(&mut parameters);
    let made = above.map_or_else(|| parameters.self_signed(&key), |above| parameters.signed_by(&key, &above.issuer));
    let made = made.unwrap();
    Ca { der: made.der().clone(), pem: made.pem(), issuer: Issuer::new(parameters, key) }
}

fn leaf(above: &Ca, edit: impl FnOnce(&mut CertificateParams)) -> Der {
    let mut parameters = parameters("orders", 1_000);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    edit(&mut parameters);
    parameters.signed_by(&KeyPair::generate().unwrap(), &above.issuer).unwrap().der().clone()
}

fn judged(trusted: &Authorities, chain: &[&Der]) -> Result<Vouched, Distrust> {
    let chain: Vec<Der> = chain.iter().map(|der| (*der).clone()).collect();
    trusted.vouch(&PeerCertificate::read(&chain).unwrap(), NOW)
}

fn fault(trusted: &Authorities, chain: &[&Der]) -> Option<Distrust> {
    judged(trusted, chain).err()
}

fn trusting(all: &[&Ca]) -> Authorities {
    Authorities::read(all.iter().map(|ca| ca.pem.as_str()).collect::<String>().as_bytes()).unwrap()
}

fn list(of: &Ca, revoked: &[u64], next: i64) -> String {
    let at = |it: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(it.unsigned_abs());
    let revoked = revoked.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: at(NOW.0 - 50),
        reason_code: None,
        invalidity_date: None,
    });
    let parameters = CertificateRevocationListParams {
        this_update: at(NOW.0 - 100),
        next_update: at(next),
        crl_number: SerialNumber::from(7),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    parameters.signed_by(&of.issuer).unwrap().pem().unwrap()
}

#[test]
fn who_vouches_for_a_certificate_is_told() {
    let root = ca("root", None, |_| {});
    let between = ca("between", Some(&root), |_| {});
    let (direct, of_between) = (leaf(&root, |_| {}), leaf(&between, |_| {}));
    let trusted = trusting(&[&root]);
    let name = |text| DistinguishedName::parse(text).unwrap();
    let thumbprint = |der: &Der| digest(&SHA256, der).as_ref().to_vec();
    let by_root = judged(&trusted, &[&direct]).ok().unwrap();
    assert!(by_root.is_issuer(&name("O=Contoso, CN=root")) && by_root.has_issuer_thumbprint(&thumbprint(&root.der)));
    let by_between = judged(&trusted, &[&of_between, &between.der]).ok().unwrap();
    assert!(by_between.is_issuer(&name("CN=between, O=Contoso")));
    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, &between.der);
    assert!(
        by_between.has_issuer_thumbprint(sha1.as_ref()) && !by_between.has_issuer_thumbprint(&thumbprint(&root.der))
    );
    // What else stands in the chain is not the issuer.
    let decoy = judged(&trusted, &[&direct, &between.der]).ok().unwrap();
    assert!(decoy.is_issuer(&name("CN=root, O=Contoso")) && !decoy.is_issuer(&name("CN=between, O=Contoso")));
}

#[test]
fn t_01_nobody_vouches_for_a_certificate_that_lies_or_is_late() {
    let root = ca("root", None, |_| {});
    let trusted = trusting(&[&root]);
    let between = ca("between", Some(&root), |_| {});
    let twin = ca("root", None, |_| {});
    let limited = ca("limited", Some(&root), |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let below_limited = ca("below", Some(&limited), |_| {});
    let for_lists = ca("lists", Some(&root), |p| p.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let old = ca("old", Some(&root), |p| p.not_after -= Duration::from_secs(1_000_001));
    let own = ca("orders", None, |p| p.is_ca = IsCa::ExplicitNoCa);
    let no_ca = Ca { issuer: own.issuer, der: leaf(&root, |p| p.is_ca = IsCa::ExplicitNoCa), pem: String::new() };
    let constrained = ca("constrained", Some(&root), |p| {
        let permitted_subtrees = vec![GeneralSubtree::DnsName("contoso.example".into())];
        p.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    });
    let dns = |name: &str| rcgen::SanType::DnsName(name.try_into().unwrap());
    let (day, second) = (Duration::from_hours(24), Duration::from_secs(1));
    let (untrusted, expired) = (Some(Distrust::Untrusted), Some(Distrust::Expired));
    for (what, chain, expected) in [
        ("good", vec![leaf(&root, |_| {})], None),
        ("without a purpose", vec![leaf(&root, |p| p.extended_key_usages.clear())], None),
        (
            "expired",
            vec![leaf(&root, |p| (p.not_before, p.not_after) = (p.not_before - day, p.not_after - day))],
            expired,
        ),
        (
            "not yet valid",
            vec![leaf(&root, |p| (p.not_before, p.not_after) = (p.not_before + day, p.not_after + day))],
            Some(Distrust::NotYetValid),
        ),
        ("good to the second", vec![leaf(&root, |p| p.not_before += second * 1_000)], None),
        (
            "of a server",
            vec![leaf(&root, |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])],
            untrusted,
        ),
        ("may not sign", vec![leaf(&root, |p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment])], untrusted),
        ("an authority", vec![leaf(&root, |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))], untrusted),
        ("of a stranger by the same name", vec![leaf(&twin, |_| {})], untrusted),
        ("with that stranger beside it", vec![leaf(&twin, |_| {}), twin.der.clone()], untrusted),
        ("self-signed", vec![own.der.clone()], untrusted),
        ("without what stands between", vec![leaf(&between, |_| {})], untrusted),
        ("of no authority", vec![leaf(&no_ca, |_| {}), no_ca.der.clone()], untrusted),
        ("too deep", vec![leaf(&below_limited, |_| {}), below_limited.der.clone(), limited.der.clone()], untrusted),
        ("of one that signs lists only", vec![leaf(&for_lists, |_| {}), for_lists.der.clone()], untrusted),
        ("of one that has ended", vec![leaf(&old, |_| {}), old.der.clone()], expired),
        (
            "within its issuer's names",
            vec![leaf(&constrained, |p| p.subject_alt_names = vec![dns("a.contoso.example")]), constrained.der.clone()],
            None,
        ),
        (
            "outside its issuer's names",
            vec![leaf(&constrained, |p| p.subject_alt_names = vec![dns("a.evil.example")]), constrained.der.clone()],
            untrusted,
        ),
    ] {
        assert_eq!(fault(&trusted, &chain.iter().collect::<Vec<_>>()), expected, "{what}");
    }
}

#[test]
fn t_01_an_anchor_keeps_its_own_limits_and_dates() {
    let short = ca("root", None, |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let between = ca("between", Some(&short), |_| {});
    let trusted = trusting(&[&short]);
    assert_eq!(fault(&trusted, &[&leaf(&short, |_| {})]), None);
    assert_eq!(fault(&trusted, &[&leaf(&between, |_| {}), &between.der]), Some(Distrust::Untrusted));
    let late = ca("root", None, |p| p.not_after -= Duration::from_secs(1_000_001));
    assert_eq!(fault(&trusting(&[&late]), &[&leaf(&late, |_| {})]), Some(Distrust::Untrusted));
}

/// Made once with `openssl`, whose keys may be weak: an authority, and the certificates that the test names.
const WEAK: &str = include_str!("weak.pem");

#[test]
fn t_01_weak_keys_and_sha_1_are_vouched_for_nowhere_in_a_chain() {
    let all: Vec<Der> = CertificateDer::pem_slice_iter(WEAK.as_bytes()).collect::<Result<_, _>>().unwrap();
    let [root, sound, small, curve, sha1, weak, by_weak, between, by_between] = all.as_slice() else { panic!() };
    let root = WEAK.split_inclusive("-----END CERTIFICATE-----").next().filter(|_| !root.is_empty()).unwrap();
    let trusted = Authorities::read(root.as_bytes()).unwrap();
    let at = Timestamp(1_900_000_000);
    let judged = |chain: &[&Der]| {
        let chain: Vec<Der> = chain.iter().map(|der| (*der).clone()).collect();
        trusted.vouch(&PeerCertificate::read(&chain).unwrap(), at).err()
    };
    assert_eq!(judged(&[sound]), None);
    for (chain, what) in [
        (&[small][..], "RSA with 1024 bits"),
        (&[curve], "a small curve"),
        (&[sha1], "SHA-1"),
        (&[by_weak, weak], "an authority of 1024 bits"),
        (&[by_between, between], "an authority that SHA-1 vouches for"),
    ] {
        assert_eq!(judged(chain), Some(Distrust::Untrusted), "{what}");
    }
}

#[test]
fn t_01_long_chains_are_not_looked_at() {
    let root = ca("root", None, |_| {});
    let mut all: Vec<Ca> = vec![ca("a0", Some(&root), |_| {})];
    for at in 1..20 {
        let next = ca(&format!("a{at}"), all.last(), |_| {});
        all.push(next);
    }
    let mut chain = vec![leaf(all.last().unwrap(), |_| {})];
    chain.extend(all.iter().rev().map(|ca| ca.der.clone()));
    assert!(PeerCertificate::read(&chain).is_none());
    assert!(PeerCertificate::read(&chain[..LONGEST]).is_some());
    assert!(PeerCertificate::read(&[]).is_none());
    assert!(PeerCertificate::read(&[Der::from(b"0\x03abc".to_vec())]).is_none());
}

#[test]
fn who_is_no_authority_is_none_whatever_the_file_says() {
    let root = ca("root", None, |_| {});
    let pem = |der: &Der| {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    let for_lists = ca("lists", None, |p| p.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let fault = |text: &str| Authorities::read(text.as_bytes()).map(drop).unwrap_err();
    assert_eq!(fault(&(root.pem.clone() + &pem(&leaf(&root, |_| {})))), AuthoritiesError::NoAuthority);
    let says_no = leaf(&root, |p| {
        p.is_ca = IsCa::ExplicitNoCa;
        p.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    });
    assert_eq!(fault(&pem(&says_no)), AuthoritiesError::NoAuthority);
    assert_eq!(fault(&for_lists.pem), AuthoritiesError::NoAuthority);
    assert_eq!(fault("no certificate"), AuthoritiesError::Nothing);
    assert_eq!(fault(&pem(&Der::from(b"0\x03abc".to_vec()))), AuthoritiesError::Certificate);
}

#[test]
fn t_02_what_is_revoked_and_what_nobody_tells_of_is_not_vouched_for() {
    let root = ca("root", None, |_| {});
    let between = ca("between", Some(&root), |p| p.serial_number = Some(SerialNumber::from(9_000_u64)));
    let numbered = |of: &Ca, serial: u64| leaf(of, |p| p.serial_number = Some(SerialNumber::from(serial)));
    let (good, bad) = (numbered(&between, 1), numbered(&between, 2));
    let later = NOW.0 + 100;
    let with = |lists: &[String]| {
        let mut trusted = trusting(&[&root]);
        trusted.add_revocation_lists(lists.concat().as_bytes()).unwrap();
        trusted
    };
    let both = with(&[list(&root, &[], later), list(&between, &[2], later)]);
    assert_eq!(fault(&both, &[&good, &between.der]), None);
    assert_eq!(fault(&both, &[&bad, &between.der]), Some(Distrust::Revoked));
    let unknown = Some(Distrust::RevocationUnknown);
    assert_eq!(fault(&with(&[list(&root, &[], later)]), &[&good, &between.der]), unknown, "no list of its issuer");
    assert_eq!(fault(&with(&[list(&between, &[], later)]), &[&good, &between.der]), unknown, "no list of the root");
    let revoked = with(&[list(&root, &[9_000], later), list(&between, &[], later)]);
    assert_eq!(fault(&revoked, &[&good, &between.der]), Some(Distrust::Revoked), "its issuer is");
    let stale = with(&[list(&root, &[], later), list(&between, &[], NOW.0 - 1)]);
    assert_eq!(fault(&stale, &[&good, &between.der]), unknown, "the list has ended");
    let forged = ca("between", None, |_| {});
    let of_forger = with(&[list(&root, &[], later), list(&forged, &[], later)]);
    assert_eq!(fault(&of_forger, &[&bad, &between.der]), unknown, "the list is another's by the same name");
}

#[test]
fn t_02_no_octet_of_a_list_brings_anything_down() {
    let root = ca("root", None, |_| {});
    let good = leaf(&root, |p| p.serial_number = Some(SerialNumber::from(1_u64)));
    let text = list(&root, &[1, 2], NOW.0 + 100);
    let der = CertificateRevocationListDer::from_pem_slice(text.as_bytes()).unwrap();
    let mut refused = 0;
    for at in 0..der.as_ref().len() {
        for change in [0x01, 0x80, 0xff] {
            let mut broken = der.as_ref().to_vec();
            broken[at] ^= change;
            let mut trusted = trusting(&[&root]);
            match trusted.add_revocation_lists(&broken) {
                Err(error) => {
                    assert_eq!(error, AuthoritiesError::List);
                    refused += 1;
                }
                Ok(()) => assert!(judged(&trusted, &[&good]).is_err(), "octet {at}"),
            }
        }
    }
    assert!(refused > 0);
    let mut trusted = trusting(&[&root]);
    for text in [&b""[..], b"0", b"-----BEGIN X509 CRL-----\n-----END X509 CRL-----\n"] {
        assert_eq!(trusted.add_revocation_lists(text), Err(AuthoritiesError::List));
    }
}

#[test]
fn a_certificate_is_told_by_what_stands_in_it() {
    let root = ca("root", None, |_| {});
    let dns = |name: &str| rcgen::SanType::DnsName(name.try_into().unwrap());
    let shown = leaf(&root, |p| {
        p.serial_number = Some(SerialNumber::from(vec![0x00, 0x8f, 0x01]));
        p.subject_alt_names = vec![dns("Orders.Contoso.example"), dns("*.b.example"), dns("a.example\0.evil.example")];
    });
    let read = PeerCertificate::read(std::slice::from_ref(&shown)).unwrap();
    assert!(read.has_thumbprint(digest(&SHA256, &shown).as_ref()));
    assert!(read.has_thumbprint(digest(&SHA1_FOR_LEGACY_USE_ONLY, &shown).as_ref()));
    assert!(!read.has_thumbprint(&[]));
    assert!(read.has_serial_number(&[0x8f, 0x01]) && read.has_serial_number(&[0, 0, 0x8f, 0x01]));
    assert!(!read.has_serial_number(&[0x8f]) && !read.has_serial_number(&[]));
    assert_eq!(read.common_name(), Some("orders"));
    assert!(read.is_subject(&DistinguishedName::parse("O=Contoso, CN=orders").unwrap()));
    assert!(!read.is_subject(&DistinguishedName::parse("CN=orders").unwrap()));
    for (name, has) in
        [("orders.contoso.example", true), ("x.b.example", false), ("*.b.example", true), ("a.example", false)]
    {
        assert_eq!(read.has_dns_name(name), has, "{name}");
    }
    let two = leaf(&root, |p| {
        p.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "admin");
    });
    assert_eq!(PeerCertificate::read(&[two]).unwrap().common_name(), None, "of two names none is meant");
}
