CREATE TABLE approval_requests (
    tenant BLOB NOT NULL, user_id BLOB NOT NULL, client BLOB NOT NULL, id BLOB NOT NULL, expires INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, user_id, client)
);
CREATE INDEX approval_requests_by_expiry ON approval_requests (expires);
