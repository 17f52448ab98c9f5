//! One-time passwords (RFC 4226, RFC 6238). HMAC-SHA-1 is what authenticator apps compute; HMAC does not rest on the
//! collisions that SHA-1 has.
use aws_lc_rs::hmac;

/// The six digits of a secret at a moving factor (RFC 4226 section 5.3). For RFC 6238 the factor is the time, in steps.
pub fn one_time_code(secret: &[u8], factor: u64) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &factor.to_be_bytes());
    let offset = usize::from(tag.as_ref().last().copied().unwrap_or_default() & 15);
    let four = tag.as_ref().iter().skip(offset).take(4).fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
    (four & 0x7fff_ffff) % 1_000_000
}

#[cfg(test)]
mod tests {
    use super::one_time_code;

    #[test]
    fn the_codes_are_those_of_the_rfcs() {
        let secret = b"12345678901234567890";
        // RFC 4226 appendix D.
        let hotp = [755_224, 287_082, 359_152, 969_429, 338_314, 254_676, 287_922, 162_583, 399_871, 520_489];
        for (factor, code) in (0..).zip(hotp) {
            assert_eq!(one_time_code(secret, factor), code);
        }
        // RFC 6238 appendix B, SHA-1: the last six of eight digits.
        for (time, code) in [(59, 287_082), (1_111_111_109, 81_804), (1_111_111_111, 50_471), (20_000_000_000, 353_130)]
        {
            assert_eq!(one_time_code(secret, time / 30), code, "{time}");
        }
    }
}
