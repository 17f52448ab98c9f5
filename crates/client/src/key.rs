//! The identity of a cached token.
use oauth::Secret;
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
    /// The client id.
    pub client: &'a str,
    /// Which credential authenticates the client; never the credential itself.
    pub credential: &'a str,
    /// The tenant, where the issuer does not say it.
    pub tenant: Option<&'a str>,
    /// The grant type.
    pub grant: &'a str,
    /// The subject token (assertion, refresh token), all of it.
    pub subject: Option<&'a Secret>,
    /// The actor token.
    pub actor: Option<&'a Secret>,
    /// The target, audience or cluster that a token exchange names.
    pub target: Option<&'a str>,
    /// The scopes, separated by spaces; a set, so their order does not matter.
    pub scopes: Option<&'a str>,
    /// The `claims` parameter, byte for byte.
    pub claims: Option<&'a str>,
    /// RFC 8707's resource.
    pub resource: Option<&'a str>,
    /// RFC 9396's rich authorization, byte for byte.
    pub authorization_details: Option<&'a str>,
    /// The identity below the application.
    pub fmi_path: Option<&'a str>,
    /// The key that the token is bound to: a thumbprint, or what names it to the authority.
    pub binding: Option<&'a str>,
    /// The user that an agent is, by the parameter's name and its value.
    pub user: Option<(&'a str, &'a str)>,
}

impl CacheKey {
    /// As letters and digits.
    pub(crate) fn hex(&self) -> String {
        let (high, low) = self.0.split_at(16);
        let number = |half: &[u8]| half.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        format!("{:032x}{:032x}", number(high), number(low))
    }
}

impl KeyFields<'_> {
    /// The key.
    pub fn key(&self) -> CacheKey {
        self.key_after(&Asker::new(self.issuer, self.client, self.credential))
    }

    /// The key of a request by a client whose own fields are hashed already. The destructuring makes the compiler ask where
    /// a new field goes.
    pub(crate) fn key_after(&self, asker: &Asker) -> CacheKey {
        let Self {
            issuer: _,
            client: _,
            credential: _,
            tenant,
            grant,
            subject,
            actor,
            target,
            scopes,
            claims,
            resource,
            authorization_details,
            fmi_path,
            binding,
            user,
        } = *self;
        let mut hash = Hash(asker.0.clone());
        hash.field(grant.as_bytes());
        let (named_by, user) = user.unzip();
        for text in [tenant, target, claims, resource, authorization_details, fmi_path, binding, named_by, user] {
            hash.optional(text.map(str::as_bytes));
        }
        for token in [subject, actor] {
            hash.optional(token.map(|token| token.expose().as_bytes()));
        }
        match scopes {
            Some(scopes) => hash.set(scopes),
            None => hash.length(u64::MAX),
        }
        CacheKey(hash.0.finalize().into())
    }
}

/// The fields that a client has in all its requests, hashed once.
#[derive(Clone)]
pub(crate) struct Asker(Sha256, u64);

impl Asker {
    pub(crate) fn new(issuer: &str, client: &str, credential: &str) -> Self {
        let mut hash = Hash(Sha256::new());
        for text in [issuer, client, credential] {
            hash.field(text.as_bytes());
        }
        let digest: [u8; 32] = hash.0.clone().finalize().into();
        let id = digest.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte));
        Self(hash.0, id)
    }

    /// Tells clients that share a cache apart.
    pub(crate) const fn id(&self) -> u64 {
        self.1
    }
}

/// The digest that stands for a token beside its answers: raw tokens are never kept.
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

    /// Words without their order; a single one, as is usual, costs no memory.
    fn set(&mut self, text: &str) {
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let (first, second) = (words.next(), words.next());
        if let (Some(only), None) = (first, second) {
            self.length(1);
            return self.field(only.as_bytes());
        }
        let mut all: Vec<&str> = first.into_iter().chain(second).chain(words).collect();
        all.sort_unstable();
        all.dedup();
        self.length(all.len() as u64);
        for word in all {
            self.field(word.as_bytes());
        }
    }
}
