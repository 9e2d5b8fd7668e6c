//! Marks that people put on cases, and canaries: the projects that prove that the farm can tell good from bad.

use std::collections::{BTreeMap, BTreeSet};

use domain::breakage::mark::{Mark, MarkKind};
use domain::outcome::Outcome;
use domain::schedule::canary::Canary;
use domain::words::ids::{BuildId, BuilderId, CaseId, ProjectId, Timestamp, TrunkId};
use protocol::Verdict;

use crate::db::transaction::{Read, Write};
use crate::error::{Result, json, one_row, word};

/// A canary on one branch and platform, and the result of its last run of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryRow {
    /// Its builder.
    pub builder: BuilderId,
    /// What it must do.
    pub canary: Canary,
    /// Its project's name.
    pub project: String,
    /// Its trunk.
    pub trunk_id: TrunkId,
    /// Its trunk's name.
    pub trunk: String,
    /// Its branch's name.
    pub branch: String,
    /// Its platform's label.
    pub platform: String,
    /// What its variant is called; none where its trunk has the default build only.
    pub variant: Option<String>,
    /// The outcome of its last run, and when that finished.
    pub last: Option<(Outcome, Timestamp)>,
    /// Whether a change was named as what broke it.
    pub explained: bool,
}

macro_rules! mark {
    ($row:ident) => {
        Mark {
            kind: word(&$row.kind, MarkKind::parse)?,
            cases: $row.cases,
            branch: $row.branch,
            platform: $row.platform,
            variant: $row.variant,
            issue: $row.issue,
            until: Timestamp($row.until_ms),
        }
    };
}

impl Read<'_> {
    /// The marks on cases of a builder, including those that have expired.
    pub async fn marks_of(&mut self, builder: BuilderId) -> Result<Vec<Mark>> {
        let rows = sqlx::query!(
            r#"select m.kind, m.cases, m.branch, m.platform, m.variant, m.issue, m.until_ms, b.name as "on_branch!",
                 p.label as "on_platform!", br.variant_name as "on_variant?"
             from builder br join mark m on m.project_id = br.project_id join branch b on b.id = br.branch_id
                 join platform p on p.id = br.platform_id
             where br.id = ? order by m.id"#,
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut marks = Vec::new();
        for row in rows {
            let mark = mark!(row);
            if mark.is_of(&row.on_branch, &row.on_platform, row.on_variant.as_deref()) {
                marks.push(mark);
            }
        }
        Ok(marks)
    }

    /// The marks on the builders of these breakages, including those that have expired, by breakage.
    pub async fn marks_of_breakages(&mut self, breakages: &[i64]) -> Result<BTreeMap<i64, Vec<Mark>>> {
        let wanted = json(breakages)?;
        let rows = sqlx::query!(
            r#"select k.id as "breakage!", m.kind as "kind!", m.cases as "cases!", m.branch, m.platform, m.variant,
                 m.issue as "issue!", m.until_ms as "until_ms!", b.name as "on_branch!", p.label as "on_platform!",
                 br.variant_name as "on_variant?"
             from json_each(?) wanted cross join breakage k on k.id = wanted.value
                 cross join builder br on br.id = k.builder_id cross join mark m on m.project_id = br.project_id
                 cross join branch b on b.id = br.branch_id cross join platform p on p.id = br.platform_id
             order by k.id, m.id"#,
            wanted
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut marks: BTreeMap<i64, Vec<Mark>> = BTreeMap::new();
        for row in rows {
            let mark = mark!(row);
            if mark.is_of(&row.on_branch, &row.on_platform, row.on_variant.as_deref()) {
                marks.entry(row.breakage).or_default().push(mark);
            }
        }
        Ok(marks)
    }

    /// All marks of a project, in the order of its file.
    pub async fn marks_of_project(&mut self, project: ProjectId) -> Result<Vec<Mark>> {
        let rows = sqlx::query!(
            "select kind, cases, branch, platform, variant, issue, until_ms from mark where project_id = ? order by id",
            project.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        rows.into_iter().map(|row| Ok(mark!(row))).collect()
    }

    /// The verdicts, by name, in the newest build of a builder's history, of the cases that were ever bad or not
    /// run any longer; none before the first build.
    pub async fn bad_in_newest_build(
        &mut self,
        builder: BuilderId,
    ) -> Result<Option<(BuildId, BTreeMap<String, Verdict>)>> {
        let Some(newest) = self.history(builder).await?.last().map(|history_build| history_build.build)
        else {
            return Ok(None);
        };
        let case_verdicts = self.case_verdicts_in_history(builder, newest).await?;
        let ever_bad = self.cases_ever_bad(builder).await?;
        let names = self.names_of_cases(&ever_bad).await?;
        let verdicts = names.into_iter().filter_map(|(case, name)| Some((name, *case_verdicts.get(&case)?)));
        Ok(Some((newest, verdicts.collect())))
    }

    /// Each case's name.
    pub async fn names_of_cases(&mut self, cases: &BTreeSet<CaseId>) -> Result<BTreeMap<CaseId, String>> {
        let ids = json(cases)?;
        let rows =
            sqlx::query!(
                r#"select id as "id!", name as "name!" from named_case where id in (select value from json_each(?))"#,
                ids
            )
                .fetch_all(&mut *self.connection)
                .await?;
        Ok(rows.into_iter().map(|row| (CaseId(row.id), row.name)).collect())
    }

    /// All canaries. Runs that try another change, project inputs that are not in use or a new machine are left
    /// out, since they do not show whether the farm works.
    pub async fn canaries(&mut self) -> Result<Vec<CanaryRow>> {
        let rows = sqlx::query!(
            r#"select br.id as "builder!", p.canary as "canary!", p.name as "project!", t.id as "trunk_id!", t.name as "trunk!",
                 b.name as "branch!", pl.label as "platform!", br.variant_name as "variant?", last.outcome as "outcome?", last.finished_at_ms,
                 exists (select 1 from breakage k where k.builder_id = br.id and k.ended_at_ms is null
                     and k.found in ('named', 'one-of-k')) as "explained!: bool"
             from project p join builder br on br.project_id = p.id join branch b on b.id = br.branch_id
                 join trunk t on t.id = b.trunk_id join platform pl on pl.id = br.platform_id
                 left join build last on last.id = (select x.id from build x join attempt a on a.id = x.attempt_id
                         join worker w on w.id = a.worker_id join pin inputs on inputs.id = x.pin_id
                     where x.builder_id = br.id and x.is_verdict
                         and (x.makes_history or x.reason = 'null') and inputs.state in ('current', 'past')
                         and w.trust is not 'probation'
                     order by x.id desc limit 1)
             where p.canary is not null and p.state = 'registered' and br.state = 'active' and b.state = 'watched' order by br.id"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut canaries = Vec::with_capacity(rows.len());
        for row in rows {
            let outcome = row.outcome.as_deref().map(|o| word(o, Outcome::parse)).transpose()?;
            canaries.push(CanaryRow {
                builder: BuilderId(row.builder),
                canary: word(&row.canary, Canary::parse)?,
                project: row.project,
                trunk_id: TrunkId(row.trunk_id),
                trunk: row.trunk,
                branch: row.branch,
                platform: row.platform,
                variant: row.variant,
                last: outcome.zip(row.finished_at_ms.map(Timestamp)),
                explained: row.explained,
            });
        }
        Ok(canaries)
    }
}

impl Write<'_> {
    /// Makes a project a canary, or an ordinary project again.
    pub async fn set_canary(&mut self, project: ProjectId, canary: Option<Canary>) -> Result<()> {
        let canary = canary.map(Canary::as_str);
        let set = sqlx::query!("update project set canary = ? where id = ?", canary, project.0);
        one_row(set.execute(&mut *self.connection).await?, "there is no such project")
    }

    /// Replaces all marks of a project.
    pub async fn put_marks(&mut self, project: ProjectId, marks: &[Mark]) -> Result<()> {
        sqlx::query!("delete from mark where project_id = ?", project.0)
            .execute(&mut *self.connection)
            .await?;
        for mark in marks {
            let kind = mark.kind.as_str();
            sqlx::query!(
                "insert into mark (project_id, kind, cases, branch, platform, variant, issue, until_ms)
                 values (?, ?, ?, ?, ?, ?, ?, ?)",
                project.0,
                kind,
                mark.cases,
                mark.branch,
                mark.platform,
                mark.variant,
                mark.issue,
                mark.until.0
            )
            .execute(&mut *self.connection)
            .await?;
        }
        Ok(())
    }
}
