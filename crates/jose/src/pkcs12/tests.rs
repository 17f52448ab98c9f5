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

/// A value of DER, and what it holds where that is values again.
#[derive(Clone)]
struct Node {
    tag: u8,
    content: Vec<u8>,
    inner: Vec<Self>,
}

/// All values that stand there, if nothing else does; `opaque` are not looked into.
fn nodes(mut bytes: &[u8], opaque: &[&[u8]]) -> Option<Vec<Node>> {
    let mut all = Vec::new();
    while let [tag, length, rest @ ..] = bytes {
        let (length, rest) = match *length {
            short @ 0..=0x7f => (usize::from(short), rest),
            0x81 => (usize::from(*rest.first()?), &rest[1..]),
            0x82 => (usize::from(*rest.first()?) << 8 | usize::from(*rest.get(1)?), &rest[2..]),
            _ => return None,
        };
        let (content, left) = rest.split_at_checked(length)?;
        let whole = &bytes[..bytes.len() - left.len()];
        let is_opaque = opaque.iter().any(|opaque| *opaque == content || *opaque == whole);
        let holds = matches!(tag, 0x30 | 0x31 | 0xa0) || *tag == 4 && content.starts_with(&[0x30]);
        let inner = if holds && !is_opaque { nodes(content, opaque) } else { None };
        all.push(Node { tag: *tag, content: content.to_vec(), inner: inner.unwrap_or_default() });
        bytes = left;
    }
    bytes.is_empty().then_some(all)
}

impl Node {
    fn new(tag: u8, content: &[u8]) -> Self {
        Self { tag, content: content.to_vec(), inner: Vec::new() }
    }

    fn der(&self) -> Vec<u8> {
        let inner: Vec<u8> = self.inner.iter().flat_map(Self::der).collect();
        let content = if self.inner.is_empty() { &self.content } else { &inner };
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let length = match content.len() {
            0..128 => vec![low],
            128..256 => vec![0x81, low],
            _ => vec![0x82, high, low],
        };
        [&[self.tag], length.as_slice(), content].concat()
    }

    /// The place of each value below it, itself first.
    fn places(&self) -> Vec<Vec<usize>> {
        let below = self
            .inner
            .iter()
            .enumerate()
            .flat_map(|(at, node)| node.places().into_iter().map(move |place| [&[at], place.as_slice()].concat()));
        [Vec::new()].into_iter().chain(below).collect()
    }

    fn at(&mut self, place: &[usize]) -> &mut Self {
        place.iter().fold(self, |node, at| &mut node.inner[*at])
    }

    /// What it comes to once something is done to the value of this kind that stands first.
    fn changed(&self, is_it: impl Fn(&Self) -> bool, change: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut whole = self.clone();
        let place = whole.places().into_iter().find(|place| is_it(whole.clone().at(place))).unwrap();
        change(whole.at(&place));
        whole.der()
    }
}

/// A document as values, its MAC apart: without one nothing but its form keeps a change from being read.
fn taken_apart(shape: Shape) -> (Node, Option<Node>) {
    let [_, _, leaf] = chain();
    let document = Document { iterations: 10, ..Document::new(shape, &leaf.key, &[&leaf.der]) }.der();
    let mut whole = nodes(&document, &[&leaf.key, &leaf.der]).unwrap().remove(0);
    let mac = (whole.inner.len() == 3).then(|| whole.inner.remove(2));
    (whole, mac)
}

/// What two programs would read differently is read by none.
#[test]
fn each_value_is_of_its_kind_and_nothing_stands_beside_it() {
    // What follows a bag says names of it, and what follows the name of a hash is nothing; what is encrypted may have attributes.
    let is_open = |node: &Node| {
        let begins =
            |tag, content: &[u8]| node.inner.first().is_some_and(|n| n.tag == tag && n.content.starts_with(content));
        let is_hash = begins(6, b"\x2a\x86\x48\x86\xf7\x0d\x02")
            || begins(6, b"\x2b\x0e\x03")
            || begins(6, b"\x60\x86\x48\x01\x65\x03\x04\x02");
        is_hash || begins(6, BAG) || begins(2, &[0])
    };
    for shape in Shape::ALL {
        let (whole, mac) = taken_apart(shape);
        assert!(read(&whole.der(), "").is_ok(), "{shape:?}");
        let mut with_mac = whole.clone();
        with_mac.inner.extend(mac);
        assert!(read(&with_mac.der(), "").is_ok(), "{shape:?}");
        let mut tried = 0;
        // A change within what the MAC is over is refused by it already.
        let apart =
            with_mac.places().into_iter().filter(|place| place.len() < 3 || place[0] == 2).map(|p| (&with_mac, p));
        for (document, place) in whole.places().into_iter().map(|place| (&whole, place)).chain(apart) {
            let told = |change: &dyn Fn(&mut Node)| {
                let mut document = document.clone();
                change(document.at(&place));
                read(&document.der(), "").is_err()
            };
            let is_within = |is_it: &dyn Fn(&Node) -> bool| {
                (0..place.len()).any(|depth| is_it(document.clone().at(&place[..depth])))
            };
            let node = document.clone().at(&place).clone();
            if is_within(&|node| node.tag == 0x31) || node.tag == 0x31 || node.tag == 5 {
                continue;
            }
            tried += 1;
            assert!(told(&|node| node.tag ^= 0x40), "{shape:?} {place:?}: another tag");
            if node.tag == 6 {
                assert!(told(&|node| *node.content.last_mut().unwrap() ^= 0x40), "{shape:?} {place:?}: another name");
            }
            if !node.inner.is_empty() && !is_open(&node) {
                assert!(told(&|node| node.inner.push(Node::new(5, b""))), "{shape:?} {place:?}: something after it");
            }
        }
        assert!(tried > 25, "{shape:?}: {tried}");
    }
}

#[test]
fn what_is_encrypted_ends_where_its_padding_says() {
    let (whole, _) = taken_apart(Shape::Windows);
    let is_text = |tag: u8| move |node: &Node| node.tag == tag && node.inner.is_empty() && node.content.len() > 100;
    let is_key = is_text(4);
    for (what, is_text) in [("key", is_key), ("certificates", is_text(0x80))] {
        for more in 1..8 {
            let longer = whole.changed(is_text, |node| node.content.extend(vec![0; more]));
            assert_eq!(
                read(&longer, "").err(),
                Some(Pkcs12Error::Password),
                "{what}: {more} octets after the last block"
            );
        }
    }
    let [_, _, leaf] = chain();
    let document = Document { iterations: 10, ..Document::new(Shape::Windows, &leaf.key, &[&leaf.der]) }.der();
    let mut whole = nodes(&document, &[]).unwrap().remove(0);
    whole.inner.truncate(2);
    let padding = u8::try_from(8 - leaf.key.len() % 8).unwrap();
    assert!(padding > 2);
    for other in (0..=u8::MAX).filter(|other| *other != 1 && *other != padding) {
        // In CBC an octet of one block is changed with that of the block before it.
        let changed = whole.changed(is_key, |node| {
            let at = node.content.len() - 9;
            node.content[at] ^= padding ^ other;
        });
        assert_eq!(read(&changed, "").err(), Some(Pkcs12Error::Password), "{other} in place of {padding}");
    }
}

#[test]
fn another_version_is_another_format() {
    for version in [0, 1, 2, 4] {
        let (mut whole, _) = taken_apart(Shape::Clear);
        whole.at(&[0]).content = vec![version];
        assert_eq!(read(&whole.der(), "").err(), Some(Pkcs12Error::Malformed), "{version}");
    }
}

/// A document of a certificate and its key, as some program or other would write it by hand.
fn by_hand(change: impl FnOnce(&mut Node, &mut Node)) -> Result<Identity, Pkcs12Error> {
    let (mut whole, mac) = taken_apart(Shape::Modern);
    let mut mac = mac.unwrap();
    change(&mut whole, &mut mac);
    whole.inner.push(mac);
    read(&whole.der(), "")
}

#[test]
fn a_derivation_says_how_long_its_key_is_as_its_cipher_has_it() {
    let is_count = |node: &Node| node.inner.len() == 3 && node.inner[0].tag == 4 && node.inner[1].tag == 2;
    let (whole, _) = taken_apart(Shape::Modern);
    for (length, read_so) in [(32, true), (16, false), (24, false), (0, false), (33, false)] {
        let stated = whole.changed(is_count, |node| node.inner.insert(2, Node::new(2, &[length])));
        assert_eq!(read(&stated, "").is_ok(), read_so, "{length}");
    }
}

#[test]
fn a_mac_of_one_iteration_need_not_say_so_and_no_salt_is_endless() {
    let [_, _, leaf] = chain();
    let once = Document { iterations: 1, ..Document::new(Shape::Windows, &leaf.key, &[&leaf.der]) }.der();
    let mut whole = nodes(&once, &[&leaf.key, &leaf.der]).unwrap().remove(0);
    assert_eq!(whole.at(&[2, 2]).content, [1]);
    whole.at(&[2]).inner.pop();
    assert!(read(&whole.der(), "").is_ok());
    let told = by_hand(|_, mac| mac.at(&[1]).content = vec![7; 1_025]).err();
    assert_eq!(told, Some(Pkcs12Error::Malformed));
    assert_eq!(by_hand(|_, mac| mac.at(&[1]).content = vec![7; 1_024]).err(), Some(Pkcs12Error::Password));
}

#[test]
fn the_two_readings_of_an_empty_password_share_what_may_be_spent_on_a_document() {
    let million = |iterations: u32| {
        by_hand(|_, mac| mac.at(&[2]).content = [&[0], iterations.to_be_bytes().as_slice()].concat()).err()
    };
    assert_eq!(million(400_000), Some(Pkcs12Error::Password));
    assert_eq!(million(600_000), Some(Pkcs12Error::Iterations));
}

#[test]
fn an_empty_password_is_two_zeros_to_some_and_nothing_to_others() {
    let ((whole, _), (_, mac)) = (taken_apart(Shape::Clear), taken_apart(Shape::Windows));
    for reading in Password::readings("") {
        let (mut whole, mut mac) = (whole.clone(), mac.clone().unwrap());
        let salt = mac.at(&[1]).content.clone();
        let key = reading.derive::<20>(password::Hash::SHA1, 3, &salt, 10, &mut Work::default()).unwrap();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_ref());
        let safe = whole.at(&[1, 1, 0, 0]).der();
        mac.at(&[0, 1]).content = aws_lc_rs::hmac::sign(&key, &safe).as_ref().to_vec();
        whole.inner.push(mac);
        assert!(read(&whole.der(), "").is_ok());
        assert_eq!(read(&whole.der(), "x").err(), Some(Pkcs12Error::Password));
    }
}

#[test]
fn a_certificate_that_cannot_be_read_is_not_passed_over() {
    let [_, _, leaf] = chain();
    let document = Document::new(Shape::Clear, &leaf.key, &[&leaf.der, &[0x30, 0]]);
    assert_eq!(read(&document.der(), "").err(), Some(Pkcs12Error::Certificate));
}

#[test]
fn numbers_are_what_they_are_or_too_large_and_never_another_one() {
    let number = |content: &[u8]| {
        let length = u8::try_from(content.len()).unwrap();
        Der::new(&[&[2, length], content].concat()).number()
    };
    for (content, expected) in [
        (&[0][..], Ok(0)),
        (&[0x7f], Ok(127)),
        (&[0, 0x80], Ok(128)),
        (&[0x7f, 0xff, 0xff, 0xff], Ok(0x7fff_ffff)),
        (&[0, 0xff, 0xff, 0xff, 0xff], Ok(u32::MAX)),
        (&[1, 0, 0, 0, 1], Ok(u32::MAX)),
        (&[0, 0x81, 0, 0, 0, 1], Ok(u32::MAX)),
        (&[0x80], Err(Pkcs12Error::Malformed)),
        (&[0xff, 0xff], Err(Pkcs12Error::Malformed)),
        (&[], Err(Pkcs12Error::Malformed)),
    ] {
        assert_eq!(number(content), expected, "{content:?}");
    }
}
