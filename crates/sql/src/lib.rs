//! The database engine: a SQLite writer with group commit, readers in parallel, migrations. No tables of its own.
//!
//! All writes go through one thread. Each runs inside its own savepoint of a shared transaction, so that many requests
//! pay for one fsync and a failed one undoes no neighbour; nobody is answered before the shared COMMIT. Reads run inline
//! on the caller's thread.
//!
//! ```
//! use deputize_sql::{Abort, Database, Migration, OpenError, Options, WriteError};
//! const MIGRATIONS: &[Migration] = &[Migration { name: "seats", sql: "CREATE TABLE seats (id INTEGER PRIMARY KEY, taken INTEGER)" }];
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join(format!("deputize-sql-example-{}", std::process::id()));
//! let database = Database::open(&folder.join("seats.db"), &Options::default(), MIGRATIONS, |_, _| Ok::<_, OpenError>(()))?;
//! let take = || {
//!     database.write(|connection, ()| match connection.execute("INSERT INTO seats VALUES (1, 1) ON CONFLICT DO NOTHING", [])? {
//!         1 => Ok(()),
//!         _ => Err(Abort::Conflict),
//!     })
//! };
//! assert_eq!(take().await, Ok(()));
//! assert_eq!(take().await, Err(WriteError::Conflict));
//! assert_eq!(database.read(|connection| connection.query_row("SELECT COUNT(*) FROM seats", [], |row| row.get::<_, i64>(0))), Ok(1));
//! # drop(database);
//! # std::fs::remove_dir_all(folder)?;
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

mod database;
mod migrate;
mod open;
mod writer;

pub use database::{Database, Unavailable};
pub use migrate::Migration;
pub use open::{OpenError, Options, at_once, examine};
/// The engine's own interface, for jobs and reads.
pub use rusqlite;
pub use writer::{Abort, Batch, WriteError};
