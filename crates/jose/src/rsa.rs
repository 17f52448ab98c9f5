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

#[cfg(test)]
mod tests {
    use super::check;
    use crate::KeyError;

    /// Odd, and of as many bits as wanted.
    fn modulus(bits: usize) -> Vec<u8> {
        let mut modulus = vec![0xc5; bits.div_ceil(8)];
        modulus[0] = 1 << ((bits - 1) % 8);
        modulus
    }

    #[test]
    fn j_24_exponents_and_sizes_are_judged_at_their_edges() {
        let good = modulus(2048);
        let exponents: [(&[u8], bool); 12] = [
            (&[], false),
            (&[1], false),
            (&[3], false),
            (&[0xff, 0xff], false),
            (&[1, 0, 1], true),
            (&[1, 0, 2], false),
            (&[0, 1, 0, 1], false),
            (&[1, 0, 3], true),
            (&[1, 0, 0, 1], true),
            (&[1, 0, 0, 0, 1], true),
            (&[0, 0, 0, 0, 1], false),
            (&[1, 0, 0, 0, 0, 1], false),
        ];
        for (exponent, fits) in exponents {
            assert_eq!(check(&good, exponent), if fits { Ok(()) } else { Err(KeyError::Exponent) }, "{exponent:?}");
        }
        for (bits, fits) in [(2047, false), (2048, true), (2049, true), (8192, true), (8193, false)] {
            let expected = if fits { Ok(()) } else { Err(KeyError::Size) };
            assert_eq!(check(&modulus(bits), &[1, 0, 1]), expected, "{bits}");
        }
        let even = [good, vec![2]].concat();
        assert_eq!(check(&even, &[1, 0, 1]), Err(KeyError::Exponent));
    }

    /// CVE-2017-15361: a power of 65537 is one modulo every prime too.
    #[test]
    fn j_24_a_modulus_with_the_fingerprint_of_roca_is_refused() {
        // From the low octet up, times 65537 at a time.
        let mut number = vec![1_u8];
        for _ in 0..128 {
            let shifted = [vec![0, 0], number.clone()].concat();
            let mut carry = 0;
            number.resize(shifted.len(), 0);
            for (octet, other) in number.iter_mut().zip(shifted) {
                let sum = u16::from(*octet) + u16::from(other) + carry;
                (*octet, carry) = (sum.to_le_bytes()[0], sum >> 8);
            }
            number.extend((carry > 0).then_some(1));
        }
        number.reverse();
        assert_eq!(check(&number, &[1, 0, 1]), Err(KeyError::Roca));
        // One more factor that is no such power, and the fingerprint is gone.
        let trebled = number.iter().rev().fold((Vec::new(), 0_u16), |(mut out, carry), octet| {
            let product = u16::from(*octet) * 3 + carry;
            out.push(product.to_le_bytes()[0]);
            (out, product >> 8)
        });
        let mut trebled = [trebled.0, vec![trebled.1.to_le_bytes()[0]]].concat();
        while trebled.last() == Some(&0) {
            trebled.pop();
        }
        trebled.reverse();
        assert_eq!(check(&trebled, &[1, 0, 1]), Ok(()));
    }
}
