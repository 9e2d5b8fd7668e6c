//! What a search believes about a breakage, and for which breakages a change is a suspect.

use std::collections::BTreeMap;

use domain::search::selection::Disagreement;
use domain::search::{ExcludedWorker, PauseReason};

use super::BuilderRow;
use crate::db::transaction::Read;
use crate::error::{Result, word};

/// What a search believes, and what it has cost.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRow {
    /// The probability that the cases are bad at the good end, too.
    pub environment: f64,
    /// The probability that they were always flaky.
    pub flaky: f64,
    /// The probability that they fail now and then since some change.
    pub intermittent: f64,
    /// How many probes its budget still allows.
    pub probes_left: i64,
    /// Probes with a verdict.
    pub probes: i64,
    /// The names of the workers that ran them.
    pub workers: Vec<String>,
    /// Workers whose runs do not count, and why.
    pub left_out: Vec<(String, ExcludedWorker)>,
    /// Why it is paused, if it is.
    pub paused: Option<PauseReason>,
    /// How often an answer was withdrawn.
    pub reopened: i64,
    /// How many changes its range had when it was widest.
    pub changes: i64,
    /// How many of its probes were asked for the cases in question only.
    pub selected: i64,
    /// Why its project's suite is not asked so any more, if this search found that out.
    pub withdrawn: Option<Disagreement>,
}

/// A breakage for which a change is a suspect, while it is searched.
#[derive(Debug, Clone, PartialEq)]
pub struct SuspectRow {
    /// The breakage.
    pub breakage: i64,
    /// Its builder.
    pub builder: BuilderRow,
    /// Whether the search goes on; otherwise it ended without a culprit.
    pub is_searched: bool,
    /// How many cases it has.
    pub cases: i64,
    /// The probability that the change is the culprit.
    pub posterior: f64,
}

/// A page shows no suspect that is less likely than this.
const SUSPICIOUS: f64 = 0.01;

impl Read<'_> {
    /// The search of a breakage; none before its first step.
    pub async fn search_row(&mut self, breakage: i64) -> Result<Option<SearchRow>> {
        let row = sqlx::query!(
            r#"select s.environment, s.flaky, s.intermittent, s.probes_left, s.left_out, s.paused, s.reopened,
                 s.changes,
                 (select count(*) from probe p join selected_run sel on sel.build_id = p.build_id
                     where p.breakage_id = s.breakage_id) as "selected!: i64",
                 (select max(why) from selection_withdrawn sw where sw.breakage_id = s.breakage_id) as "withdrawn: String",
                 (select count(*) from probe p join build b on b.id = p.build_id
                     where p.breakage_id = s.breakage_id and b.is_verdict) as "probes!: i64"
             from search s where s.breakage_id = ?"#,
            breakage
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let workers = sqlx::query_scalar!(
            "select distinct w.name from probe p join build b on b.id = p.build_id
                 join attempt a on a.id = b.attempt_id join worker w on w.id = a.worker_id
             where p.breakage_id = ? and b.is_verdict order by w.name",
            breakage
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let rows = sqlx::query!(
            r#"select w.name, input.value ->> 1 as "why!: String"
             from json_each(?) input join worker w on w.id = input.value ->> 0 order by w.name"#,
            row.left_out
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut left_out = Vec::with_capacity(rows.len());
        for row in rows {
            left_out.push((row.name, word(&row.why, ExcludedWorker::parse)?));
        }
        Ok(Some(SearchRow {
            environment: row.environment,
            flaky: row.flaky,
            intermittent: row.intermittent,
            probes_left: row.probes_left,
            probes: row.probes,
            workers,
            left_out,
            paused: row.paused.as_deref().map(|reason| word(reason, PauseReason::parse)).transpose()?,
            reopened: row.reopened,
            changes: row.changes,
            selected: row.selected,
            withdrawn: row.withdrawn.as_deref().map(|why| word(why, Disagreement::parse)).transpose()?,
        }))
    }

    /// The probability that each change is the culprit of a breakage, by change; the other changes are no
    /// suspects.
    pub async fn suspects(&mut self, breakage: i64) -> Result<BTreeMap<i64, f64>> {
        let rows = sqlx::query!("select change_id, posterior from suspect where breakage_id = ?", breakage)
            .fetch_all(&mut *self.connection)
            .await?;
        Ok(rows.into_iter().map(|row| (row.change_id, row.posterior)).collect())
    }

    /// The breakages without an answer for which a change is a suspect, the most likely first, over all projects
    /// and platforms.
    pub async fn suspect_rows(&mut self, change: i64, limit: i64) -> Result<Vec<SuspectRow>> {
        let rows = sqlx::query!(
            r#"select k.id as "id!", s.posterior as "posterior!", br.id as "builder_id!", p.name as "project?",
                 t.name as "trunk!", b.name as "branch!", pl.label as "platform!", br.variant_name as "variant?",
                 k.found is null as "is_searched!: bool",
                 (select count(*) from breakage_case x where x.breakage_id = k.id) as "cases!: i64"
             from suspect s join breakage k on k.id = s.breakage_id join builder br on br.id = k.builder_id
                 join branch b on b.id = br.branch_id join trunk t on t.id = b.trunk_id
                 join platform pl on pl.id = br.platform_id left join project p on p.id = br.project_id
             where s.change_id = ? and s.posterior >= ? and k.ended_at_ms is null
                 and (k.found is null or k.found = 'inconclusive')
             order by s.posterior desc, k.id limit ?"#,
            change,
            SUSPICIOUS,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let suspects = rows.into_iter().map(|row| SuspectRow {
            breakage: row.id,
            posterior: row.posterior,
            is_searched: row.is_searched,
            cases: row.cases,
            builder: BuilderRow {
                id: row.builder_id,
                project: row.project,
                trunk: row.trunk,
                branch: row.branch,
                platform: row.platform,
                variant: row.variant,
            },
        });
        Ok(suspects.collect())
    }
}
