//! A builder's history as the rules of breakages read it.

use std::collections::{BTreeMap, BTreeSet};

use domain::breakage::{Cover, History, SUITE_PROOF, TOOLCHAIN_PROOF};
use domain::ids::{BuilderId, CaseId, ChangeId, Timestamp};
use domain::words::BuilderKind;
use protocol::Verdict;

use crate::error::{Result, json, word};
use crate::open::{Read, Write};
use crate::verdicts::parse_verdict;

impl Read<'_> {
    /// All that is known of a builder; `flaky_since` says how long a case that was proven flaky opens no breakage.
    pub async fn breakage_history(&mut self, builder: BuilderId, flaky_since: Timestamp) -> Result<History> {
        let row = self.builder(builder).await?;
        let mut beside = self.runs_beside(builder).await?;
        let mut strips = self.strips(builder).await?;
        for strip in &mut strips {
            strip.beside = beside.remove(&strip.case).unwrap_or_default();
        }
        Ok(History {
            order: self.order(row.branch).await?,
            covers: self.cover_facts(builder).await?,
            strips,
            flaky: self.flaky_cases(builder, flaky_since).await?,
            unstable: self.unstable_cases(builder).await?,
            proof: match row.kind {
                BuilderKind::Toolchain => TOOLCHAIN_PROOF,
                BuilderKind::Suite => SUITE_PROOF,
            },
        })
    }

    async fn cover_facts(&mut self, builder: BuilderId) -> Result<Vec<Cover>> {
        let covers = self.covers(builder).await?;
        let ids = json(&covers.iter().map(|(_, build)| build).collect::<Vec<_>>())?;
        let rows = sqlx::query!(
            r#"select b.same_as_id is null as "own!: bool", b.outcome = 'passed' as "green!: bool",
                 coalesce(ran.passes + ran.bads, 0) as "ran!: i64"
             from json_each(?) asked join build b on b.id = asked.value
                 join build ran on ran.id = coalesce(b.same_as_id, b.id)
             order by asked.key"#,
            ids
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut facts = Vec::with_capacity(rows.len());
        for ((change, _), row) in covers.into_iter().zip(rows) {
            let ran = u32::try_from(row.ran).unwrap_or(u32::MAX);
            facts.push(Cover { change, own: row.own, ran, green: row.green });
        }
        Ok(facts)
    }

    /// What null runs and probes said of the cases of breakages that are not over.
    async fn runs_beside(
        &mut self,
        builder: BuilderId,
    ) -> Result<BTreeMap<CaseId, Vec<(ChangeId, Verdict)>>> {
        let rows = sqlx::query!(
            "select distinct e.build_id, e.case_id, e.change_id, e.verdict
             from breakage k join breakage_case kc on kc.breakage_id = k.id
                 join evidence e on e.case_id = kc.case_id join build b on b.id = e.build_id
             where k.builder_id = ? and k.ended_at_ms is null and b.builder_id = k.builder_id
                 and b.reason in ('probe', 'null', 'force')
                 -- What an earlier project side did at a seam says nothing of the one in use there now.
                 and b.pin_id is (select c.pin_id from build c
                     where c.builder_id = b.builder_id and c.change_id = b.change_id
                         and c.outcome in ('passed', 'failed') and c.reason in ('tip', 'backfill', 'seam')
                     order by c.id desc limit 1)
             order by e.build_id",
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut runs: BTreeMap<CaseId, Vec<(ChangeId, Verdict)>> = BTreeMap::new();
        for row in rows {
            let said = (ChangeId(row.change_id), word(&row.verdict, parse_verdict)?);
            runs.entry(CaseId(row.case_id)).or_default().push(said);
        }
        Ok(runs)
    }

    /// Cases that come and go on identical inputs.
    pub async fn unstable_cases(&mut self, builder: BuilderId) -> Result<BTreeSet<CaseId>> {
        let ids = sqlx::query_scalar!("select case_id from unstable_case where builder_id = ?", builder.0)
            .fetch_all(&mut *self.connection)
            .await?;
        Ok(ids.into_iter().map(CaseId).collect())
    }

    /// Cases of a builder's breakages that are not over: what null runs say of these is evidence, too.
    pub async fn cases_of_open_breakages(&mut self, builder: BuilderId) -> Result<BTreeSet<CaseId>> {
        let ids = sqlx::query_scalar!(
            "select distinct bc.case_id from breakage_case bc join breakage b on b.id = bc.breakage_id
             where b.builder_id = ? and b.ended_at_ms is null",
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(CaseId).collect())
    }
}

impl Write<'_> {
    pub async fn put_unstable_cases(
        &mut self,
        builder: BuilderId,
        cases: &BTreeSet<CaseId>,
        now: Timestamp,
    ) -> Result<()> {
        let ids = json(cases)?;
        sqlx::query!(
            "insert into unstable_case (builder_id, case_id, since_ms) select ?, value, ? from json_each(?)
             where true on conflict (builder_id, case_id) do nothing",
            builder.0,
            now.0,
            ids
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
