CREATE TABLE products (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    version INTEGER NOT NULL
);
CREATE TABLE subscriptions (
    name TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    body TEXT NOT NULL,
    version INTEGER NOT NULL
);
CREATE INDEX subscriptions_by_scope ON subscriptions (scope);
CREATE TABLE subscription_keys (
    digest BLOB PRIMARY KEY,
    subscription TEXT NOT NULL,
    slot INTEGER NOT NULL,
    UNIQUE (subscription, slot)
);
CREATE TABLE changes (
    sequence INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    action TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT,
    tenant TEXT,
    subject TEXT NOT NULL,
    client TEXT NOT NULL,
    decision_id TEXT NOT NULL
);
CREATE TABLE "usage" (
    width INTEGER NOT NULL,
    at INTEGER NOT NULL,
    subscription TEXT NOT NULL,
    product TEXT NOT NULL,
    calls INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (width, subscription, product, at)
);
CREATE INDEX usage_by_product ON "usage" (width, product, at);
CREATE INDEX usage_by_time ON "usage" (width, at);
CREATE TABLE digest_key (
    id INTEGER PRIMARY KEY,
    proof BLOB NOT NULL
);
