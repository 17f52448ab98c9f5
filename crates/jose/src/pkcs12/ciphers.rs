//! What encrypts keys and certificates: AES under PBES2 (RFC 8018), and 3DES and 40-bit RC2 as older programs have them.
use super::Pkcs12Error;
use super::der::{self, Der};
use super::password::{Hash, Password, Work};
use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use des::TdesEde3;
use des::cipher::consts::U8;
use des::cipher::{BlockCipherDecrypt, BlockSizeUser, KeyInit};
use rc2::Rc2;
use zeroize::Zeroizing;

/// 1.2.840.113549.1.5.13
const PBES2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
/// 1.2.840.113549.1.5.12
const PBKDF2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
/// 1.2.840.113549.1.12.1.3
const WITH_3DES: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x03";
/// 1.2.840.113549.1.12.1.6
const WITH_RC2_40: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x06";

type Text = Zeroizing<Vec<u8>>;

/// Decrypts what this `AlgorithmIdentifier` says is encrypted.
pub(super) fn decrypt(
    mut how: Der<'_>,
    text: &[u8],
    password: &Password,
    work: &mut Work,
) -> Result<Text, Pkcs12Error> {
    let scheme = how.take(der::OID)?;
    let mut parameters = how.inside(der::SEQUENCE)?;
    how.end()?;
    if scheme == PBES2 {
        return pbes2(parameters, text, password, work);
    }
    let salt = parameters.take(der::OCTETS)?;
    let iterations = parameters.number()?;
    parameters.end()?;
    match scheme {
        WITH_3DES => {
            let key: Zeroizing<[u8; 24]> = password.derive(Hash::SHA1, 1, salt, iterations, work)?;
            let iv: Zeroizing<[u8; 8]> = password.derive(Hash::SHA1, 2, salt, iterations, work)?;
            cbc_of_64_bits(&TdesEde3::new(&(*key).into()), *iv, text)
        }
        WITH_RC2_40 => {
            let key: Zeroizing<[u8; 5]> = password.derive(Hash::SHA1, 1, salt, iterations, work)?;
            let iv: Zeroizing<[u8; 8]> = password.derive(Hash::SHA1, 2, salt, iterations, work)?;
            cbc_of_64_bits(&Rc2::new_with_eff_key_len(&*key, 40), *iv, text)
        }
        _ => Err(Pkcs12Error::Unsupported("an encryption other than AES, 3DES and 40-bit RC2")),
    }
}

fn pbes2(mut parameters: Der<'_>, text: &[u8], password: &Password, work: &mut Work) -> Result<Text, Pkcs12Error> {
    let mut derivation = parameters.inside(der::SEQUENCE)?;
    let mut cipher = parameters.inside(der::SEQUENCE)?;
    parameters.end()?;
    if derivation.take(der::OID)? != PBKDF2 {
        return Err(Pkcs12Error::Unsupported("a derivation other than PBKDF2"));
    }
    let mut how = derivation.inside(der::SEQUENCE)?;
    derivation.end()?;
    let salt = how.take(der::OCTETS)?;
    let iterations = how.number()?;
    let length = if how.tag() == Some(der::NUMBER) { Some(how.number()?) } else { None };
    let algorithm =
        if how.is_empty() { pbkdf2::PBKDF2_HMAC_SHA1 } else { function(how.inside(der::SEQUENCE)?.take(der::OID)?)? };
    how.end()?;
    let name = cipher.take(der::OID)?;
    let iv: [u8; 16] = cipher.take(der::OCTETS)?.try_into().map_err(|_| Pkcs12Error::Malformed)?;
    cipher.end()?;
    // 2.16.840.1.101.3.4.1.2, 22 and 42
    let (cipher, size) = match name.strip_prefix(b"\x60\x86\x48\x01\x65\x03\x04\x01") {
        Some([2]) => (&AES_128, 16),
        Some([22]) => (&AES_192, 24),
        Some([42]) => (&AES_256, 32),
        _ => return Err(Pkcs12Error::Unsupported("a cipher other than AES in CBC mode")),
    };
    if length.is_some_and(|length| usize::try_from(length) != Ok(size)) {
        return Err(Pkcs12Error::Malformed);
    }
    let key: Zeroizing<[u8; 32]> = password.pbkdf2(algorithm, salt, iterations, work)?;
    cbc(cipher, key.get(..size).unwrap_or_default(), DecryptionContext::Iv128(FixedLength::from(iv)), text)
}

/// 1.2.840.113549.2.7 and those after it.
fn function(oid: &[u8]) -> Result<pbkdf2::Algorithm, Pkcs12Error> {
    Ok(match oid.strip_prefix(b"\x2a\x86\x48\x86\xf7\x0d\x02") {
        Some([7]) => pbkdf2::PBKDF2_HMAC_SHA1,
        Some([9]) => pbkdf2::PBKDF2_HMAC_SHA256,
        Some([10]) => pbkdf2::PBKDF2_HMAC_SHA384,
        Some([11]) => pbkdf2::PBKDF2_HMAC_SHA512,
        _ => return Err(Pkcs12Error::Unsupported("PBKDF2 over another function than HMAC with SHA-1 or SHA-2")),
    })
}

fn cbc(cipher: &'static Algorithm, key: &[u8], iv: DecryptionContext, text: &[u8]) -> Result<Text, Pkcs12Error> {
    let wrong = |_| Pkcs12Error::Password;
    let key = UnboundCipherKey::new(cipher, key).map_err(wrong)?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(wrong)?;
    let mut text = Zeroizing::new(text.to_vec());
    let length = key.decrypt(&mut text, iv).map_err(wrong)?.len();
    text.truncate(length);
    Ok(text)
}

/// The same for ciphers of before AES.
fn cbc_of_64_bits<C>(cipher: &C, iv: [u8; 8], text: &[u8]) -> Result<Text, Pkcs12Error>
where
    C: BlockCipherDecrypt + BlockSizeUser<BlockSize = U8>,
{
    let (blocks, []) = text.as_chunks::<8>() else { return Err(Pkcs12Error::Password) };
    let mut plain = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut before = iv;
    for block in blocks {
        let mut decrypted = (*block).into();
        cipher.decrypt_block(&mut decrypted);
        plain.extend(decrypted.iter().zip(before).map(|(octet, before)| octet ^ before));
        before = *block;
    }
    // PKCS#7 padding (RFC 5652 section 6.3).
    let padding = usize::from(plain.last().copied().unwrap_or_default());
    let kept = plain.len().checked_sub(padding).filter(|_| (1..=8).contains(&padding)).ok_or(Pkcs12Error::Password)?;
    if plain.iter().skip(kept).any(|octet| usize::from(*octet) != padding) {
        return Err(Pkcs12Error::Password);
    }
    plain.truncate(kept);
    Ok(plain)
}
