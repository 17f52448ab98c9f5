//! Signing keys and small settings, opaque to the store.
use crate::Store;
use crate::changes;
use crate::object::Columns;
use decision::Timestamp;
use deputize_core::cut_off::CutOff;
use deputize_core::ledger::{CommitError, Unavailable};
use oauth::Secret;
use sql::Abort;
use sql::rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

/// A signing key as stored: sealed by the caller, so that the file alone signs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// `kid`.
    pub kid: String,
    /// `alg`.
    pub algorithm: String,
    /// The private key, sealed under the master key.
    pub sealed: Secret,
    /// Its certificate in DER, for `x5c` and `x5t`.
    pub certificate: Vec<u8>,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it may sign.
    pub not_after: Timestamp,
    /// What it is used for now.
    pub state: KeyState,
}

/// What a signing key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Published, so that everybody knows it before it signs.
    Next,
    /// Signs.
    Active,
    /// Published, signs nothing any more.
    Retired,
    /// Withdrawn: what it signed is void.
    Revoked,
}

impl KeyState {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Next, "next"), (Self::Active, "active"), (Self::Retired, "retired"), (Self::Revoked, "revoked")];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("revoked", |(_, word)| word)
    }

    fn parse(word: &str) -> Self {
        // An unknown state signs and verifies nothing.
        Self::ALL.iter().find(|(_, known)| *known == word).map_or(Self::Revoked, |(state, _)| *state)
    }
}

impl Store {
    /// All signing keys, oldest first.
    pub fn signing_keys(&self) -> Result<Vec<SigningKey>, Unavailable> {
        let sql = "SELECT kid, algorithm, sealed, certificate, created, not_after, state FROM signing_keys ORDER BY created, kid";
        self.read(|connection| connection.prepare_cached(sql)?.query_map([], key)?.collect())
    }

    /// Stores a signing key, or another state of one.
    pub async fn put_signing_key(&self, key: SigningKey) -> Result<(), CommitError> {
        let sql = "INSERT INTO signing_keys (kid, algorithm, sealed, certificate, created, not_after, state) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (kid) DO UPDATE SET algorithm = excluded.algorithm, \
                   sealed = excluded.sealed, certificate = excluded.certificate, created = excluded.created, \
                   not_after = excluded.not_after, state = excluded.state";
        self.write_signing_key(sql, key).await
    }

    /// Stores the first signing key of its algorithm. A conflict says that there is an active one: of several authorities
    /// that are first started at once on one store, one publishes its key, and the others take it.
    pub async fn put_first_signing_key(&self, key: SigningKey) -> Result<(), CommitError> {
        let sql = "INSERT INTO signing_keys (kid, algorithm, sealed, certificate, created, not_after, state) \
                   SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 \
                   WHERE NOT EXISTS (SELECT 1 FROM signing_keys WHERE algorithm = ?2 AND state = 'active')";
        self.write_signing_key(sql, key).await
    }

    async fn write_signing_key(&self, sql: &'static str, key: SigningKey) -> Result<(), CommitError> {
        self.write(move |connection, batch| {
            let SigningKey { kid, algorithm, sealed, certificate, created, not_after, state } = &key;
            let row = params![kid, algorithm, sealed.expose(), certificate, created.0, not_after.0, state.word()];
            if connection.prepare_cached(sql)?.execute(row)? == 0 {
                return Err(Abort::Conflict);
            }
            let id = kid.as_bytes().to_vec();
            let withdrawn = (key.state == KeyState::Revoked).then(|| CutOff::Key { kid: kid.clone() });
            let of = Columns { kind: "key", tenant: Uuid::nil(), id, owner: None };
            changes::note(connection, &of, withdrawn.as_slice(), batch.now)?;
            batch.changed = true;
            Ok(())
        })
        .await
    }

    /// A small setting by its name.
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        let sql = "SELECT value FROM meta WHERE key = ?1";
        self.read(|connection| connection.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional())
    }

    /// Stores a small setting.
    pub async fn put_meta(&self, key: &str, value: Vec<u8>) -> Result<(), CommitError> {
        let sql =
            "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        let key = key.to_owned();
        self.write(move |connection, _| {
            connection.prepare_cached(sql)?.execute(params![key, value])?;
            Ok(())
        })
        .await
    }
}

fn key(row: &Row<'_>) -> sql::rusqlite::Result<SigningKey> {
    Ok(SigningKey {
        kid: row.get(0)?,
        algorithm: row.get(1)?,
        sealed: Secret::new(row.get::<_, String>(2)?),
        certificate: row.get(3)?,
        created: Timestamp(row.get(4)?),
        not_after: Timestamp(row.get(5)?),
        state: KeyState::parse(row.get_ref(6)?.as_str()?),
    })
}
