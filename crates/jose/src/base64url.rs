//! Canonical unpadded base64url (RFC 7515 section 2): one text for each octet string, so that a signed text has no variants.
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

pub(crate) fn encode(octets: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

/// `None` for padding, spare bits, white space, or the standard alphabet.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The padded standard alphabet, which `x5c` uses (RFC 7515 section 4.1.6).
pub(crate) fn encode_standard(octets: impl AsRef<[u8]>) -> String {
    STANDARD.encode(octets)
}

/// The same, with white space anywhere, as some libraries write `x5c`.
pub(crate) fn decode_standard(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(digits).ok()
}
