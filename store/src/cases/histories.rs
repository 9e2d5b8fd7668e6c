//! A builder's history, case by case: rows only for what differs from one build to the next.

use std::collections::{BTreeMap, BTreeSet};

use domain::breakage::{ALWAYS_ENOUGH, CaseHistory};
use domain::project_inputs::{self, CaseVerdicts, InputsId, TimelineBuild};
use domain::results::letter;
use domain::words::ids::{BuildId, BuilderId, CaseId, ChangeId, Timestamp};
use protocol::Verdict;

use crate::builds::Build;
use crate::builds::timelines::BuilderTimeline;
use crate::cases::verdicts::{AT_ONCE, BuildVerdicts, CaseTransition, verdict};
use crate::db::number::{from_row, len_to_row};
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, json};
use crate::upstream::builders::Builder;

/// What a build that joined a builder's history changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryChange {
    /// The build.
    pub build: BuildId,
    /// The cases with a transition, now or until now, at the build or at later builds that depend on it.
    pub cases: BTreeSet<CaseId>,
    /// The history that includes it.
    pub(crate) timeline: BuilderTimeline,
}

/// How many builds back the last verdict of an unreached case is looked for.
pub(crate) const UNREACHED_DEPTH: usize = 50;

/// The transitions of each case by build: what it did before, if there was a before, and what it does.
pub(crate) type Transitions = BTreeMap<CaseId, BTreeMap<BuildId, (Option<Verdict>, Verdict)>>;

pub(crate) fn case_histories(
    history: &[TimelineBuild],
    transitions: &Transitions,
    takeovers: &BTreeSet<(CaseId, BuildId)>,
    unreached: &BTreeMap<CaseId, BTreeSet<BuildId>>,
) -> Vec<CaseHistory> {
    let begins = project_inputs::begins(history);
    let reached_by_all = BTreeSet::new();
    let of_case = |(case, rows): (&CaseId, &BTreeMap<BuildId, (Option<Verdict>, Verdict)>)| {
        case_history(*case, history, &begins, rows, unreached.get(case).unwrap_or(&reached_by_all))
    };
    let mut case_histories: Vec<CaseHistory> = transitions.iter().map(of_case).collect();
    for of_case in &mut case_histories {
        // A case history goes on to the last history build, and may begin late.
        let late = history.len() - of_case.verdicts.len();
        let is_taken_over = |at: &usize| takeovers.contains(&(of_case.case, history[*at].build));
        of_case.takeovers = (late..history.len()).filter(is_taken_over).map(|at| at - late).collect();
    }
    case_histories
}

/// Carries verdicts forward from transition to transition. Before the first one, a case did what that row has as
/// the verdict before. A build that did not reach it has no verdict of it.
fn case_history(
    case: CaseId,
    history: &[TimelineBuild],
    begins: &BTreeSet<usize>,
    rows: &BTreeMap<BuildId, (Option<Verdict>, Verdict)>,
    unreached: &BTreeSet<BuildId>,
) -> CaseHistory {
    // A row of a build that no longer makes history has the verdict before it, too.
    let first =
        history.iter().find_map(|history_build| rows.get(&history_build.build)).or(rows.values().next());
    let mut now = first.and_then(|(was, _)| *was);
    let verdicts = Vec::with_capacity(history.len());
    let mut case_history = CaseHistory {
        case,
        verdicts,
        baselines: BTreeSet::new(),
        takeovers: BTreeSet::new(),
        evidence_verdicts: Vec::new(),
    };
    for (at, history_build) in history.iter().enumerate() {
        if let Some(&(_, became)) = rows.get(&history_build.build) {
            now = Some(became);
        }
        if begins.contains(&at) {
            case_history.baselines.insert(case_history.verdicts.len());
        }
        let is_unreached = unreached.contains(&history_build.build);
        let here = now.map(|verdict| if is_unreached { Verdict::Unreached } else { verdict });
        case_history.verdicts.extend(here.map(|verdict| (history_build.change, verdict)));
    }
    case_history
}

fn unreached(case_verdicts: &CaseVerdicts) -> impl Iterator<Item = CaseId> {
    case_verdicts.iter().filter(|(_, verdict)| **verdict == Verdict::Unreached).map(|(case, _)| *case)
}

/// How many unstable cases of a builder are kept.
const MAX_UNSTABLE: i64 = 1_000;

impl Read<'_> {
    /// The builds that make a builder's history, in order. At a baseline a change occurs once for each set of
    /// project inputs.
    pub async fn history_builds(&mut self, builder: BuilderId) -> Result<Vec<(ChangeId, BuildId)>> {
        let history = self.history(builder).await?;
        Ok(history.into_iter().map(|history_build| (history_build.change, history_build.build)).collect())
    }

    /// What a build's cases did; a case that it did not reach did what it last did in the history before.
    pub async fn case_verdicts_in_history(
        &mut self,
        builder: BuilderId,
        build: BuildId,
    ) -> Result<CaseVerdicts> {
        let history_builds = self.history_builds(builder).await?;
        match history_builds.iter().position(|(_, id)| *id == build) {
            Some(at) => self.effective_verdicts(&history_builds, at).await,
            None => self.case_verdicts(build).await,
        }
    }

    /// What the cases did in the history build before a run's change, with the same inputs. None if there is
    /// none, or if the change is part of the history, or will be.
    pub async fn verdicts_before(&mut self, builder: &Builder, run: &Build) -> Result<Option<CaseVerdicts>> {
        let pin = run.pin.map_or(0, |pin| pin.0);
        let toolchain = run.toolchain_inputs.map(|inputs| inputs.0);
        let inputs = InputsId { toolchain: run.toolchain_inputs, pin: run.pin };
        let is_known = sqlx::query_scalar!(
            r#"select 1 as "known!: i64" from build where builder_id = ? and change_id = ? and coalesce(pin_id, 0) = ?
                 and toolchain_inputs_id is ? and makes_history and (outcome is null or outcome not in ('infra', 'cancelled')) limit 1"#,
            builder.id.0,
            run.change.0,
            pin,
            toolchain
        );
        if is_known.fetch_optional(&mut *self.connection).await?.is_some() {
            return Ok(None);
        }
        let BuilderTimeline { order, history_builds, .. } =
            self.builder_timeline(builder.id, builder.branch).await?;
        let Some(position) = order.iter().position(|change| *change == run.change) else { return Ok(None) };
        let earlier: BTreeSet<ChangeId> = order[..position].iter().copied().collect();
        let is_before = |build: &TimelineBuild| build.inputs == inputs && earlier.contains(&build.change);
        let Some(at) = history_builds.iter().rposition(is_before) else { return Ok(None) };
        let builds: Vec<(ChangeId, BuildId)> =
            history_builds.iter().map(|history_build| (history_build.change, history_build.build)).collect();
        Ok(Some(self.effective_verdicts(&builds, at).await?))
    }

    /// What each case did at an index of a builder's history: a case that was not reached did what it last did.
    pub(crate) async fn effective_verdicts(
        &mut self,
        history_builds: &[(ChangeId, BuildId)],
        at: usize,
    ) -> Result<CaseVerdicts> {
        let BuildVerdicts { mut case_verdicts, complete: mut all_reported } =
            self.build_verdicts(history_builds[at].1).await?;
        let mut open: BTreeSet<CaseId> = unreached(&case_verdicts).collect();
        for (_, earlier) in history_builds[..at].iter().rev().take(UNREACHED_DEPTH) {
            if all_reported && open.is_empty() {
                break;
            }
            let earlier = self.build_verdicts(*earlier).await?;
            for (&case, &verdict) in &earlier.case_verdicts {
                if open.contains(&case) || (!all_reported && !case_verdicts.contains_key(&case)) {
                    case_verdicts.insert(case, verdict);
                    if verdict == Verdict::Unreached {
                        open.insert(case)
                    } else {
                        open.remove(&case)
                    };
                }
            }
            if earlier.complete {
                // A case that this complete run does not report did not exist at that time.
                all_reported = true;
                open.retain(|case| earlier.case_verdicts.contains_key(case));
            }
        }
        Ok(case_verdicts)
    }

    /// What differs between a history build and the one before it. Without one before it, everything that is not a
    /// pass.
    async fn transitions_at(
        &mut self,
        history_builds: &[(ChangeId, BuildId)],
        at: usize,
    ) -> Result<Vec<CaseTransition>> {
        let Some(before) = at.checked_sub(1) else {
            let case_verdicts = self.effective_verdicts(history_builds, at).await?;
            let others = case_verdicts.into_iter().filter(|(_, verdict)| *verdict != Verdict::Pass);
            return Ok(others.map(|(case, verdict)| (case, None, verdict)).collect());
        };
        if let (Some(was), Some(is)) = (
            self.stored_verdicts(history_builds[before].1).await?,
            self.stored_verdicts(history_builds[at].1).await?,
        ) && (was.list == is.list && was.is_whole() && is.is_whole())
        {
            return is.transitions_since(&was);
        }
        let was = self.effective_verdicts(history_builds, before).await?;
        let is = self.effective_verdicts(history_builds, at).await?;
        let in_either: BTreeSet<CaseId> = was.keys().chain(is.keys()).copied().collect();
        let unreported_then = self.unreported_in(&was, &in_either).await?;
        let unreported_now = self.unreported_in(&is, &in_either).await?;
        let did = |project_inputs: &CaseVerdicts, unreported: &CaseVerdicts, case| {
            project_inputs.get(&case).or(unreported.get(&case)).copied().unwrap_or(Verdict::Missing)
        };
        let transition =
            |case| (case, Some(did(&was, &unreported_then, case)), did(&is, &unreported_now, case));
        let known = |case: &CaseId| unreported_then.get(case) != Some(&Verdict::Unreached);
        let transitions = in_either.iter().copied().filter(known).map(transition);
        Ok(transitions.filter(|(_, was, is)| *was != Some(*is) && *is != Verdict::Unreached).collect())
    }

    /// The cases that were ever bad or stopped running, or belong to a breakage.
    pub(crate) async fn cases_ever_bad(&mut self, builder: BuilderId) -> Result<BTreeSet<CaseId>> {
        let cases = sqlx::query_scalar!(
            r#"select t.case_id as "case_id!" from transition t join build b on b.id = t.build_id
             where b.builder_id = ? and (t.became in ('F', 'E')
                 or t.became in ('S', 'M') and t.was in ('P', 'x', 'X', 'F', 'E'))
             union select bc.case_id from breakage_case bc join breakage br on br.id = bc.breakage_id
             where br.builder_id = ?"#,
            builder.0,
            builder.0
        );
        Ok(cases.fetch_all(&mut *self.connection).await?.into_iter().map(CaseId).collect())
    }

    /// All transitions of these cases on a builder, including those of builds that no longer make history.
    pub(crate) async fn transitions(
        &mut self,
        builder: BuilderId,
        cases: &BTreeSet<CaseId>,
    ) -> Result<Transitions> {
        let cases = json(cases)?;
        let rows = sqlx::query_scalar!(
            r#"select json_group_array(json_array(t.case_id, t.build_id, t.was, t.became)) as "rows!: String"
             from json_each(?) wanted cross join transition t on t.case_id = wanted.value
                 cross join build b on b.id = t.build_id
             where b.builder_id = ?"#,
            cases,
            builder.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        type Row<'r> = (CaseId, BuildId, Option<&'r str>, &'r str);
        let rows: Vec<Row> = serde_json::from_str(&rows).map_err(|e| Error::Row(e.to_string()))?;
        let mut by_case = Transitions::new();
        for (case, build, was, became) in rows {
            let was = was.map(verdict).transpose()?;
            by_case.entry(case).or_default().insert(build, (was, verdict(became)?));
        }
        Ok(by_case)
    }

    /// How many cases other than these were good and are no longer run at a build; the count stops where it is
    /// certainly alarming.
    pub(crate) async fn count_others_not_run(
        &mut self,
        builder: BuilderId,
        build: BuildId,
        cases: &BTreeSet<CaseId>,
    ) -> Result<usize> {
        let (cases, enough) = (json(cases)?, len_to_row(ALWAYS_ENOUGH));
        let not_run = sqlx::query_scalar!(
            r#"select count(*) as "not_run!: i64" from (select 1 from transition
                 where build_id = ? and became in ('S', 'M') and was in ('P', 'x', 'X')
                     and case_id not in (select value from json_each(?))
                     and case_id not in (select case_id from unstable_case where builder_id = ?) limit ?)"#,
            build.0,
            cases,
            builder.0,
            enough
        );
        from_row(not_run.fetch_one(&mut *self.connection).await?)
    }

    /// Cases that were run in one run and not in another of identical inputs.
    pub async fn unstable_cases(&mut self, builder: BuilderId) -> Result<BTreeSet<CaseId>> {
        let ids = sqlx::query_scalar!("select case_id from unstable_case where builder_id = ?", builder.0)
            .fetch_all(&mut *self.connection)
            .await?;
        Ok(ids.into_iter().map(CaseId).collect())
    }
}

impl Write<'_> {
    /// Adds a finished build to its builder's history: writes its transitions, and rewrites those of the later
    /// builds that depend on it.
    pub async fn make_history(&mut self, builder: BuilderId, build: BuildId) -> Result<HistoryChange> {
        let branch = self.builder(builder).await?.branch;
        let timeline = self.builder_timeline(builder, branch).await?;
        let history_builds: Vec<(ChangeId, BuildId)> = timeline
            .history_builds
            .iter()
            .map(|history_build| (history_build.change, history_build.build))
            .collect();
        let mut cases = BTreeSet::new();
        // A build whose change was rewound meanwhile makes no history.
        let at = history_builds.iter().position(|(_, id)| *id == build).unwrap_or(history_builds.len());
        let mut last = at;
        for index in at..history_builds.len() {
            last = index;
            let transitions = self.transitions_at(&history_builds, index).await?;
            cases.extend(self.put_transitions(history_builds[index].1, &transitions).await?);
            cases.extend(transitions.iter().map(|(case, ..)| *case));
            if index > at
                && self
                    .stored_verdicts(history_builds[index].1)
                    .await?
                    .is_some_and(|stored| stored.is_whole())
            {
                break;
            }
        }
        if last < history_builds.len() {
            self.put_unreached(builder, &history_builds, (at, last), &cases).await?;
        }
        cases.extend(self.put_takeovers(builder, &timeline.history_builds, at).await?);
        Ok(HistoryChange { build, cases, timeline })
    }

    /// Writes the transitions of a build in place of those that it had, and returns the cases of the latter.
    async fn put_transitions(&mut self, build: BuildId, rows: &[CaseTransition]) -> Result<Vec<CaseId>> {
        let before =
            sqlx::query_scalar!("delete from transition where build_id = ? returning case_id", build.0)
                .fetch_all(&mut *self.connection)
                .await?;
        let reported = |(case, was, became): &CaseTransition| (*case, was.map(letter), letter(*became));
        for rows in rows.chunks(AT_ONCE) {
            let rows = json(&rows.iter().map(reported).collect::<Vec<_>>())?;
            sqlx::query!(
                "insert into transition (case_id, build_id, was, became)
                 select value ->> 0, ?, value ->> 1, value ->> 2 from json_each(?)",
                build.0,
                rows
            )
            .execute(&mut *self.connection)
            .await?;
        }
        Ok(before.into_iter().map(CaseId).collect())
    }

    /// Records cases that come and go on identical inputs. A builder keeps those that were seen to differ last: where names
    /// hold random words, each run brings new ones, and what is read at each build must not grow with them.
    pub async fn put_unstable_cases(
        &mut self,
        builder: BuilderId,
        cases: &BTreeSet<CaseId>,
        now: Timestamp,
    ) -> Result<()> {
        let ids = json(cases)?;
        sqlx::query!(
            "insert into unstable_case (builder_id, case_id, seen_at_ms) select ?, value, ? from json_each(?)
             where true on conflict (builder_id, case_id) do update set seen_at_ms = excluded.seen_at_ms",
            builder.0,
            now.0,
            ids
        )
        .execute(&mut *self.connection)
        .await?;
        sqlx::query!(
            "delete from unstable_case where builder_id = ?1 and case_id in (
                 select case_id from unstable_case where builder_id = ?1
                 order by seen_at_ms desc, case_id desc limit -1 offset ?2)",
            builder.0,
            MAX_UNSTABLE
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
