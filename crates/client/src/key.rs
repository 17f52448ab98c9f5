//! The identity of a cached token.
use oauth::{Scopes, Secret};
use sha2::{Digest, Sha256};

/// A SHA-256 over everything that decides whose token it is and what for. Two requests share a key only if they would
/// get interchangeable tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey([u8; 32]);

/// What goes into a key. A field left out differs from an empty one.
///
/// ```
/// use client::KeyFields;
/// let base = KeyFields { client: "ab", credential: "c", ..KeyFields::default() };
/// // Concatenation cannot confuse the fields: each is preceded by its length.
/// assert_ne!(base.key(), KeyFields { client: "a", credential: "bc", ..KeyFields::default() }.key());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyFields<'a> {
    /// The issuer, or the token endpoint where no issuer is known.
    pub issuer: &'a str,
    /// The tenant, where the issuer does not say it.
    pub tenant: Option<&'a str>,
    /// The client id.
    pub client: &'a str,
    /// Which credential authenticates the client; never the credential itself.
    pub credential: &'a str,
    /// The grant type.
    pub grant: &'a str,
    /// The digest of the subject token (assertion, refresh token); see [`digest`].
    pub subject: Option<[u8; 32]>,
    /// The digest of the actor token.
    pub actor: Option<[u8; 32]>,
    /// The target, audience or cluster that a token exchange names.
    pub target: Option<&'a str>,
    /// The scopes; a set, so their order does not matter.
    pub scopes: Option<&'a Scopes>,
    /// The `claims` parameter, byte for byte.
    pub claims: Option<&'a str>,
    /// RFC 8707's resource.
    pub resource: Option<&'a str>,
    /// The thumbprint of the key the token is bound to.
    pub binding: Option<&'a str>,
}

impl KeyFields<'_> {
    /// The key. The destructuring makes the compiler ask where a new field goes.
    pub fn key(&self) -> CacheKey {
        let Self {
            issuer,
            tenant,
            client,
            credential,
            grant,
            subject,
            actor,
            target,
            scopes,
            claims,
            resource,
            binding,
        } = *self;
        let mut hash = Hash(Sha256::new());
        for text in [issuer, client, credential, grant] {
            hash.field(text.as_bytes());
        }
        for text in [tenant, target, claims, resource, binding] {
            hash.optional(text.map(str::as_bytes));
        }
        for digest in [subject, actor] {
            hash.optional(digest.as_ref().map(<[u8; 32]>::as_slice));
        }
        hash.length(scopes.map_or(u64::MAX, |scopes| scopes.len() as u64));
        for scope in scopes.into_iter().flat_map(Scopes::iter) {
            hash.field(scope.as_bytes());
        }
        CacheKey(hash.0.finalize().into())
    }
}

/// The digest that stands for a token in keys: raw tokens are never kept as keys.
pub(crate) fn digest(token: &Secret) -> [u8; 32] {
    Sha256::digest(token.expose()).into()
}

struct Hash(Sha256);

impl Hash {
    fn length(&mut self, length: u64) {
        self.0.update(length.to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        self.length(bytes.len() as u64);
        self.0.update(bytes);
    }

    /// An absent field has a length that no present one can have.
    fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.field(bytes),
            None => self.length(u64::MAX),
        }
    }
}
