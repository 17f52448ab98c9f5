CREATE TABLE devices (digest BLOB PRIMARY KEY, user_code BLOB NOT NULL UNIQUE, expires INTEGER NOT NULL, stage INTEGER NOT NULL, body TEXT NOT NULL);
CREATE INDEX devices_by_expiry ON devices (expires);
