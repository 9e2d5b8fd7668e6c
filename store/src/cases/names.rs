//! The names of cases. Each is stored once, and the part that it shares with its neighbours once for all of them.

use std::collections::BTreeSet;

use domain::words::ids::CaseId;

use crate::cases::messages::hash;
use crate::db::transaction::{Read, Write};
use crate::error::{Result, json};

impl Read<'_> {
    pub(crate) async fn case_named(&mut self, name: &str) -> Result<Option<CaseId>> {
        let hash = hash(name);
        let id = sqlx::query_scalar!(
            r#"select id as "id!" from named_case where hash = ? and name = ?"#,
            hash,
            name
        );
        Ok(id.fetch_optional(&mut *self.connection).await?.map(CaseId))
    }

    /// In order of the names.
    pub async fn case_names(&mut self, cases: &BTreeSet<CaseId>) -> Result<Vec<String>> {
        let ids = json(cases)?;
        let names = sqlx::query_scalar!(
            r#"select name as "name!" from named_case where id in (select value from json_each(?)) order by name"#,
            ids
        );
        Ok(names.fetch_all(&mut *self.connection).await?)
    }
}

impl Write<'_> {
    /// The ids of these names, which must be unique, in their order.
    pub(crate) async fn intern_cases(&mut self, names: &[&str]) -> Result<Vec<CaseId>> {
        let split: Vec<(&str, &str)> = names.iter().map(|name| split_scope(name)).collect();
        let scopes = json(&split.iter().map(|(scope, _)| scope).collect::<BTreeSet<_>>())?;
        sqlx::query!(
            "insert into case_scope (text) select value from json_each(?) where true on conflict (text) do nothing",
            scopes
        )
        .execute(&mut *self.connection)
        .await?;
        let input = names.iter().zip(split).map(|(name, (scope, leaf))| (name, hash(name), scope, leaf));
        let input = json(&input.collect::<Vec<_>>())?;
        sqlx::query!(
            "insert into case_name (hash, scope_id, leaf)
             select input.value ->> 1, s.id, input.value ->> 3
             from json_each(?) input cross join case_scope s on s.text = input.value ->> 2
             where not exists (select 1 from named_case n
                 where n.hash = input.value ->> 1 and n.name = input.value ->> 0)",
            input
        )
        .execute(&mut *self.connection)
        .await?;
        let ids = sqlx::query_scalar!(
            r#"select n.id as "id!" from json_each(?) input cross join named_case n
                 on n.hash = input.value ->> 1 and n.name = input.value ->> 0 order by input.key"#,
            input
        );
        Ok(ids.fetch_all(&mut *self.connection).await?.into_iter().map(CaseId).collect())
    }
}

/// Splits a name into the file, module or class that it shares with others, and the rest. What follows a bracket
/// or a blank distinguishes cases of one test, whatever characters it has.
fn split_scope(name: &str) -> (&str, &str) {
    let end = name.find(['[', '(', '{', '<', ' ']).unwrap_or(name.len());
    name.split_at(name[..end].rfind([':', '.', '/']).map_or(0, |last| last + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_split_after_what_its_neighbours_share() {
        let cases = [
            ("tests/test_a.py::TestB::test_c", "tests/test_a.py::TestB::"),
            ("tests/test_a.py::test_c[1.5-x/y]", "tests/test_a.py::"),
            ("pkg.mod.Class.test_it", "pkg.mod.Class."),
            ("example.org/pkg.TestX/sub", "example.org/pkg.TestX/"),
            ("Vector.test (./a.b)", "Vector."),
            ("adds 1.5 and 2", ""),
            ("alone", ""),
            ("ends.", "ends."),
            ("", ""),
            ("é.ü", "é."),
        ];
        for (name, scope) in cases {
            let (head, leaf) = split_scope(name);
            assert_eq!((head, format!("{head}{leaf}").as_str()), (scope, name));
        }
    }
}
