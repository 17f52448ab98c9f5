use super::*;
use crate::corpus::pkcs12::{Document, Shape, with_attributes};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// What other programs wrote, all of them with one key and its two certificates: their name, the document, and its password.
const OTHERS: [(&str, &[u8], &str); 6] = [
    ("OpenSSL 3", include_bytes!("fixtures/openssl-3.p12"), ""),
    ("RC2 and 3DES, as Windows has them", include_bytes!("fixtures/windows.p12"), ""),
    ("3DES", include_bytes!("fixtures/3des.p12"), ""),
    ("AES-128, AES-192 and SHA-512", include_bytes!("fixtures/password.p12"), "Straße €"),
    ("AES-256 and 20 000 iterations", include_bytes!("fixtures/python.p12"), "secret"),
    ("in the clear", include_bytes!("fixtures/clear.p12"), ""),
];

struct Pair {
    key: Vec<u8>,
    der: Vec<u8>,
}

/// A root, an authority below it, and somebody below that.
fn chain() -> [Pair; 3] {
    let authority = |name: &str| {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters
    };
    let keys = [(); 3].map(|()| KeyPair::generate().unwrap());
    let root = authority("root").self_signed(&keys[0]).unwrap();
    let between = authority("between").signed_by(&keys[1], &Issuer::new(authority("root"), &keys[0])).unwrap();
    let leaf = CertificateParams::new(vec!["api.example".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&keys[2], &Issuer::new(authority("between"), &keys[1])).unwrap();
    let ders = [root.der().to_vec(), between.der().to_vec(), leaf.der().to_vec()];
    let [root, between, leaf] = [0, 1, 2].map(|at| Pair { key: keys[at].serialize_der(), der: ders[at].clone() });
    [root, between, leaf]
}

#[test]
fn documents_of_other_programs_are_read() {
    let key = PrivatePkcs8KeyDer::from_pem_slice(include_bytes!("fixtures/key.pem")).unwrap();
    for (name, document, password) in OTHERS {
        let read = read(document, password).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.pkcs8(), key.secret_pkcs8_der(), "{name}");
        let subjects = read.chain().iter().map(|der| {
            let (_, certificate) = X509Certificate::from_der(der).unwrap();
            certificate.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned()
        });
        assert_eq!(subjects.collect::<Vec<_>>(), ["api.example", "Contoso Test Root"], "{name}");
    }
}

#[test]
fn the_text_is_the_key_and_the_chain() {
    let [root, between, leaf] = chain();
    let text =
        read(&Document::new(Shape::Modern, &leaf.key, &[&root.der, &leaf.der, &between.der]).der(), "").unwrap().pem();
    let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).unwrap();
    assert_eq!(key.secret_pkcs8_der(), leaf.key);
    let told: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes()).map(Result::unwrap).collect();
    assert_eq!(told, [&leaf, &between, &root].map(|pair| CertificateDer::from(pair.der.clone())));
    assert!(text.lines().all(|line| line.len() <= 64));
}

#[test]
fn however_it_is_protected_and_ordered_the_chain_begins_with_the_certificate_of_the_key() {
    let [root, between, leaf] = chain();
    let other = chain()[2].der.clone();
    for shape in Shape::ALL {
        for order in [[&root.der, &between.der, &leaf.der, &other], [&other, &leaf.der, &root.der, &between.der]] {
            for key in [leaf.key.clone(), with_attributes(&leaf.key)] {
                let document = Document::new(shape, &key, &order.map(Vec::as_slice));
                let read = read(&document.der(), "").unwrap_or_else(|error| panic!("{shape:?}: {error}"));
                assert_eq!(
                    read.chain(),
                    [&leaf, &between, &root]
                        .map(|pair| pair.der.clone())
                        .into_iter()
                        .chain([other.clone()])
                        .collect::<Vec<_>>()
                );
                assert_eq!(read.pkcs8(), key);
                assert_eq!(format!("{read:?}"), "Identity { certificates: 4, .. }");
            }
        }
    }
}

#[test]
fn another_password_opens_nothing() {
    for (name, document, password) in OTHERS {
        for wrong in ["x", "Secret", "secret\0"].iter().chain((!password.is_empty()).then_some(&"")) {
            let told = read(document, wrong).err();
            // What is not protected has no password.
            assert_eq!(told, (name != "in the clear").then_some(Pkcs12Error::Password), "{name}: {wrong}");
        }
    }
}

#[test]
fn what_is_changed_or_cut_off_anywhere_is_never_another_key() {
    let [_, _, leaf] = chain();
    let made = [Shape::Windows, Shape::Modern]
        .map(|shape| Document { iterations: 10, ..Document::new(shape, &leaf.key, &[&leaf.der]) }.der());
    for document in &made {
        let good = read(document, "").unwrap();
        for end in 0..document.len() {
            assert!(read(&document[..end], "").is_err(), "cut off at {end}");
        }
        assert_eq!(read(&[document, [0].as_slice()].concat(), "").err(), Some(Pkcs12Error::Malformed));
        for at in 0..document.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = document.clone();
                changed[at] ^= change;
                if let Ok(other) = read(&changed, "") {
                    // Within the identifiers and attributes that nobody reads.
                    assert_eq!((other.pkcs8(), other.chain()), (good.pkcs8(), good.chain()), "{at} {change}");
                }
            }
        }
    }
}

#[test]
fn no_document_takes_longer_than_a_million_iterations() {
    let [_, _, leaf] = chain();
    for shape in [Shape::Windows, Shape::Modern] {
        for iterations in [600_000, 1_000_001, u32::MAX] {
            let document = Document { iterations, ..Document::new(shape, &leaf.key, &[&leaf.der]) };
            assert_eq!(read(&document.der(), "").err(), Some(Pkcs12Error::Iterations), "{shape:?} {iterations}");
        }
        let none = Document { iterations: 0, ..Document::new(shape, &leaf.key, &[&leaf.der]) };
        assert_eq!(read(&none.der(), "").err(), Some(Pkcs12Error::Malformed));
    }
    let bomb = include_bytes!("fixtures/openssl-3.p12").to_vec();
    // The count of the MAC is the last number.
    let larger = [&bomb[..bomb.len() - 2], &[0x7f, 0xff]].concat();
    assert_eq!(read(&larger, "").err(), Some(Pkcs12Error::Password), "32 767 are not too many");
}

#[test]
fn no_key_two_keys_and_a_key_without_its_certificate_are_refused() {
    let [root, _, leaf] = chain();
    for shape in Shape::ALL {
        let document = |keys: &[&Vec<u8>], certificates: &[&Vec<u8>]| {
            let owned = |all: &[&Vec<u8>]| all.iter().map(|one| (*one).clone()).collect();
            let of = Document::new(shape, &[], &[]);
            read(&Document { keys: owned(keys), certificates: owned(certificates), ..of }.der(), "").err()
        };
        assert_eq!(document(&[], &[&leaf.der]), Some(Pkcs12Error::Keys(0)));
        assert_eq!(document(&[&leaf.key, &root.key], &[&leaf.der, &root.der]), Some(Pkcs12Error::Keys(2)));
        assert_eq!(document(&[&leaf.key, &leaf.key], &[&leaf.der]), Some(Pkcs12Error::Keys(2)));
        assert_eq!(document(&[&leaf.key], &[&root.der]), Some(Pkcs12Error::Certificate));
        assert_eq!(document(&[&leaf.key], &[]), Some(Pkcs12Error::Certificate));
        assert_eq!(document(&[&leaf.key], &[&vec![0x30, 0]]), Some(Pkcs12Error::Certificate));
        assert_eq!(document(&[&vec![0x30, 0]], &[&leaf.der]), Some(Pkcs12Error::Key));
        let many: Vec<&Vec<u8>> = [&leaf.der].into_iter().cycle().take(33).collect();
        assert_eq!(document(&[&leaf.key], &many[..32]), None);
        assert_eq!(document(&[&leaf.key], &many), Some(Pkcs12Error::Certificates));
    }
}

#[test]
fn what_is_no_such_document_is_said_to_be_none() {
    let pem = include_bytes!("fixtures/key.pem");
    for text in [&b""[..], b"x", b"0\x80", b"0\x83\xff\xff\xff", b"0\x84\xff\xff\xff\xff", pem, &[0x30; 10_000]] {
        assert_eq!(read(text, "").err(), Some(Pkcs12Error::Malformed));
    }
    let told = read(include_bytes!("fixtures/rc4.p12"), "").unwrap_err();
    assert!(matches!(told, Pkcs12Error::Unsupported(what) if what.contains("RC2")), "{told}");
}
