//! The names of cases. Each is kept once, and what it shares with its neighbours once for all of them.

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
    /// The numbers of these names, which are unique, in their order.
    pub(crate) async fn intern_cases(&mut self, names: &[&str]) -> Result<Vec<CaseId>> {
        let halves: Vec<(&str, &str)> = names.iter().map(|name| halves(name)).collect();
        let scopes = json(&halves.iter().map(|(scope, _)| scope).collect::<BTreeSet<_>>())?;
        sqlx::query!(
            "insert into case_scope (text) select value from json_each(?) where true on conflict (text) do nothing",
            scopes
        )
        .execute(&mut *self.connection)
        .await?;
        let told = names.iter().zip(halves).map(|(name, (scope, leaf))| (name, hash(name), scope, leaf));
        let told = json(&told.collect::<Vec<_>>())?;
        sqlx::query!(
            "insert into case_name (hash, scope_id, leaf)
             select told.value ->> 1, s.id, told.value ->> 3
             from json_each(?) told cross join case_scope s on s.text = told.value ->> 2
             where not exists (select 1 from named_case n
                 where n.hash = told.value ->> 1 and n.name = told.value ->> 0)",
            told
        )
        .execute(&mut *self.connection)
        .await?;
        let ids = sqlx::query_scalar!(
            r#"select n.id as "id!" from json_each(?) told cross join named_case n
                 on n.hash = told.value ->> 1 and n.name = told.value ->> 0 order by told.key"#,
            told
        );
        Ok(ids.fetch_all(&mut *self.connection).await?.into_iter().map(CaseId).collect())
    }
}

/// A name as the file, module or class that it shares with others, and the rest. What follows a bracket or a blank tells
/// cases of one test apart, whatever stands in it.
fn halves(name: &str) -> (&str, &str) {
    let end = name.find(['[', '(', '{', '<', ' ']).unwrap_or(name.len());
    name.split_at(name[..end].rfind([':', '.', '/']).map_or(0, |last| last + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_behind_what_its_neighbours_share() {
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
            let (head, leaf) = halves(name);
            assert_eq!((head, format!("{head}{leaf}").as_str()), (scope, name));
        }
    }
}
