CREATE TABLE work_orders (
    digest BLOB PRIMARY KEY, id BLOB NOT NULL UNIQUE, tenant BLOB NOT NULL, user_id BLOB NOT NULL, session BLOB NOT NULL,
    expires INTEGER NOT NULL, redemptions INTEGER NOT NULL, redeemed INTEGER NOT NULL,
    parked TEXT, parked_at INTEGER, body TEXT NOT NULL
);
CREATE INDEX work_orders_by_expiry ON work_orders (expires);
CREATE INDEX work_orders_by_user ON work_orders (tenant, user_id, expires);
CREATE TABLE work_order_counts (tenant BLOB PRIMARY KEY, outstanding INTEGER NOT NULL);
