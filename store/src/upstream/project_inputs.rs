//! How the baselines of project inputs were judged.

use std::collections::BTreeSet;

use domain::words::ids::{BuilderId, CaseId, PinId, Timestamp};

use crate::db::transaction::{Read, Write};
use crate::error::{Result, json};

impl Read<'_> {
    /// The cases that a baseline was judged to have made worse, which may be none; and when it was judged.
    pub async fn judgement(
        &mut self,
        builder: BuilderId,
        pin: PinId,
    ) -> Result<Option<(BTreeSet<CaseId>, Timestamp)>> {
        let judged_at = sqlx::query_scalar!(
            "select judged_at_ms from baseline where pin_id = ? and builder_id = ?",
            pin.0,
            builder.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        let Some(judged_at) = judged_at else { return Ok(None) };
        let cases = sqlx::query_scalar!(
            "select case_id from baseline_case where pin_id = ? and builder_id = ?",
            pin.0,
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(Some((cases.into_iter().map(CaseId).collect(), Timestamp(judged_at))))
    }

    /// Builders whose baseline to the project inputs in use is not judged yet.
    pub async fn baselines_to_judge(&mut self) -> Result<Vec<(BuilderId, PinId)>> {
        let rows = sqlx::query!(
            r#"select distinct b.builder_id as "builder_id!", b.pin_id as "pin_id!" from pin p
                 cross join build b on b.pin_id = p.id join builder br on br.id = b.builder_id
             where p.state = 'current' and br.state = 'active' and b.reason = 'baseline'
                 and b.is_verdict
                 and not exists (select 1 from baseline s where s.pin_id = p.id and s.builder_id = b.builder_id)"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(rows.into_iter().map(|row| (BuilderId(row.builder_id), PinId(row.pin_id))).collect())
    }

    /// Cases of a builder that were reported as worse to the project's contacts: because of these project inputs,
    /// or of earlier ones that were never taken into use.
    pub async fn cases_announced(&mut self, builder: BuilderId, pin: PinId) -> Result<BTreeSet<CaseId>> {
        let cases = sqlx::query_scalar!(
            "select distinct c.case_id from baseline_case c join pin p on p.id = c.pin_id
             where c.builder_id = ? and (p.id = ? or p.state = 'dropped') and p.id > coalesce((select max(u.id) from pin u
                 where u.project_id = p.project_id and u.branch_id = p.branch_id and u.state = 'current' and u.id < ?), 0)",
            builder.0,
            pin.0,
            pin.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(cases.into_iter().map(CaseId).collect())
    }
}

impl Write<'_> {
    /// Records which cases a baseline made worse, which may be none.
    pub async fn judge_baseline(
        &mut self,
        builder: BuilderId,
        pin: PinId,
        worse: &BTreeSet<CaseId>,
        now: Timestamp,
    ) -> Result<()> {
        let state = if worse.is_empty() { "no-worse" } else { "worse" };
        sqlx::query!("delete from baseline_case where pin_id = ? and builder_id = ?", pin.0, builder.0)
            .execute(&mut *self.connection)
            .await?;
        sqlx::query!(
            "insert into baseline (pin_id, builder_id, state, judged_at_ms) values (?, ?, ?, ?)
             on conflict (pin_id, builder_id) do update set state = excluded.state, judged_at_ms = excluded.judged_at_ms",
            pin.0,
            builder.0,
            state,
            now.0
        )
        .execute(&mut *self.connection)
        .await?;
        let cases = json(worse)?;
        sqlx::query!(
            "insert into baseline_case (pin_id, builder_id, case_id) select ?, ?, value from json_each(?)",
            pin.0,
            builder.0,
            cases
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
