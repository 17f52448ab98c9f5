//! The keys that sessions are sealed with: the first one seals, the others still open what they sealed.
use crate::settings::{SettingsError, Source, Spanned, World, fault};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use client::Random;
use jose::seal::Sealer;

pub(super) struct Keys(Vec<Sealer>);

impl Keys {
    pub(super) fn read(sources: &[Spanned<Source>], world: &World<'_>) -> Result<Self, SettingsError> {
        let read = |source: &Spanned<Source>| {
            let key = octets(world.read_secret(source)?.expose()).ok_or_else(|| {
                let hint = "write 32 random octets in base64 there, such as `openssl rand -base64 32` prints";
                fault(&source.span(), "this is no key for sessions", hint)
            })?;
            Ok(Sealer::new(&key, "sign-in at the edge"))
        };
        sources.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Seals a text for one purpose, which is all that it can be opened for.
    pub(super) fn seal(&self, random: &dyn Random, purpose: &str, plain: &[u8]) -> Option<String> {
        let mut nonce = [0; 12];
        random.fill(&mut nonce);
        Some(self.0.first()?.seal(nonce, purpose.as_bytes(), plain))
    }

    pub(super) fn open(&self, purpose: &str, text: &str) -> Option<Vec<u8>> {
        self.0.iter().find_map(|sealer| sealer.open(purpose.as_bytes(), text))
    }
}

/// 32 octets, in base64 of either alphabet.
fn octets(text: &str) -> Option<[u8; 32]> {
    let all = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD];
    all.iter().find_map(|engine| engine.decode(text).ok()).and_then(|octets| octets.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_octets_however_base64_spells_them() {
        let key = [0xfb; 32];
        for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
            assert_eq!(octets(&engine.encode(key)), Some(key));
        }
        for text in ["", "short", &STANDARD.encode([1; 31]), &STANDARD.encode([1; 33]), &"a".repeat(64)] {
            assert_eq!(octets(text), None, "{text}");
        }
    }
}
