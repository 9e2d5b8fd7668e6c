//! Breakages, with the names of everything that they refer to.

use std::collections::{BTreeMap, BTreeSet};

use domain::culprit::Purpose;
use domain::sentences::{BrokenCounts, step_of};
use domain::words::ids::{BreakageId, BuildId, Timestamp};
use domain::words::states::{NoticeKind, NoticeState};
use domain::words::{BreakageState, Reason};

use super::changes::change_row;
use super::{BuilderRow, ChangeRow};
use crate::breakages::evidence::MAX_LATER;
use crate::cases::selection::CaseSelection;
use crate::db::number::{from_row, len_to_row};
use crate::db::transaction::Read;
use crate::error::{Error, Result, json, word};

/// A breakage as a line shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakageRow {
    /// Its id.
    pub id: i64,
    /// Its builder.
    pub builder: BuilderRow,
    /// Its state.
    pub state: BreakageState,
    /// What its search found; it stays when the breakage is fixed.
    pub found: Option<BreakageState>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was fixed or disappeared; none while it is open.
    pub ended_at: Option<Timestamp>,
    /// The culprit, once the search named one.
    pub culprit: Option<ChangeRow>,
    /// The change that fixed it at the latest.
    pub fixer: Option<ChangeRow>,
    /// The position of the good end on the builder's branch.
    pub good: Option<i64>,
    /// The position of the bad end.
    pub bad: Option<i64>,
    /// The position of the culprit.
    pub culprit_at: Option<i64>,
    /// The position of the change below the culprit.
    pub parent_at: Option<i64>,
    /// The position of the fix.
    pub fixed_at: Option<i64>,
    /// The position of the last change that is known to be bad before the fix.
    pub fixed_after: Option<i64>,
    /// How many changes its range has: those after the good end, up to the bad one.
    pub range: i64,
    /// How many changes cannot be distinguished from the culprit, itself included.
    pub suspects: i64,
    /// How many changes there are after the last bad one, up to the fix.
    pub repair_range: i64,
    /// How many cases it has.
    pub cases: i64,
    /// How many of them are no longer run; the others fail.
    pub not_run: i64,
    /// One of its cases, to recognise it by.
    pub example: Option<String>,
    /// Its branch.
    pub branch: i64,
    /// The breakage that it was split from.
    pub split_from: Option<i64>,
    /// The earlier breakage of the same cases.
    pub again_of: Option<i64>,
}

/// How far a change's page looks for the end of a range that the change is in.
const MAX_REACH: i64 = 1_000;

/// Which breakages a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakageFilter {
    /// The breakage with this id.
    One(i64),
    /// Those with an id below this, open ones first.
    Before(i64),
    /// Not ended yet.
    Open,
    /// Those of a branch that were not fixed before this position.
    Branch {
        /// The branch's id.
        branch: i64,
        /// The position.
        oldest: i64,
    },
    /// Caused by this change.
    Culprit(i64),
    /// Ended by this change, or by another one of the changes up to this one.
    Fixer(i64),
    /// Caused by one of several changes, of which this is one but not the last.
    Within(i64),
    /// Ended by one of several changes, of which this is one but not the last.
    RepairedWithin(i64),
}

/// One run, and how many of a breakage's cases were bad and good in it.
#[derive(Debug, Clone, PartialEq)]
pub struct EvidenceRow {
    /// The build.
    pub build: i64,
    /// Why the build exists.
    pub reason: Reason,
    /// Its change.
    pub change: ChangeRow,
    /// The position of its change.
    pub position: Option<i64>,
    /// The worker that ran it.
    pub worker: String,
    /// Why a search enqueued it, and how many bits of information the search expected from it.
    pub probe: Option<(Purpose, f64)>,
    /// How many of the breakage's cases were bad.
    pub bad: i64,
    /// How many of them were good.
    pub good: i64,
    /// When it finished; none before that.
    pub finished_at: Option<Timestamp>,
}

/// A mail about a breakage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeRow {
    /// What it is about.
    pub kind: NoticeKind,
    /// The subject.
    pub subject: String,
    /// Whether it has left the farm.
    pub state: NoticeState,
    /// When it was written into the outbox.
    pub decided_at: Timestamp,
}

macro_rules! breakage_rows {
    ($self:ident, $where:literal, $($argument:expr),*) => {{
        let rows = sqlx::query!(
            r#"select k.id as "id!", br.id as "builder_id!", br.branch_id as "branch_id!", p.name as "project?",
                 t.name as "trunk!", b.name as "branch!", pl.label as "platform!", br.variant_name as "variant?", k.state as "state!", k.found,
                 k.opened_at_ms as "opened_at_ms!", k.ended_at_ms, k.split_from_id, k.again_of_id,
                 c.id as "change_id?", c.sha as "sha?", c.title as "title?", c.author as "author?",
                 c.committed_at_ms as "committed_at_ms?",
                 f.id as "fixer_id?", f.sha as "fixer_sha?", f.title as "fixer_title?", f.author as "fixer_author?",
                 f.committed_at_ms as "fixer_committed_at_ms?",
                 (select max(position) from branch_change x where x.branch_id = br.branch_id
                     and x.change_id = k.good_change_id) as "good: i64",
                 (select max(position) from branch_change x where x.branch_id = br.branch_id
                     and x.change_id = k.bad_change_id) as "bad: i64",
                 (select max(position) from branch_change x where x.branch_id = br.branch_id
                     and x.change_id = k.culprit_id) as "culprit_at: i64",
                 (select max(position) from branch_change x where x.branch_id = br.branch_id
                     and x.change_id = k.parent_id) as "parent_at: i64",
                 (select max(position) from branch_change x where x.branch_id = br.branch_id
                     and x.change_id = k.fixed_by_id) as "fixed_at: i64",
                 (select max(position) from branch_change x where x.branch_id = br.branch_id
                     and x.change_id = k.fixed_after_id) as "fixed_after: i64",
                 (select count(*) from branch_change x where x.branch_id = br.branch_id and x.gone_at_ms is null
                     and x.position > (select max(position) from branch_change e where e.branch_id = br.branch_id
                         and e.change_id = k.good_change_id)
                     and x.position <= (select max(position) from branch_change e where e.branch_id = br.branch_id
                         and e.change_id = k.bad_change_id)) as "range!: i64",
                 (select count(*) from branch_change x where x.branch_id = br.branch_id and x.gone_at_ms is null
                     and x.position > (select max(position) from branch_change e where e.branch_id = br.branch_id
                         and e.change_id = k.parent_id)
                     and x.position <= (select max(position) from branch_change e where e.branch_id = br.branch_id
                         and e.change_id = k.culprit_id)) as "suspects!: i64",
                 (select count(*) from branch_change x where x.branch_id = br.branch_id and x.gone_at_ms is null
                     and x.position > (select max(position) from branch_change e where e.branch_id = br.branch_id
                         and e.change_id = k.fixed_after_id)
                     and x.position <= (select max(position) from branch_change e where e.branch_id = br.branch_id
                         and e.change_id = k.fixed_by_id)) as "repair_range!: i64",
                 (select count(*) from breakage_case x where x.breakage_id = k.id) as "cases!: i64",
                 (select count(*) from breakage_case x where x.breakage_id = k.id and x.not_run) as "not_run!: i64",
                 (select n.name from breakage_case x join named_case n on n.id = x.case_id
                     where x.breakage_id = k.id order by n.name like 'step:%', n.name limit 1) as "example: String"
             from breakage k join builder br on br.id = k.builder_id join branch b on b.id = br.branch_id
                 join trunk t on t.id = b.trunk_id join platform pl on pl.id = br.platform_id
                 left join project p on p.id = br.project_id left join change c on c.id = k.culprit_id
                 left join change f on f.id = k.fixed_by_id "# + $where,
            $($argument),*
        )
        .fetch_all(&mut *$self.connection)
        .await?;
        let mut breakages = Vec::with_capacity(rows.len());
        for row in rows {
            breakages.push(BreakageRow {
                id: row.id,
                builder: BuilderRow {
                    id: row.builder_id,
                    project: row.project,
                    trunk: row.trunk,
                    branch: row.branch,
                    platform: row.platform,
                    variant: row.variant,
                },
                state: word(&row.state, BreakageState::parse)?,
                found: row.found.as_deref().map(|f| word(f, BreakageState::parse)).transpose()?,
                opened_at: Timestamp(row.opened_at_ms),
                ended_at: row.ended_at_ms.map(Timestamp),
                culprit: change(row.change_id, row.sha, row.title, row.author, row.committed_at_ms),
                fixer: change(
                    row.fixer_id,
                    row.fixer_sha,
                    row.fixer_title,
                    row.fixer_author,
                    row.fixer_committed_at_ms,
                ),
                good: row.good,
                bad: row.bad,
                culprit_at: row.culprit_at,
                parent_at: row.parent_at,
                fixed_at: row.fixed_at,
                fixed_after: row.fixed_after,
                range: row.range,
                suspects: row.suspects,
                repair_range: row.repair_range,
                cases: row.cases,
                not_run: row.not_run,
                example: row.example,
                branch: row.branch_id,
                split_from: row.split_from_id,
                again_of: row.again_of_id,
            });
        }
        breakages
    }};
}

/// A change of a left join, if there is one.
fn change(
    id: Option<i64>,
    sha: Option<String>,
    title: Option<String>,
    author: Option<String>,
    committed_at: Option<i64>,
) -> Option<ChangeRow> {
    Some(ChangeRow {
        id: id?,
        sha: sha?,
        title: title?,
        author: author?,
        committed_at: Timestamp(committed_at?),
    })
}

impl Read<'_> {
    /// At most `limit` breakages; open ones first, then the newest.
    pub async fn breakage_rows(&mut self, which: BreakageFilter, limit: i64) -> Result<Vec<BreakageRow>> {
        Ok(match which {
            BreakageFilter::One(id) => breakage_rows!(self, "where k.id = ? limit ?", id, limit),
            BreakageFilter::Before(id) => breakage_rows!(
                self,
                "where k.id < ? order by k.ended_at_ms is not null, k.id desc limit ?",
                id,
                limit
            ),
            BreakageFilter::Open => {
                breakage_rows!(self, "where k.ended_at_ms is null order by k.id desc limit ?", limit)
            }
            BreakageFilter::Branch { branch, oldest } => breakage_rows!(
                self,
                "where br.branch_id = ? and br.state = 'active' and k.state <> 'gone'
                     and (k.fixed_by_id is null or exists (select 1 from branch_change x
                         where x.branch_id = br.branch_id and x.change_id = k.fixed_by_id and x.position >= ?))
                 order by k.id limit ?",
                branch,
                oldest,
                limit
            ),
            BreakageFilter::Culprit(change) => breakage_rows!(
                self,
                "where k.culprit_id = ? and k.found in ('named', 'one-of-k') order by k.id limit ?",
                change,
                limit
            ),
            BreakageFilter::Fixer(change) => {
                breakage_rows!(self, "where k.fixed_by_id = ? and k.fixed_after_id <> k.fixed_by_id order by k.id limit ?", change, limit)
            }
            BreakageFilter::Within(change) => breakage_rows!(
                self,
                "where k.id in (
                     select o.id from branch_change own cross join branch_change later on later.branch_id = own.branch_id
                         and later.position > own.position and later.position <= own.position + ?
                         cross join breakage o on o.culprit_id = later.change_id and o.found in ('named', 'one-of-k')
                         cross join builder ob on ob.id = o.builder_id and ob.branch_id = own.branch_id
                         cross join branch_change parent on parent.branch_id = own.branch_id
                             and parent.change_id = o.parent_id and parent.position < own.position
                     where own.change_id = ? and own.gone_at_ms is null)
                 order by k.id limit ?",
                MAX_REACH,
                change,
                limit
            ),
            BreakageFilter::RepairedWithin(change) => breakage_rows!(
                self,
                "where k.id in (
                     select o.id from branch_change own cross join branch_change later on later.branch_id = own.branch_id
                         and later.position > own.position and later.position <= own.position + ?
                         cross join breakage o on o.fixed_by_id = later.change_id and o.fixed_after_id <> o.fixed_by_id
                         cross join builder ob on ob.id = o.builder_id and ob.branch_id = own.branch_id
                         cross join branch_change after on after.branch_id = own.branch_id
                             and after.change_id = o.fixed_after_id and after.position < own.position
                     where own.change_id = ? and own.gone_at_ms is null)
                 order by k.id limit ?",
                MAX_REACH,
                change,
                limit
            ),
        })
    }

    /// One breakage. `NotFound` if there is none.
    pub async fn breakage_row(&mut self, id: i64) -> Result<BreakageRow> {
        self.breakage_rows(BreakageFilter::One(id), 1).await?.pop().ok_or(Error::NotFound("breakage"))
    }

    /// What is broken, for groups of breakages. A case that several breakages of a group have on several platforms
    /// counts once.
    pub async fn case_counts(&mut self, groups: &[(usize, i64)]) -> Result<BTreeMap<usize, BrokenCounts>> {
        let wanted: Vec<i64> = groups.iter().map(|(_, breakage)| *breakage).collect();
        let json_groups = json(&groups)?;
        let rows = sqlx::query!(
            r#"select wanted.value ->> 0 as "group!: i64", coalesce(br.project_id, 0) as "project!: i64",
                 count(distinct iif(not x.not_run and n.name not like 'step:%' and n.name not like 'fault:%',
                     x.case_id, null)) as "failing!: i64",
                 count(distinct iif(x.not_run, x.case_id, null)) as "not_run!: i64",
                 count(distinct iif(not x.not_run and n.name like 'fault:%' and n.name not like 'fault:step:%',
                     x.case_id, null)) as "faults!: i64",
                 json_group_array(distinct n.name) filter (where n.name like 'step:%' or n.name like 'fault:step:%')
                     as "steps!: String",
                 json_group_array(distinct br.platform_id) as "platforms!: String",
                 max(coalesce(k.unreached, 0)) as "unreached!: i64"
             from json_each(?) wanted cross join breakage k on k.id = wanted.value ->> 1
                 cross join builder br on br.id = k.builder_id
                 cross join breakage_case x on x.breakage_id = k.id cross join named_case n on n.id = x.case_id
             group by 1, 2"#,
            json_groups
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let variants = self.breakage_variants(&wanted).await?;
        let mut counts: BTreeMap<usize, (BrokenCounts, BTreeSet<i64>)> = BTreeMap::new();
        let list = |e: serde_json::Error| Error::Row(e.to_string());
        for row in rows {
            let (group, platforms) = counts.entry(from_row(row.group)?).or_default();
            let steps: Vec<String> = serde_json::from_str(&row.steps).map_err(list)?;
            group.failing += from_row::<usize>(row.failing)?;
            group.not_run += from_row::<usize>(row.not_run)? + from_row::<usize>(row.unreached)?;
            group.faults += from_row::<usize>(row.faults)?;
            group.steps.extend(steps.iter().filter_map(|case| step_of(case)).map(ToString::to_string));
            platforms.extend(serde_json::from_str::<Vec<i64>>(&row.platforms).map_err(list)?);
            group.platforms = platforms.len();
        }
        for (group, breakage) in groups {
            let Some((counts, _)) = counts.get_mut(group) else { continue };
            for known in variants.get(breakage).into_iter().flatten() {
                counts.variants.add(&known.project, &known.variant, known.state);
            }
        }
        Ok(counts.into_iter().map(|(group, (counts, _))| (group, counts)).collect())
    }

    /// The names of a breakage's cases, and whether each is no longer run; cases of whole steps come last.
    pub async fn breakage_cases(&mut self, breakage: i64, limit: i64) -> Result<Vec<(String, bool)>> {
        let rows = sqlx::query!(
            r#"select n.name as "name!", x.not_run as "not_run!: bool"
             from breakage_case x join named_case n on n.id = x.case_id
             where x.breakage_id = ? order by n.name like 'step:%', n.name limit ?"#,
            breakage,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(rows.into_iter().map(|row| (row.name, row.not_run)).collect())
    }

    /// The runs of the builder that are evidence for a breakage: those of its range, those that were made after it
    /// was opened, for it or for another reason, and those between which it was repaired; newest first.
    pub async fn evidence_rows(&mut self, breakage: i64, limit: i64) -> Result<Vec<EvidenceRow>> {
        let (later, alarm) = (len_to_row(MAX_LATER), self.alarm_at(BreakageId(breakage)).await?);
        let rows = sqlx::query!(
            r#"select bu.id as "build!", bu.reason as "reason!", c.id as "change_id!", c.sha as "sha!",
                 c.title as "title!", c.author as "author!", c.committed_at_ms as "committed_at_ms!",
                 w.name as "worker!", bu.finished_at_ms, pr.purpose as "purpose?", pr.bits as "bits?",
                 max(at.position) as "position!: i64"
             from breakage k join builder br on br.id = k.builder_id
                 cross join branch_change at on at.branch_id = br.branch_id and at.position >= (
                     select max(position) from branch_change g
                     where g.branch_id = br.branch_id and g.change_id = k.good_change_id)
                 cross join build bu on bu.builder_id = k.builder_id and bu.change_id = at.change_id
                 cross join change c on c.id = bu.change_id cross join attempt a on a.id = bu.attempt_id
                 cross join worker w on w.id = a.worker_id left join probe pr on pr.build_id = bu.id
             where k.id = ? and bu.is_verdict and bu.reason <> 'latest'
                 and w.trust is not 'probation'
                 and (not bu.makes_history and bu.finished_at_ms >= ?
                     or at.position <= iif(k.found = 'flaky', ?, 0) + (select max(position) from branch_change b
                         where b.branch_id = br.branch_id and b.change_id = k.bad_change_id)
                     or bu.change_id in (k.fixed_after_id, k.fixed_by_id))
             group by bu.id order by bu.id desc limit ?"#,
            breakage,
            alarm,
            later,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let of = self.breakage(BreakageId(breakage)).await?;
        let (mut evidence, mut selection) = (Vec::with_capacity(rows.len()), CaseSelection::new(&of.cases));
        for row in rows {
            let verdicts = self.verdicts_of_cases(BuildId(row.build), &mut selection).await?;
            let is_good: Vec<bool> = verdicts
                .into_iter()
                .filter_map(|(case, verdict)| of.regression_kind(case).shows_good(verdict))
                .collect();
            if is_good.is_empty() {
                continue;
            }
            let good = is_good.iter().filter(|is_good| **is_good).count();
            let purpose = row.purpose.as_deref().map(|purpose| word(purpose, Purpose::parse)).transpose()?;
            evidence.push(EvidenceRow {
                probe: purpose.zip(row.bits),
                build: row.build,
                reason: word(&row.reason, Reason::parse)?,
                change: change_row!(row),
                position: Some(row.position),
                worker: row.worker,
                bad: len_to_row(is_good.len() - good),
                good: len_to_row(good),
                finished_at: row.finished_at_ms.map(Timestamp),
            });
        }
        Ok(evidence)
    }

    /// The mails about a breakage, oldest first.
    pub async fn notice_rows(&mut self, breakage: i64, limit: i64) -> Result<Vec<NoticeRow>> {
        let rows = sqlx::query!(
            r#"select n.kind, n.subject, n.state, n.decided_at_ms
             from notice_breakage x join notice n on n.id = x.notice_id
             where x.breakage_id = ? order by n.id limit ?"#,
            breakage,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut notices = Vec::with_capacity(rows.len());
        for row in rows {
            notices.push(NoticeRow {
                kind: word(&row.kind, NoticeKind::parse)?,
                subject: row.subject,
                state: word(&row.state, NoticeState::parse)?,
                decided_at: Timestamp(row.decided_at_ms),
            });
        }
        Ok(notices)
    }
}
