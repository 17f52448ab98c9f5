//! Private keys as JSON (RFC 7517, RFC 7518 section 6, RFC 8037 section 2): what platforms inject.
use super::{Pair, SigningKey, ec_pkcs8, rsa_pkcs8};
use crate::algorithm::{Curve, Scheme};
use crate::{Algorithm, KeyError, base64url, json};
use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin, EcPrivateKeyBin};
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use oauth::Secret;
use serde_json::{Map, Value};
use x509_parser::asn1_rs::{Any, FromDer};

impl SigningKey {
    /// Reads a private JSON Web Key. Its `alg` binds it; one without signs with RS256, or as its curve does. Its `kid` names
    /// it, or else its thumbprint (RFC 7638). A certificate in it (`x5c`) is left out.
    ///
    /// ```
    /// let key = jose::SigningKey::from_jwk(r#"{"kty":"OKP","crv":"Ed25519","kid":"mine",
    ///     "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#)?;
    /// assert_eq!((key.kid(), key.algorithm()), ("mine", jose::Algorithm::EdDSA));
    /// # Ok::<(), jose::KeyError>(())
    /// ```
    pub fn from_jwk(text: &str) -> Result<Self, KeyError> {
        json::check(text.as_bytes()).map_err(|_| KeyError::Malformed)?;
        let jwk: Map<String, Value> = serde_json::from_str(text).map_err(|_| KeyError::Malformed)?;
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|use_| use_ != "sig") {
            return Err(KeyError::Use);
        }
        let bytes = |name: &'static str| text(name).and_then(base64url::decode).ok_or(KeyError::Member(name));
        let own = match (text("kty"), text("crv")) {
            (Some("RSA"), _) => Algorithm::RS256,
            (Some("EC"), Some(curve)) => Curve::named(curve).ok_or(KeyError::Member("crv"))?.1,
            (Some("OKP"), Some("Ed25519")) => Algorithm::EdDSA,
            (Some("oct"), _) => return Err(KeyError::Symmetric),
            _ => return Err(KeyError::Member("kty")),
        };
        let algorithm = text("alg").map_or(Ok(own), str::parse)?;
        let unusable = |_| KeyError::PrivateKey;
        let (pair, pkcs8) = match (own.scheme(), algorithm.scheme()) {
            (Scheme::Rsa(..), Scheme::Rsa(_, padding)) => {
                let components = KeyPairComponents {
                    public_key: PublicKeyComponents { n: bytes("n")?, e: bytes("e")? },
                    d: bytes("d")?,
                    p: bytes("p")?,
                    q: bytes("q")?,
                    dP: bytes("dp")?,
                    dQ: bytes("dq")?,
                    qInv: bytes("qi")?,
                };
                let pair = RsaKeyPair::from_components(&components).map_err(unusable)?;
                let der = rsa_pkcs8(&pair)?;
                (Pair::Rsa(pair, padding), der)
            }
            (Scheme::Ecdsa(..), Scheme::Ecdsa(curve, _, signing)) if own == algorithm => {
                let (d, x, y) = (bytes("d")?, bytes("x")?, bytes("y")?);
                if x.len() != curve.width() || y.len() != curve.width() {
                    return Err(KeyError::Point);
                }
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                let pair = EcdsaKeyPair::from_private_key_and_public_key(signing, &d, &point).map_err(unusable)?;
                let der = ec_pkcs8(&pair)?;
                (Pair::Ecdsa(pair), der)
            }
            (Scheme::Ed25519, Scheme::Ed25519) => {
                let pair = Ed25519KeyPair::from_seed_and_public_key(&bytes("d")?, &bytes("x")?).map_err(unusable)?;
                let der = pair.to_pkcs8v1().map_err(|_| KeyError::Generate)?.as_ref().to_vec();
                (Pair::Ed25519(pair), der)
            }
            _ => return Err(KeyError::AlgorithmMismatch),
        };
        let key = Self::assemble(algorithm, pair, pkcs8)?;
        Ok(match text("kid") {
            Some(kid) => key.named(kid),
            None => key,
        })
    }

    /// This key as a private JSON Web Key, as platforms hand keys over to programs: with `alg` and `kid`, and nothing of its
    /// certificate.
    ///
    /// ```
    /// use jose::{Algorithm, SigningKey};
    /// let key = SigningKey::generate(Algorithm::ES256)?.named("mine");
    /// let same = SigningKey::from_jwk(key.private_jwk()?.expose())?;
    /// assert_eq!((same.kid(), same.pkcs8()), ("mine", key.pkcs8()));
    /// # Ok::<(), jose::KeyError>(())
    /// ```
    pub fn private_jwk(&self) -> Result<Secret, KeyError> {
        let public = serde_json::to_value(&self.jwk).map_err(|_| KeyError::Malformed)?;
        let Value::Object(mut jwk) = public else { return Err(KeyError::Malformed) };
        jwk.retain(|name, _| !name.starts_with("x5"));
        let mut put = |name: &str, octets: &[u8]| jwk.insert(name.to_owned(), base64url::encode(octets).into());
        match &self.pair {
            Pair::Rsa(..) => {
                // RFC 5208 section 5, and in it RFC 8017 appendix A.1.2.
                let wrapped = members(&self.pkcs8).ok_or(KeyError::PrivateKey)?;
                let key = wrapped.get(2).and_then(|key| members(key)).ok_or(KeyError::PrivateKey)?;
                let names = ["d", "p", "q", "dp", "dq", "qi"];
                if key.len() != names.len() + 3 {
                    return Err(KeyError::PrivateKey);
                }
                for (name, integer) in names.into_iter().zip(key.into_iter().skip(3)) {
                    put(name, integer.strip_prefix(&[0]).unwrap_or(integer));
                }
            }
            Pair::Ecdsa(pair) => {
                let d: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().map_err(|_| KeyError::PrivateKey)?;
                put("d", d.as_ref());
            }
            Pair::Ed25519(pair) => {
                let seed = pair.seed().map_err(|_| KeyError::PrivateKey)?;
                let d: Curve25519SeedBin<'_> = seed.as_be_bytes().map_err(|_| KeyError::PrivateKey)?;
                put("d", d.as_ref());
            }
        }
        serde_json::to_string(&jwk).map(Secret::new).map_err(|_| KeyError::Malformed)
    }
}

/// The contents of what a DER sequence holds.
fn members(der: &[u8]) -> Option<Vec<&[u8]>> {
    let (_, sequence) = Any::from_der(der).ok()?;
    let (mut left, mut all) = (sequence.data, Vec::new());
    while !left.is_empty() {
        let (rest, member) = Any::from_der(left).ok()?;
        all.push(member.data);
        left = rest;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use crate::{Algorithm, Header, KeyError, SigningKey, Token};
    use serde_json::{Value, json};

    /// The key of RFC 7515 appendix A.3.
    fn ec() -> Value {
        json!({
            "kty": "EC", "crv": "P-256", "kid": "of the RFC",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
        })
    }

    /// A key made for this test.
    fn rsa() -> Value {
        json!({
            "kty": "RSA", "e": "AQAB",
            "n": "yT-12sSK2edDZIIMYoxljFaoMZI-45cHstuRWovh9I6ftWi5KkGs_XRmAIk6HlINvXU98WDCr2CrH1TqoeezQDQqvqBmOipgw7-abGI3tLUa-0Ck-gkpsJX6ihPePGRSA4YUyUJjkxRaIW1ZdaiQZPkuJFeqbJRd8sAQZAomz7-R9_zIqm4sCdp4umnxkK3KH_iPhR_EDPM18Q9Dn2ykdMkM3D2CnF1IPI_C4r0bMaRfe1RZ7Wbc-oGKEqKT6LXe5PGIZmpIKbI7Qvb2N-c3MyboSrr0x68gc3Oon2APaGL88dDYwrxscvGmFT3dZ5hoKlExKcCbZhgq9A67olBVLw",
            "d": "G-GLOMFE-VZcVFbeD2MjCHPS_ncj5lT8uI9JznEVv1NpFfFpwcxygnS3UviwCBZXF_nfuIquvixW2NLjZMXcZBc2Gs3PC9zmJghsBPsAe7UhhVCZ6pgNYg0NNkb1YYmGgT14sL9VW0GVEQ98ttvBEXQiK9_HWR6e-2wXeTyczugcy5HB97FUTu0QbbW8JuSgdsOHXyUApKpNOuUiA_x9TxqJNplZaDSx5Fu1NB4ZMvTm2x_my4wLYBbc6gduueM8Ns-ba5qzO6ggzSAGP8v5ULsALns_C9NU6fCYEDKIzNSDv1YAnCR0tZifz9nWL9WK4tBZgadPPMoa1JUWKR0JyQ",
            "p": "-bXXBa9LKKvrCyA9ReFe6indBq2JUl7wadednbUDcRpCHJ6_cjLRI1dvxdFSjR8d1FQvwl2GgpJYhAQI0UzTld7PUxeyjwnbgVsE07kNCzJY3h-iNwBiK9CueL_q3437miV-iWJJlZfjgZRl42vy0NwnKUNfGZeAiPJSAg5ycpc",
            "q": "zlFiuBIfKhmmTrh3QFdjFLQzd_ZaNeo1qikjdv7EktIQ2OP_nyn6YqQzx6u_zxNFF-AVU5WaxOWmtFmP-B1fUJfWnCFOPBT1kriuYoELkSmUn07vXSMGDTNQTY3tlM9_WY3j0Fo6yoEv6L5uqmkqVCXhY_jMM5N8MgJqjoSCPSk",
            "dp": "NtcprvTtg7Ql_Z6J9mPljXW-Ne48v1tcX1JcKjuL0vYaWODAWNsyNRnJ0V8ESzvvOCd5Ca2ykdCEIhIkwZqmyT5SuAP3UhSvIXyU1c7JP5FCFR5LaNrrtIWzG4_CjHBJNnRPkuqEEJd3_ohRzB10CUygSR6jryInt2vIeO0lU2c",
            "dq": "VtDGQoBVnsiGQ4-5llhvN9IP6kW-dftks4J2CudvXfyI3EssUBRA6OsBYt6xanhIVaCUOMS2CG4-NJuPSi9J4UbTJoWZPwzuvNt7fbWhYWbmxBZaAI3xSPKzsr6rHzgk9VEQcKbXIEk2GLCxLoHsLtZ1vjR98KH5261Km0fE6ek",
            "qi": "Dw3DCq5ks6Y2SOqi1y7Y0NexUe0o77b8gVnSlw-ZKb6HgfqXwDhMHJQV4YitTk-wqiEUMJ975ELL8iJc_GsPCOrRNgPpOGrqYoNLV1w2j_rmk1r3U17sMfGLJyUBNlE0yzPr9VdXu9OV26_gViW67Ef9NadFCHCF-6yU1zAYlVU",
        })
    }

    #[test]
    fn private_keys_of_each_kind_are_read_and_sign() {
        for (jwk, algorithm, kid) in [(ec(), Algorithm::ES256, Some("of the RFC")), (rsa(), Algorithm::RS256, None)] {
            let key = SigningKey::from_jwk(&jwk.to_string()).unwrap();
            assert_eq!(key.algorithm(), algorithm);
            assert_eq!(key.kid(), kid.map_or_else(|| key.public_jwk().thumbprint().unwrap(), str::to_owned));
            let text = key.sign(&Header::typ("JWT"), b"{}").unwrap();
            Token::parse(&text).unwrap().verify(&key.verifying_key()).unwrap();
            // The private half is read as it is: kept and read again, it is the same key.
            assert_eq!(
                SigningKey::from_pkcs8(algorithm, key.pkcs8()).unwrap().public_jwk().thumbprint(),
                key.public_jwk().thumbprint()
            );
        }
        let bound = SigningKey::from_jwk(&with(rsa(), "alg", json!("PS256")).to_string()).unwrap();
        assert_eq!(bound.algorithm(), Algorithm::PS256);
    }

    #[test]
    fn a_private_key_that_is_handed_over_is_the_same_key_for_who_reads_it() {
        for algorithm in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
            let key = SigningKey::generate(algorithm).unwrap();
            let der = key.self_signed("orders", decision::Timestamp(0), decision::Timestamp(2_000_000_000));
            let key = match der {
                Ok(der) => key.with_certificate(der).unwrap(),
                Err(_) => key.named("mine"),
            };
            let told = key.private_jwk().unwrap();
            let read = SigningKey::from_jwk(told.expose()).unwrap();
            assert_eq!((read.algorithm(), read.kid(), read.pkcs8()), (algorithm, key.kid(), key.pkcs8()));
            assert!(!told.expose().contains("x5c"), "a certificate is no part of it");
        }
    }

    fn with(mut jwk: Value, name: &str, value: Value) -> Value {
        jwk[name] = value;
        jwk
    }

    #[test]
    fn what_is_no_private_key_of_its_kind_is_refused() {
        let other = "AAAAnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
        for (jwk, error) in [
            (json!([]), KeyError::Malformed),
            (json!({"kty": "oct", "k": "c2VjcmV0"}), KeyError::Symmetric),
            (json!({"kty": "XYZ"}), KeyError::Member("kty")),
            (with(ec(), "d", json!(null)), KeyError::Member("d")),
            (with(ec(), "d", json!(other)), KeyError::PrivateKey),
            (with(ec(), "x", json!("f83O")), KeyError::Point),
            (with(ec(), "alg", json!("ES384")), KeyError::AlgorithmMismatch),
            (with(ec(), "alg", json!("HS256")), KeyError::AlgorithmUnknown),
            (with(ec(), "use", json!("enc")), KeyError::Use),
            (with(rsa(), "p", json!(null)), KeyError::Member("p")),
            (with(rsa(), "d", json!("AQAB")), KeyError::PrivateKey),
        ] {
            assert_eq!(SigningKey::from_jwk(&jwk.to_string()).err(), Some(error), "{jwk}");
        }
        assert_eq!(SigningKey::from_jwk("{").err(), Some(KeyError::Malformed));
    }
}
