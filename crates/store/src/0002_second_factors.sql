CREATE TABLE second_factors (
    tenant BLOB NOT NULL, user_id BLOB NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, user_id)
);
