//! A builder's history, case by case: rows only for what differs from one build to the next.

use std::collections::{BTreeMap, BTreeSet};

use domain::breakage::{ALWAYS_ENOUGH, CaseHistory};
use domain::project_inputs::{self, TimelineBuild};
use domain::results::letter;
use domain::words::ids::{BuildId, BuilderId, CaseId, ChangeId, Timestamp};
use protocol::Verdict;

use crate::builds::timelines::BuilderTimeline;
use crate::cases::verdicts::{AT_ONCE, BuildVerdicts, CaseVerdicts, Turn, verdict};
use crate::db::number::{from_row, len_to_row};
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, json};

/// What a build that came into a builder's history changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryChange {
    /// The build.
    pub build: BuildId,
    /// The cases that turn, or turned until now, at it or at the builds that lean on it.
    pub cases: BTreeSet<CaseId>,
    /// The history with it.
    pub(crate) past: BuilderTimeline,
}

/// How far back an unreached case's last verdict is looked for.
const UNREACHED_DEPTH: usize = 50;

/// What is written of each case: by build, what it did before (if there was a before), and what it does.
pub(crate) type Transitions = BTreeMap<CaseId, BTreeMap<BuildId, (Option<Verdict>, Verdict)>>;

pub(crate) fn case_histories(history: &[TimelineBuild], transitions: &Transitions) -> Vec<CaseHistory> {
    let begins = project_inputs::begins(history);
    transitions.iter().map(|(case, rows)| case_history(*case, history, &begins, rows)).collect()
}

/// Carries verdicts forward from row to row; before the first row a case did what that row says it did before.
fn case_history(
    case: CaseId,
    history: &[TimelineBuild],
    begins: &BTreeSet<usize>,
    rows: &BTreeMap<BuildId, (Option<Verdict>, Verdict)>,
) -> CaseHistory {
    // Also a row of a build that is history no more says what was before it.
    let first =
        history.iter().find_map(|history_build| rows.get(&history_build.build)).or(rows.values().next());
    let mut now = first.and_then(|(was, _)| *was);
    let verdicts = Vec::with_capacity(history.len());
    let mut case_history = CaseHistory { case, verdicts, sides: BTreeSet::new(), beside: Vec::new() };
    for (at, history_build) in history.iter().enumerate() {
        if let Some(&(_, became)) = rows.get(&history_build.build) {
            now = Some(became);
        }
        if begins.contains(&at) {
            case_history.sides.insert(case_history.verdicts.len());
        }
        case_history.verdicts.extend(now.map(|verdict| (history_build.change, verdict)));
    }
    case_history
}

fn unreached(case_verdicts: &CaseVerdicts) -> impl Iterator<Item = CaseId> {
    case_verdicts.iter().filter(|(_, verdict)| **verdict == Verdict::Unreached).map(|(case, _)| *case)
}

impl Read<'_> {
    /// The builds that make a builder's history, in order. At a baseline a change is in it once a side.
    pub async fn history_builds(&mut self, builder: BuilderId) -> Result<Vec<(ChangeId, BuildId)>> {
        let history = self.history(builder).await?;
        Ok(history.into_iter().map(|history_build| (history_build.change, history_build.build)).collect())
    }

    /// What a build's cases did, those that it did not reach as in the history before it.
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

    /// What each case did in a builder's history at this place: one that was not reached keeps what it last did.
    pub(crate) async fn effective_verdicts(
        &mut self,
        history_builds: &[(ChangeId, BuildId)],
        at: usize,
    ) -> Result<CaseVerdicts> {
        let BuildVerdicts { mut case_verdicts, complete: mut all_told } =
            self.build_verdicts(history_builds[at].1).await?;
        let mut open: BTreeSet<CaseId> = unreached(&case_verdicts).collect();
        for (_, earlier) in history_builds[..at].iter().rev().take(UNREACHED_DEPTH) {
            if all_told && open.is_empty() {
                break;
            }
            let earlier = self.build_verdicts(*earlier).await?;
            for (&case, &verdict) in &earlier.case_verdicts {
                if open.contains(&case) || (!all_told && !case_verdicts.contains_key(&case)) {
                    case_verdicts.insert(case, verdict);
                    if verdict == Verdict::Unreached {
                        open.insert(case)
                    } else {
                        open.remove(&case)
                    };
                }
            }
            if earlier.complete {
                // What it does not tell of was not there any more.
                all_told = true;
                open.retain(|case| earlier.case_verdicts.contains_key(case));
            }
        }
        Ok(case_verdicts)
    }

    /// What differs between a cover build and the one before it. Without one before, only what is not a pass.
    async fn turns(&mut self, history_builds: &[(ChangeId, BuildId)], at: usize) -> Result<Vec<Turn>> {
        let Some(before) = at.checked_sub(1) else {
            let case_verdicts = self.effective_verdicts(history_builds, at).await?;
            let others = case_verdicts.into_iter().filter(|(_, verdict)| *verdict != Verdict::Pass);
            return Ok(others.map(|(case, verdict)| (case, None, verdict)).collect());
        };
        if let (Some(was), Some(is)) =
            (self.kept(history_builds[before].1).await?, self.kept(history_builds[at].1).await?)
            && (was.list == is.list && was.is_whole() && is.is_whole())
        {
            return is.turns_since(&was);
        }
        let was = self.effective_verdicts(history_builds, before).await?;
        let is = self.effective_verdicts(history_builds, at).await?;
        let in_either: BTreeSet<CaseId> = was.keys().chain(is.keys()).copied().collect();
        let untold_then = self.untold_in(&was, &in_either).await?;
        let untold_now = self.untold_in(&is, &in_either).await?;
        let did = |side: &CaseVerdicts, unreported: &CaseVerdicts, case| {
            side.get(&case).or(unreported.get(&case)).copied().unwrap_or(Verdict::Missing)
        };
        let turn = |case| (case, Some(did(&was, &untold_then, case)), did(&is, &untold_now, case));
        let known = |case: &CaseId| untold_then.get(case) != Some(&Verdict::Unreached);
        let turns = in_either.iter().copied().filter(known).map(turn);
        Ok(turns.filter(|(_, was, is)| *was != Some(*is) && *is != Verdict::Unreached).collect())
    }

    /// Those that were ever bad or lost, or are of a breakage.
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

    /// All that is written of these cases on a builder, also by builds that are history no more.
    pub(crate) async fn transitions(
        &mut self,
        builder: BuilderId,
        cases: &BTreeSet<CaseId>,
    ) -> Result<Transitions> {
        let cases = json(cases)?;
        let rows = sqlx::query_scalar!(
            r#"select json_group_array(json_array(t.case_id, t.build_id, t.was, t.became)) as "rows!: String"
             from json_each(?) asked cross join transition t on t.case_id = asked.value
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

    /// How many other cases than these were good and are not run any more at a build; no more than make it an alarm.
    pub(crate) async fn others_lost(
        &mut self,
        builder: BuilderId,
        build: BuildId,
        cases: &BTreeSet<CaseId>,
    ) -> Result<usize> {
        let (cases, enough) = (json(cases)?, len_to_row(ALWAYS_ENOUGH));
        let lost = sqlx::query_scalar!(
            r#"select count(*) as "lost!: i64" from (select 1 from transition
                 where build_id = ? and became in ('S', 'M') and was in ('P', 'x', 'X')
                     and case_id not in (select value from json_each(?))
                     and case_id not in (select case_id from unstable_case where builder_id = ?) limit ?)"#,
            build.0,
            cases,
            builder.0,
            enough
        );
        from_row(lost.fetch_one(&mut *self.connection).await?)
    }

    /// Cases that come and go on identical inputs.
    pub async fn unstable_cases(&mut self, builder: BuilderId) -> Result<BTreeSet<CaseId>> {
        let ids = sqlx::query_scalar!("select case_id from unstable_case where builder_id = ?", builder.0)
            .fetch_all(&mut *self.connection)
            .await?;
        Ok(ids.into_iter().map(CaseId).collect())
    }
}

impl Write<'_> {
    /// Makes a finished cover build history: its transitions, and those of the builds behind it that lean on it.
    pub async fn make_history(&mut self, builder: BuilderId, build: BuildId) -> Result<HistoryChange> {
        let branch = self.builder(builder).await?.branch;
        let past = self.builder_timeline(builder, branch).await?;
        let history_builds: Vec<(ChangeId, BuildId)> = past
            .history_builds
            .iter()
            .map(|history_build| (history_build.change, history_build.build))
            .collect();
        let mut cases = BTreeSet::new();
        // A build whose change was rewound meanwhile is no history.
        let at = history_builds.iter().position(|(_, id)| *id == build).unwrap_or(history_builds.len());
        for index in at..history_builds.len() {
            let turns = self.turns(&history_builds, index).await?;
            cases.extend(self.put_transitions(history_builds[index].1, &turns).await?);
            cases.extend(turns.iter().map(|(case, ..)| *case));
            if index > at && self.kept(history_builds[index].1).await?.is_some_and(|kept| kept.is_whole()) {
                break;
            }
        }
        Ok(HistoryChange { build, cases, past })
    }

    /// Writes what differs between a cover build and the one before it, in place of what was written of it before. Says
    /// of which cases that was.
    async fn put_transitions(&mut self, build: BuildId, rows: &[Turn]) -> Result<Vec<CaseId>> {
        let before =
            sqlx::query_scalar!("delete from transition where build_id = ? returning case_id", build.0)
                .fetch_all(&mut *self.connection)
                .await?;
        let told = |(case, was, became): &Turn| (*case, was.map(letter), letter(*became));
        for rows in rows.chunks(AT_ONCE) {
            let rows = json(&rows.iter().map(told).collect::<Vec<_>>())?;
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

    /// Records cases that come and go on identical inputs; those that are known keep their time.
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
