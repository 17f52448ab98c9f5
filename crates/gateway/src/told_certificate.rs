//! Certificates of callers that a trusted proxy tells of: it shook hands in the gateway's place.
//!
//! Whose word counts is decided elsewhere; here is read what is told. What cannot be read, or is told twice, is an error, so that nobody
//! is taken for whom another reader would not take them.
use crate::canonical::query;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderName};
use rustls_pki_types::CertificateDer;
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// RFC 9440 section 2.3: the rest of the chain.
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// The field in which a proxy tells of its caller's certificate, and with it the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum CertificateField {
    /// Envoy's: `Cert` or `Chain`, in PEM and URL-encoded, of the one caller, with its `Hash`.
    #[serde(rename = "X-Forwarded-Client-Cert")]
    XForwardedClientCert,
    /// RFC 9440: DER in base64 between colons, and `Client-Cert-Chain` beside it.
    #[serde(rename = "Client-Cert")]
    ClientCert,
    /// Azure App Service's: DER in base64.
    #[serde(rename = "X-ARR-ClientCert")]
    XArrClientCert,
    /// The nginx ingress controller's: PEM, URL-encoded.
    #[serde(rename = "ssl-client-cert")]
    SslClientCert,
}

/// What is told cannot be read, or there are two of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// A chain, the caller's own certificate first.
type Chain = Vec<CertificateDer<'static>>;

impl CertificateField {
    /// Its name.
    pub(crate) const fn name(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::XForwardedClientCert => "x-forwarded-client-cert",
            Self::ClientCert => "client-cert",
            Self::XArrClientCert => "x-arr-clientcert",
            Self::SslClientCert => "ssl-client-cert",
        })
    }

    /// The names of all fields that are read.
    pub(crate) fn names(self) -> impl Iterator<Item = HeaderName> {
        [self.name()].into_iter().chain((self == Self::ClientCert).then_some(CLIENT_CERT_CHAIN))
    }

    /// The chain that is told; `None` where the caller had no certificate.
    pub(crate) fn told(self, headers: &HeaderMap) -> Result<Option<Chain>, Unreadable> {
        let Some(value) = only(headers, &self.name())? else { return Ok(None) };
        match self {
            Self::XForwardedClientCert => of_envoy(value),
            Self::ClientCert => {
                let mut chain = vec![octets(value)?];
                if let Some(rest) = only(headers, &CLIENT_CERT_CHAIN)? {
                    for one in rest.split(',') {
                        chain.push(octets(one.trim_matches([' ', '\t']))?);
                    }
                }
                Ok(Some(chain))
            }
            Self::XArrClientCert => Ok(Some(vec![der(value)?])),
            Self::SslClientCert => Ok(Some(vec![one(value)?])),
        }
    }
}

/// The one value of a field; one that is empty says nothing.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Unreadable> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(Unreadable);
    }
    let text = value.map(|value| value.to_str().map_err(|_| Unreadable)).transpose()?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// A sequence of octets (RFC 9651 section 3.3.5).
fn octets(text: &str) -> Result<CertificateDer<'static>, Unreadable> {
    der(text.strip_prefix(':').and_then(|text| text.strip_suffix(':')).ok_or(Unreadable)?)
}

fn der(base64: &str) -> Result<CertificateDer<'static>, Unreadable> {
    let der = STANDARD.decode(base64).map_err(|_| Unreadable)?;
    if der.is_empty() { Err(Unreadable) } else { Ok(der.into()) }
}

/// RFC 7468, URL-encoded: certificates with nothing but white space between them.
fn pem(encoded: &str) -> Result<Chain, Unreadable> {
    // A `+` is itself: it is a digit of base64.
    let text = query::decoded(&encoded.replace('+', "%2B")).ok_or(Unreadable)?;
    let mut rest = text.trim_ascii();
    let mut chain = Vec::new();
    while !rest.is_empty() {
        let (lines, after) = rest.strip_prefix(BEGIN).and_then(|text| text.split_once(END)).ok_or(Unreadable)?;
        let digits: String = lines.split_ascii_whitespace().collect();
        chain.push(der(&digits)?);
        rest = after.trim_ascii_start();
    }
    if chain.is_empty() { Err(Unreadable) } else { Ok(chain) }
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

fn one(encoded: &str) -> Result<CertificateDer<'static>, Unreadable> {
    let mut chain = pem(encoded)?;
    chain.pop().filter(|_| chain.is_empty()).ok_or(Unreadable)
}

/// Pairs with `;` between them.
///
/// After a `,` another proxy's caller would be told of, and which of them is meant cannot be known: Envoy writes the names of a
/// certificate (`URI`, `DNS`) without quotes, so that whoever may choose theirs could write `,Cert=` and somebody else's there. For the
/// same reason a certificate is told with its `Hash`, which Envoy writes before any name: what a name adds does not fit it.
fn of_envoy(value: &str) -> Result<Option<Chain>, Unreadable> {
    let mut known: [(&str, Option<&str>); 3] = [("hash", None), ("cert", None), ("chain", None)];
    let mut rest = value;
    loop {
        let (key, after) = rest.split_once('=').ok_or(Unreadable)?;
        if key.is_empty() || !key.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
            return Err(Unreadable);
        }
        let (text, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted_text(quoted).ok_or(Unreadable)?,
            None => after.split_at(after.find([';', ',', '"']).unwrap_or(after.len())),
        };
        let of = known.iter_mut().find(|(name, _)| key.eq_ignore_ascii_case(name));
        if of.is_some_and(|(_, known)| known.replace(text).is_some()) {
            return Err(Unreadable);
        }
        match after.strip_prefix(';') {
            Some(more) => rest = more,
            None if after.is_empty() => break,
            None => return Err(Unreadable),
        }
    }
    let [(_, hash), (_, own), (_, all)] = known;
    let (own, all) = (own.map(one).transpose()?, all.map(pem).transpose()?);
    let chain = match (own, all) {
        (Some(own), Some(all)) if all.first() == Some(&own) => all,
        (Some(_), Some(_)) => return Err(Unreadable),
        (Some(own), None) => vec![own],
        (None, Some(all)) => all,
        (None, None) => return Ok(None),
    };
    let is_hashed = chain.first().zip(hash).is_some_and(|(own, hash)| hash.eq_ignore_ascii_case(&sha256(own)));
    if is_hashed { Ok(Some(chain)) } else { Err(Unreadable) }
}

/// In hexadecimal digits.
fn sha256(der: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(der))
}

/// What stands before the closing quote, and behind it.
fn quoted_text(text: &str) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some((text.get(..at)?, text.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::CertificateField::{ClientCert, SslClientCert, XArrClientCert, XForwardedClientCert};
    use super::*;

    const DER: &[u8] = b"0\x03not a certificate, but octets of one";

    fn encoded(der: &[u8]) -> String {
        let base64 = STANDARD.encode(der).replace('+', "%2B").replace('=', "%3D").replace('/', "%2F");
        format!("-----BEGIN%20CERTIFICATE-----%0A{base64}%0A-----END%20CERTIFICATE-----%0A")
    }

    fn told(field: CertificateField, values: &[&str]) -> Result<Option<Chain>, Unreadable> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(field.name(), value.parse().unwrap());
        }
        field.told(&headers)
    }

    fn chain(all: &[&[u8]]) -> Chain {
        all.iter().map(|der| CertificateDer::from(der.to_vec())).collect()
    }

    /// What Envoy says with its hash before.
    fn of_envoy(value: &str) -> Result<Option<Chain>, Unreadable> {
        told(XForwardedClientCert, &[&format!("By=spiffe://a/b?c=d;Hash={};{value}", sha256(DER))])
    }

    #[test]
    fn each_field_has_its_own_form() {
        let (text, base64) = (encoded(DER), STANDARD.encode(DER));
        assert_eq!(told(ClientCert, &[&format!(":{base64}:")]), Ok(Some(chain(&[DER]))));
        assert_eq!(told(XArrClientCert, &[&base64]), Ok(Some(chain(&[DER]))));
        assert_eq!(told(SslClientCert, &[&text]), Ok(Some(chain(&[DER]))));
        assert_eq!(told(SslClientCert, &[&text.replace("%0A", "%0D%0A%09")]), Ok(Some(chain(&[DER]))));
        assert_eq!(
            told(SslClientCert, &[&format!("-----BEGIN CERTIFICATE-----{base64}-----END CERTIFICATE-----")]),
            Ok(Some(chain(&[DER])))
        );
        assert_eq!(
            of_envoy(&format!("Cert=\"{text}\";Subject=\"CN=\\\"a;Cert=b\\\", O=c\";URI=;DNS=a;DNS=b")),
            Ok(Some(chain(&[DER])))
        );
        assert_eq!(of_envoy(&format!("Chain=\"{text}{}\"", encoded(b"1"))), Ok(Some(chain(&[DER, b"1"]))));
        assert_eq!(of_envoy(&format!("cert={text};CHAIN={text}{}", encoded(b"1"))), Ok(Some(chain(&[DER, b"1"]))));
        for field in [ClientCert, SslClientCert, XArrClientCert, XForwardedClientCert] {
            assert_eq!((told(field, &[]), told(field, &[""])), (Ok(None), Ok(None)), "{field:?}");
        }
        assert_eq!(of_envoy("Subject=\"CN=a\""), Ok(None), "a digest is no certificate");
    }

    #[test]
    fn t_04_what_has_two_readings_is_not_read() {
        let (text, base64) = (encoded(DER), STANDARD.encode(DER));
        let both = [&*text, &*text].concat();
        for (field, value) in [
            (ClientCert, base64.clone()),
            (ClientCert, format!(":{base64}")),
            (ClientCert, format!(":{base64}:, :{base64}:")),
            (ClientCert, format!(":{base64}:;a=1")),
            (ClientCert, format!(":{}:", base64.replace('A', "_"))),
            (ClientCert, "::".to_owned()),
            (ClientCert, ":".to_owned()),
            (XArrClientCert, format!("{base64}, {base64}")),
            (XArrClientCert, format!("{base64}{base64}")),
            (XArrClientCert, base64.replace('=', "")),
            (XArrClientCert, format!("{base64}%00")),
            (XArrClientCert, text.clone()),
            (SslClientCert, text.replace("%0A", "%0")),
            (SslClientCert, text.replace("%0A", "%zz")),
            (SslClientCert, text.replacen("%0A", "%00", 1)),
            (SslClientCert, format!("%00{text}")),
            (SslClientCert, format!("{text}%00")),
            (SslClientCert, format!("{text}%ff")),
            (SslClientCert, format!("{text},{text}")),
            (SslClientCert, format!("{text}%2C{text}")),
            (SslClientCert, both.clone()),
            (SslClientCert, format!("a%0A{text}")),
            (SslClientCert, text.replace("CERTIFICATE", "PRIVATE%20KEY")),
            (SslClientCert, text.replace("END%20CERTIFICATE", "END%20X509")),
            (SslClientCert, "-----BEGIN%20CERTIFICATE----------END%20CERTIFICATE-----".to_owned()),
            (SslClientCert, "-----BEGIN%20CERTIFICATE-----%0A".repeat(1_000)),
            (SslClientCert, "(null)".to_owned()),
            (SslClientCert, "%".to_owned()),
        ] {
            assert_eq!(told(field, &[&value]), Err(Unreadable), "{field:?}: {value}");
        }
        for field in [ClientCert, XArrClientCert, SslClientCert, XForwardedClientCert] {
            assert_eq!(told(field, &["", ""]), Err(Unreadable), "{field:?}");
        }
    }

    #[test]
    fn t_04_names_in_a_certificate_tell_of_no_other_one() {
        let (text, other) = (encoded(DER), encoded(b"other"));
        let hash = sha256(b"other");
        for value in [
            // Names that Envoy does not quote.
            format!("URI=a;Cert=\"{other}\""),
            format!("URI=a;Hash={hash};Cert=\"{other}\""),
            format!("Cert=\"{text}\";URI=a;Cert=\"{other}\""),
            format!("Cert=\"{text}\";URI=a,Hash={hash};Cert=\"{other}\""),
            format!("Cert=\"{text}\";DNS=a,Hash={hash};Cert=\"{other}\";DNS=b"),
            format!("URI=a;Chain=\"{other}{text}\""),
            format!("Cert=\"{text}\";URI=a;Chain=\"{other}{text}\""),
            format!("Cert=\"{text}\";URI=a\"b"),
            // Another proxy's element, wherever.
            format!("Cert=\"{text}\",Hash={};Cert=\"{text}\"", sha256(DER)),
            format!("Cert=\"{text}\","),
            // What ends too late or too early.
            format!("Cert=\"{text}\";Subject=\"CN=a"),
            format!("Cert=\"{text}\";Subject=\"CN=a\\\""),
            format!("Cert=\"{text}\"x"),
            format!("Cert=\"{text}\";"),
            format!("Cert=\"{text}\";;URI=a"),
            format!("Cert=\"{text}{text}\""),
            format!("Cert=\"{text}%2C{text}\""),
            "Cert=\"\"".to_owned(),
            "Cert=".to_owned(),
            "Cert".to_owned(),
        ] {
            assert_eq!(of_envoy(&value), Err(Unreadable), "{value}");
        }
        let without = told(XForwardedClientCert, &[&format!("Cert=\"{text}\"")]);
        for (own, first) in [(DER, b"other".as_slice()), (b"other", DER)] {
            let value = format!("Hash={};Cert=\"{}\";Chain=\"{}\"", sha256(DER), encoded(own), encoded(first));
            assert_eq!(told(XForwardedClientCert, &[&value]), Err(Unreadable), "two certificates");
        }
        assert_eq!(without, Err(Unreadable), "nothing says that it is the proxy's own word");
        assert_eq!(told(XForwardedClientCert, &["[{\"Hash\":\"00\"}]"]), Err(Unreadable));
        assert_eq!(told(XForwardedClientCert, &[&text]), Err(Unreadable));
    }

    #[test]
    fn a_field_of_any_octets_is_read_or_not_and_nothing_else() {
        let valid = [
            (ClientCert, format!(":{}:", STANDARD.encode(DER))),
            (XArrClientCert, STANDARD.encode(DER)),
            (SslClientCert, encoded(DER)),
            (XForwardedClientCert, format!("Hash={};Cert=\"{}\"", sha256(DER), encoded(DER))),
        ];
        for (field, text) in &valid {
            for at in 0..text.len() {
                for octet in *b"\0 \"%,;=:\\A~\xff" {
                    let mut changed = text.clone().into_bytes();
                    changed[at] = octet;
                    let Ok(value) = http::HeaderValue::from_bytes(&changed) else { continue };
                    let mut headers = HeaderMap::new();
                    headers.insert(field.name(), value);
                    // One changed octet is never another certificate where the proxy says its hash too.
                    let told = field.told(&headers);
                    let is_other = *field == XForwardedClientCert
                        && told != Ok(Some(chain(&[DER])))
                        && told.is_ok_and(|told| told.is_some());
                    assert!(!is_other, "{at} {octet}");
                }
            }
        }
    }
}
