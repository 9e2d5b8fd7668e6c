//! Builds that are asked for some cases only, and projects whose suites cannot be asked so.

use std::collections::BTreeSet;

use domain::search::RunScope;
use domain::search::selection::Disagreement;
use domain::words::ids::{BreakageId, BuildId, CaseId, ProjectId, Timestamp};
use protocol::Sha256;

use crate::db::transaction::{Read, Write};
use crate::error::{Result, json, word};

impl Read<'_> {
    /// The names of the only cases that a build is asked for; none if it is asked for all.
    pub async fn selected_cases(&mut self, build: BuildId) -> Result<Option<BTreeSet<String>>> {
        let rows = sqlx::query_scalar!(
            r#"select n.name as "name!: String" from selected_run s cross join json_each(s.cases) one
                 cross join named_case n on n.id = one.value
             where s.build_id = ?"#,
            build.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok((!rows.is_empty()).then(|| rows.into_iter().collect()))
    }

    /// How many cases the newest whole run of a build's builder reported with a result.
    pub async fn whole_cases(&mut self, build: BuildId) -> Result<u64> {
        let cases = sqlx::query_scalar!(
            r#"select coalesce((select h.passes + h.bads from build b
                 join builder_history h on h.builder_id = b.builder_id
             where b.id = ? and h.same_as_id is null and h.passes is not null order by h.id desc limit 1), 0)
                 as "cases!: i64""#,
            build.0
        );
        crate::db::number::from_row(cases.fetch_one(&mut *self.connection).await?)
    }

    /// Why a project's suite is not asked for single cases, with this recipe.
    pub async fn withdrawn_selection(
        &mut self,
        project: ProjectId,
        recipe: Sha256,
    ) -> Result<Option<Disagreement>> {
        let recipe = recipe.0.as_slice();
        let why = sqlx::query_scalar!(
            "select why from selection_withdrawn where project_id = ? and recipe_sha256 = ?",
            project.0,
            recipe
        );
        let why = why.fetch_optional(&mut *self.connection).await?;
        why.map(|why| word(&why, Disagreement::parse)).transpose()
    }

    /// The last withdrawal of a project's selection: when, why, and the breakage whose search found it.
    pub async fn last_withdrawal(
        &mut self,
        project: ProjectId,
    ) -> Result<Option<(Timestamp, Disagreement, BreakageId)>> {
        let row = sqlx::query!(
            "select at_ms, why, breakage_id from selection_withdrawn where project_id = ? order by at_ms desc limit 1",
            project.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some((Timestamp(row.at_ms), word(&row.why, Disagreement::parse)?, BreakageId(row.breakage_id))))
    }
}

impl Write<'_> {
    /// Records that a build is asked for these cases only.
    pub async fn put_selected_run(&mut self, build: BuildId, cases: &BTreeSet<CaseId>) -> Result<()> {
        let cases: Vec<i64> = cases.iter().map(|case| case.0).collect();
        let cases = json(&cases)?;
        sqlx::query!("insert into selected_run (build_id, cases) values (?, ?)", build.0, cases)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    /// Records that a build which was asked for some cases ran most of the suite.
    pub async fn mark_selection_ignored(&mut self, build: BuildId) -> Result<()> {
        sqlx::query!("update selected_run set ignored = 1 where build_id = ?", build.0)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    /// Records that a project's suite cannot be asked for single cases with this recipe. The first reason stands.
    pub async fn withdraw_selection(
        &mut self,
        (project, recipe): (ProjectId, Sha256),
        breakage: BreakageId,
        why: Disagreement,
        now: Timestamp,
    ) -> Result<()> {
        let (recipe, why) = (recipe.0.as_slice(), why.as_str());
        sqlx::query!(
            "insert or ignore into selection_withdrawn (project_id, recipe_sha256, breakage_id, at_ms, why)
             values (?, ?, ?, ?, ?)",
            project.0,
            recipe,
            breakage.0,
            now.0,
            why
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}

/// How much of the suite a run was asked for, by the column `ignored` of its row, if it has one.
pub(crate) fn scope(ignored: Option<i64>) -> RunScope {
    match ignored {
        None => RunScope::Whole,
        Some(0) => RunScope::Selected,
        Some(_) => RunScope::Ignored,
    }
}
