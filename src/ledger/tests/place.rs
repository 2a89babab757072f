//! Where the tests' ledgers lie: each rule is tested on every database.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::postgres::Postgres;

/// One test's part of a database.
pub(super) struct Place {
    directory: tempfile::TempDir,
    server: Option<&'static Postgres>,
}

impl Place {
    pub(super) fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        Self { directory, server: None }
    }

    pub(super) fn postgres() -> Self {
        static SERVER: OnceLock<Postgres> = OnceLock::new();
        Self { server: Some(SERVER.get_or_init(Postgres::start)), ..Self::sqlite() }
    }

    /// A new ledger's URL; it may be gone once closed.
    pub(super) async fn url(&self) -> String {
        if self.server.is_none() { "sqlite::memory:".into() } else { self.lasting_url().await }
    }

    /// A new ledger's URL; it can be opened again.
    pub(super) async fn lasting_url(&self) -> String {
        static LEDGERS: AtomicU32 = AtomicU32::new(0);
        let schema = format!("ledger_{}", LEDGERS.fetch_add(1, Ordering::Relaxed));
        let Some(server) = self.server else {
            return format!("sqlite:{}/{schema}.db", self.directory.path().display());
        };
        let url = server.url(&schema);
        let mut connection = PgConnection::connect(&url).await.expect("the server is there");
        let create = AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
        sqlx::raw_sql(create).execute(&mut connection).await.expect("its name is new");
        url
    }
}

/// Makes tests of these functions, one for each database.
macro_rules! on_each_database {
    ($($test:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Place::sqlite()).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Place::postgres()).await;
            })*
        }
    };
}
pub(super) use on_each_database;
