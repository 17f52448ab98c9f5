CREATE TABLE quotas (
    counter BLOB NOT NULL,
    number INTEGER NOT NULL,
    ends INTEGER,
    configured INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (counter, number)
);
CREATE INDEX quotas_by_end ON quotas (ends);
