//! The names of cases, each kept once.

use std::collections::BTreeSet;

use domain::ids::CaseId;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use crate::error::{Result, json};
use crate::open::{Read, Write};
use crate::texts::hash;

impl Read<'_> {
    pub(crate) async fn case_named(&mut self, name: &str) -> Result<Option<CaseId>> {
        let hash = hash(name);
        let id = sqlx::query_scalar!(
            r#"select id as "id!" from case_name where hash = ? and name = ?"#,
            hash,
            name
        );
        Ok(id.fetch_optional(&mut *self.connection).await?.map(CaseId))
    }

    /// In order of the names.
    pub async fn case_names(&mut self, cases: &BTreeSet<CaseId>) -> Result<Vec<String>> {
        let ids = json(cases)?;
        let names = sqlx::query_scalar!(
            "select name from case_name where id in (select value from json_each(?)) order by name",
            ids
        );
        Ok(names.fetch_all(&mut *self.connection).await?)
    }
}

impl Write<'_> {
    /// The numbers of these names, which are unique, in their order.
    pub(crate) async fn intern_cases(&mut self, names: &[&str]) -> Result<Vec<CaseId>> {
        let names = json(&names.iter().map(|name| (name, hash(name))).collect::<Vec<_>>())?;
        sqlx::query!(
            "insert into case_name (name, hash) select told.value ->> 0, told.value ->> 1 from json_each(?) told
             where not exists (select 1 from case_name n
                 where n.hash = told.value ->> 1 and n.name = told.value ->> 0)",
            names
        )
        .execute(&mut *self.connection)
        .await?;
        let ids = sqlx::query_scalar!(
            r#"select n.id as "id!" from json_each(?) told cross join case_name n
                 on n.hash = told.value ->> 1 and n.name = told.value ->> 0 order by told.key"#,
            names
        );
        Ok(ids.fetch_all(&mut *self.connection).await?.into_iter().map(CaseId).collect())
    }
}

/// Gives the names of an older database their hash.
pub(crate) async fn fill(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let rows = sqlx::query!(r#"select id as "id!", name from case_name where hash is null"#)
        .fetch_all(&mut *connection)
        .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    for row in rows {
        let hash = hash(&row.name);
        sqlx::query!("update case_name set hash = ? where id = ?", hash, row.id)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}
