CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE time_floor (id INTEGER PRIMARY KEY, at INTEGER NOT NULL);

CREATE TABLE objects (
    kind TEXT NOT NULL, tenant BLOB NOT NULL, id BLOB NOT NULL,
    owner BLOB, name TEXT, body TEXT NOT NULL,
    PRIMARY KEY (kind, tenant, id), UNIQUE (kind, tenant, name)
);
CREATE INDEX objects_by_owner ON objects (kind, tenant, owner);
CREATE TABLE members (tenant BLOB NOT NULL, user_id BLOB NOT NULL, group_id BLOB NOT NULL, PRIMARY KEY (tenant, user_id, group_id));
CREATE INDEX members_by_group ON members (tenant, group_id);
CREATE TABLE change_log (
    sequence INTEGER PRIMARY KEY, kind TEXT NOT NULL, tenant BLOB NOT NULL, id BLOB NOT NULL, owner BLOB, at INTEGER NOT NULL
);

CREATE TABLE codes (digest BLOB PRIMARY KEY, expires INTEGER NOT NULL, consumed INTEGER NOT NULL, body TEXT NOT NULL);
CREATE INDEX codes_by_expiry ON codes (expires);
CREATE TABLE refresh_tokens (digest BLOB PRIMARY KEY, family BLOB NOT NULL, expires INTEGER NOT NULL, rotated INTEGER, body TEXT NOT NULL);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires);
CREATE TABLE revoked_families (family BLOB PRIMARY KEY, expires INTEGER NOT NULL);
CREATE INDEX revoked_families_by_expiry ON revoked_families (expires);
CREATE TABLE sessions (id BLOB PRIMARY KEY, cookie BLOB NOT NULL UNIQUE, expires INTEGER NOT NULL, revoked INTEGER NOT NULL, body TEXT NOT NULL);
CREATE INDEX sessions_by_expiry ON sessions (expires);
CREATE TABLE once_values (purpose TEXT NOT NULL, value BLOB NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY (purpose, value));
CREATE INDEX once_values_by_expiry ON once_values (expires);

CREATE TABLE audit (chain INTEGER NOT NULL, sequence INTEGER NOT NULL, hash BLOB NOT NULL, body TEXT NOT NULL, PRIMARY KEY (chain, sequence));
CREATE TABLE audit_heads (chain INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, hash BLOB NOT NULL, at INTEGER NOT NULL, mac BLOB NOT NULL);
CREATE TABLE audit_checkpoints (
    chain INTEGER NOT NULL, sequence INTEGER NOT NULL, hash BLOB NOT NULL, at INTEGER NOT NULL, mac BLOB NOT NULL,
    PRIMARY KEY (chain, sequence)
);

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY, algorithm TEXT NOT NULL, sealed TEXT NOT NULL, certificate BLOB NOT NULL,
    created INTEGER NOT NULL, not_after INTEGER NOT NULL, state TEXT NOT NULL
);
