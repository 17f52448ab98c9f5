//! What an RSA public key must be to be imported: large enough, with a sane exponent, and not factorable by ROCA.
use crate::KeyError;

const SMALLEST_EXPONENT: [u8; 3] = [1, 0, 1];

/// Checks big-endian modulus and exponent without leading zeros.
pub(crate) fn check(modulus: &[u8], exponent: &[u8]) -> Result<(), KeyError> {
    let bits = modulus.first().map_or(0, |high| modulus.len() * 8 - high.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return Err(KeyError::Size);
    }
    let odd = |number: &[u8]| number.last().is_some_and(|low| low & 1 == 1);
    let small =
        exponent.len() < 3 || exponent.len() == 3 && exponent < &SMALLEST_EXPONENT[..] || exponent.first() == Some(&0);
    // Above 33 bits the exponent only buys slow verification.
    if small || exponent.len() > 5 || !odd(exponent) || !odd(modulus) {
        return Err(KeyError::Exponent);
    }
    if roca(modulus) {
        return Err(KeyError::Roca);
    }
    Ok(())
}

/// CVE-2017-15361: primes of the form `k·M + 65537^a mod M`, M a primorial, so the modulus too is a power of 65537 modulo
/// every small prime. By chance that holds for one modulus in about 2^154.
fn roca(modulus: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107,
        109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|&prime| {
        let remainder = modulus.iter().fold(0, |r, &octet| (r * 256 + u32::from(octet)) % prime);
        let mut power = 1;
        (0..prime).any(|_| {
            power = power * (65_537 % prime) % prime;
            power == remainder
        })
    })
}
