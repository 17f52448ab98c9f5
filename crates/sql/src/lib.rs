//! The database engine: a SQLite writer with group commit, readers in parallel, migrations.
