CREATE TABLE users_in_traces (tenant BLOB NOT NULL, client BLOB NOT NULL, trace BLOB NOT NULL, how INTEGER NOT NULL, resource BLOB NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY (tenant, client, trace, how, resource)) WITHOUT ROWID;
CREATE INDEX users_in_traces_by_expiry ON users_in_traces (expires);
