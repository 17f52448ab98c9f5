CREATE TABLE subscriptions (tenant BLOB NOT NULL, application BLOB NOT NULL, heard INTEGER NOT NULL, PRIMARY KEY (tenant, application));
CREATE INDEX subscriptions_by_age ON subscriptions (heard);
