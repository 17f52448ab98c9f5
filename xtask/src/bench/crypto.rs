//! The floor: one signature and one verification with aws-lc-rs, keys parsed once.

use crate::Outcome;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
};
use std::time::{Duration, Instant};

/// Microseconds of one core.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) sign: f64,
    pub(crate) verify: f64,
}

/// The two algorithms that the exchanges use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    pub(crate) rs256: Cost,
    pub(crate) es256: Cost,
}

impl Floor {
    pub(crate) fn of(&self, algorithm: &str) -> Cost {
        if algorithm == "ES256" { self.es256 } else { self.rs256 }
    }
}

/// As long as the head and body of an ordinary access token.
const MESSAGE: [u8; 900] = [b'e'; 900];

pub(crate) fn measure() -> Outcome<Floor> {
    floor().map_err(|error| format!("aws-lc-rs refused a key that it made itself: {error}"))
}

fn floor() -> Result<Floor, Box<dyn std::error::Error>> {
    let random = SystemRandom::new();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048)?;
    let mut signature = vec![0; rsa.public_modulus_len()];
    rsa.sign(&RSA_PKCS1_SHA256, &random, &MESSAGE, &mut signature)?;
    let public = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, rsa.public_key().as_ref())?;
    let rs256 = Cost {
        sign: micros(|| rsa.sign(&RSA_PKCS1_SHA256, &random, &MESSAGE, &mut signature.clone()).is_ok()),
        verify: micros(|| public.verify_sig(&MESSAGE, &signature).is_ok()),
    };
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let signature = ec.sign(&random, &MESSAGE)?;
    let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, ec.public_key().as_ref())?;
    let es256 = Cost {
        sign: micros(|| ec.sign(&random, &MESSAGE).is_ok()),
        verify: micros(|| public.verify_sig(&MESSAGE, signature.as_ref()).is_ok()),
    };
    Ok(Floor { rs256, es256 })
}

/// The median of nine runs of a tenth of a second: one disturbed run does not move it.
fn micros(mut work: impl FnMut() -> bool) -> f64 {
    let mut runs: Vec<f64> = (0..9)
        .map(|_| {
            let began = Instant::now();
            let mut times = 0_u32;
            while began.elapsed() < Duration::from_millis(100) {
                for _ in 0..8 {
                    assert!(work(), "an operation that succeeded a moment ago failed");
                }
                times += 8;
            }
            began.elapsed().as_secs_f64() * 1e6 / f64::from(times)
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs.get(runs.len() / 2).copied().unwrap_or(f64::NAN)
}
