//! Arithmetic on big-endian numbers, for forged signatures.
use crate::SigningKey;
use x509_parser::der_parser::parse_der;

/// The order of P-256, P-384 and P-521.
pub(super) const ORDERS: [&str; 3] = [
    "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
];
/// The field of P-256.
pub(super) const P256_FIELD: &str = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";
/// The order of Ed25519's group, little-endian.
pub(super) const ED25519_ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| pair.iter().fold(0, |o, d| o * 16 + u8::try_from(*d).unwrap_or_default())).collect()
}

/// `a + b`, one octet longer if it must be.
pub(super) fn add(a: &[u8], b: &[u8]) -> Vec<u8> {
    let (mut sum, mut carry) = (Vec::new(), 0_u16);
    let mut b = b.iter().rev();
    for octet in a.iter().rev() {
        carry += u16::from(*octet) + b.next().map_or(0, |o| u16::from(*o));
        sum.push(carry.to_le_bytes()[0]);
        carry >>= 8;
    }
    if carry > 0 {
        sum.push(1);
    }
    sum.reverse();
    sum
}

/// `a − b` for `a ≥ b` of the same length.
pub(super) fn subtract(a: &[u8], b: &[u8]) -> Vec<u8> {
    let (mut difference, mut borrow) = (Vec::new(), 0_i16);
    for (a, b) in a.iter().rev().zip(b.iter().rev()) {
        let octet = i16::from(*a) - i16::from(*b) - borrow;
        borrow = i16::from(octet < 0);
        difference.push(octet.rem_euclid(256).to_le_bytes()[0]);
    }
    difference.reverse();
    difference
}

/// Modulus and private exponent of an RSA key.
pub(super) fn rsa_numbers(key: &SigningKey) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, outer) = parse_der(key.pkcs8()).ok()?;
    let inner = outer.as_sequence().ok()?.get(2)?.as_slice().ok()?;
    let (_, inner) = parse_der(inner).ok()?;
    let member = |i: usize| inner.as_sequence().ok()?.get(i)?.as_slice().ok().map(plain);
    Some((member(1)?, member(3)?))
}

/// A number without leading zeros.
pub(super) fn plain(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|o| *o == 0).collect()
}

/// A public key in PKCS#1.
pub(super) fn pkcs1(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    der(0x30, &[der(2, &signed(modulus)), der(2, &signed(exponent))].concat())
}

/// A DER value of up to 65 535 octets.
pub(super) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or_default().to_be_bytes();
    let prefix = match content.len() {
        0..128 => vec![tag, length[1]],
        128..256 => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    [prefix, content.to_vec()].concat()
}

/// A number that is not taken for a negative one.
pub(super) fn signed(number: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if number.first().is_some_and(|o| o & 0x80 != 0) { &[0] } else { &[] };
    [sign, number].concat()
}

/// `base^exponent mod modulus`, by Montgomery's method: what "textbook" RSA does, which no library offers.
#[expect(clippy::indexing_slicing, reason = "all numbers are brought to the same count of limbs first")]
pub(super) fn power(base: &[u8], exponent: &[u8], modulus: &[u8]) -> Vec<u8> {
    let count = modulus.len().div_ceil(8);
    let limbs = |number: &[u8]| -> Vec<u64> {
        let mut limbs: Vec<u64> =
            number.rchunks(8).map(|c| c.iter().fold(0, |limb, octet| limb << 8 | u64::from(*octet))).collect();
        limbs.resize(count, 0);
        limbs
    };
    let n = limbs(modulus);
    let less = |a: &[u64]| a.iter().rev().lt(n.iter().rev());
    let reduce = |a: &mut Vec<u64>, over: bool| {
        if over || !less(a) {
            let mut borrow = 0_i128;
            for (a, n) in a.iter_mut().zip(&n) {
                let difference = i128::from(*a) - i128::from(*n) + borrow;
                borrow = difference >> 64;
                *a = (difference & i128::from(u64::MAX)).try_into().unwrap_or_default();
            }
        }
    };
    let low = |wide: u128| u64::try_from(wide & u128::from(u64::MAX)).unwrap_or_default();
    let inverse = (0..6).fold(1_u64, |x, _| x.wrapping_mul(2_u64.wrapping_sub(n[0].wrapping_mul(x)))).wrapping_neg();
    let multiply = |a: &[u64], b: &[u64]| -> Vec<u64> {
        let mut t = vec![0_u64; count + 2];
        for limb in a {
            let mut carry = 0_u128;
            for j in 0..count {
                carry += u128::from(t[j]) + u128::from(*limb) * u128::from(b[j]);
                t[j] = low(carry);
                carry >>= 64;
            }
            carry += u128::from(t[count]);
            t[count] = low(carry);
            t[count + 1] = low(carry >> 64);
            let m = t[0].wrapping_mul(inverse);
            let mut carry = (u128::from(t[0]) + u128::from(m) * u128::from(n[0])) >> 64;
            for j in 1..count {
                carry += u128::from(t[j]) + u128::from(m) * u128::from(n[j]);
                t[j - 1] = low(carry);
                carry >>= 64;
            }
            carry += u128::from(t[count]);
            t[count - 1] = low(carry);
            t[count] = t[count + 1] + low(carry >> 64);
        }
        let over = t[count] != 0;
        t.truncate(count);
        reduce(&mut t, over);
        t
    };
    // R² mod n, by doubling 1.
    let mut square = limbs(&[1]);
    for _ in 0..count * 128 {
        let mut carry = 0;
        for limb in &mut square {
            let doubled = u128::from(*limb) << 1 | carry;
            *limb = low(doubled);
            carry = doubled >> 64;
        }
        reduce(&mut square, carry != 0);
    }
    let base = multiply(&limbs(base), &square);
    let mut result = multiply(&limbs(&[1]), &square);
    for octet in exponent {
        for bit in (0..8).rev() {
            result = multiply(&result, &result);
            if octet >> bit & 1 == 1 {
                result = multiply(&result, &base);
            }
        }
    }
    let result = multiply(&result, &limbs(&[1]));
    let octets: Vec<u8> = result.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
    octets.get(octets.len() - modulus.len()..).unwrap_or_default().to_vec()
}
