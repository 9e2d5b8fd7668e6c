//! The project side of a history: neighbouring cover builds differ in the change or in the project side, never both.
//!
//! A new side first repeats an old change: the *baseline*. What differs there is the project's own doing.

pub mod environment;
pub mod inputs_hash;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::Verdict;

use crate::words::ids::{BuildId, CaseId, ChangeId, PinId, Timestamp};

/// How long a side that made cases worse waits before it is taken all the same.
pub const LONGEST: Duration = Duration::from_secs(14 * 24 * 3600);
/// How long after a baseline that came to nothing the next one is made.
const PAUSE: Duration = Duration::from_secs(3600);

/// A finished cover build of a builder, on a change that its branch still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimelineBuild {
    pub build: BuildId,
    pub change: ChangeId,
    /// Of the change on the branch.
    pub position: i64,
    /// None of a toolchain's.
    pub pin: Option<PinId>,
    pub is_baseline: bool,
    /// Whether it told of all its cases.
    pub complete: bool,
}

/// The covers that make a builder's history, in order: each side from its baseline to the baseline of the next. What the old
/// side did behind the baseline is history no more; at the baseline itself both sides stand, the old one first.
pub fn history(history_builds: &[TimelineBuild]) -> Vec<TimelineBuild> {
    let mut sides: BTreeMap<Option<PinId>, BTreeMap<i64, TimelineBuild>> = BTreeMap::new();
    let mut newest_first: Vec<&TimelineBuild> = history_builds.iter().collect();
    newest_first.sort_by_key(|history_build| std::cmp::Reverse(history_build.build));
    for history_build in newest_first {
        sides.entry(history_build.pin).or_default().entry(history_build.position).or_insert(*history_build);
    }
    let mut history = Vec::with_capacity(history_builds.len());
    let mut upto = i64::MAX;
    for side in sides.values().rev() {
        let baseline = side
            .values()
            .filter(|history_build| history_build.is_baseline)
            .max_by_key(|history_build| history_build.build);
        let Some(from) = baseline.or(side.values().next()).map(|history_build| history_build.position) else {
            continue;
        };
        if from <= upto {
            history.extend(side.range(from..=upto).rev().map(|(_, history_build)| *history_build));
        }
        upto = upto.min(from);
    }
    history.reverse();
    history
}

/// Where in a history another side begins.
pub fn begins(history: &[TimelineBuild]) -> BTreeSet<usize> {
    (1..history.len()).filter(|&at| history[at].pin != history[at - 1].pin).collect()
}

/// The side that a change at this position is tested with.
pub fn at(history: &[TimelineBuild], position: i64) -> Option<PinId> {
    let starts = begins(history);
    let start = starts.iter().rev().find(|&&start| history[start].position <= position);
    history.get(start.copied().unwrap_or(0)).and_then(|history_build| history_build.pin)
}

/// The cover that a new side repeats: the newest that told of everything on a change that is not sick. Where no run
/// ever came to its end, the newest must do.
pub fn baseline_at<'h>(history: &'h [TimelineBuild], sick: &BTreeSet<ChangeId>) -> Option<&'h TimelineBuild> {
    history
        .iter()
        .rfind(|history_build| history_build.complete && !sick.contains(&history_build.change))
        .or(history.last())
}

/// What each case did in a run.
pub type CaseVerdicts = BTreeMap<CaseId, Verdict>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputsVersion {
    Old,
    New,
}

/// What the runs of both sides on one change say of the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputsComparison {
    NoWorse,
    /// Perhaps worse: run this side once more, where the new one ran.
    Unsure(InputsVersion),
    Worse(BTreeSet<CaseId>),
}

/// Compares the sides by the first run of each; those behind them confirm. A case got worse when it is good in each run
/// of the old side, and in none of the new. Tests that are gone are the project's daily life, as long as half remain.
pub fn compare(old: &[CaseVerdicts], new: &[CaseVerdicts]) -> InputsComparison {
    let (Some(was), Some(is)) = (old.first(), new.first()) else { return InputsComparison::NoWorse };
    let good = |case_verdicts: &CaseVerdicts, case: &CaseId| {
        case_verdicts.get(case).is_some_and(|verdict| is_good(*verdict))
    };
    let were_good: Vec<CaseId> = was.keys().filter(|case| good(was, case)).copied().collect();
    let (bad, lost): (Vec<CaseId>, Vec<CaseId>) = were_good
        .iter()
        .filter(|case| !good(is, case))
        .partition(|case| is.get(case).is_some_and(|verdict| verdict.is_bad()));
    let mut worse: BTreeSet<CaseId> = bad.into_iter().collect();
    if lost.len() * 2 > were_good.len() {
        worse.extend(lost);
    }
    worse.retain(|case| old.iter().all(|run| good(run, case)) && !new.iter().any(|run| good(run, case)));
    match (worse.is_empty(), new.len(), old.len()) {
        (true, ..) => InputsComparison::NoWorse,
        (false, 1, _) => InputsComparison::Unsure(InputsVersion::New),
        (false, _, 1) => InputsComparison::Unsure(InputsVersion::Old),
        (false, ..) => InputsComparison::Worse(worse),
    }
}

fn is_good(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Pass | Verdict::Xfail | Verdict::Xpass => true,
        Verdict::Fail | Verdict::Error | Verdict::Skip | Verdict::Missing | Verdict::Unreached => false,
    }
}

/// The last baseline of a builder and a new side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaselineBuild {
    pub change: ChangeId,
    pub ran: BaselineProgress,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaselineProgress {
    /// It, or a run that is to confirm it.
    UnderWay,
    InVain {
        ended: Timestamp,
    },
    Told(InputsComparison),
}

/// What is known of a new side where it is to be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaselineFacts {
    /// The change that a baseline would repeat now; none while there is no history to join.
    pub at: Option<ChangeId>,
    /// Whether a cover build of the builder waits or runs.
    pub busy: bool,
    pub baseline: Option<BaselineBuild>,
    /// Since when it waits because cases got worse.
    pub worse_since: Option<Timestamp>,
}

/// What is to be done about a new side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaselineStep {
    /// Repeat this change with it.
    Repeat(ChangeId),
    Confirm(InputsVersion),
    /// Something is under way, and nothing newer is asked for meanwhile.
    Wait,
    /// The farm has trouble with it: go on with the old side, and try again later.
    Later,
    /// These cases got worse: go on with the old side.
    Hold(BTreeSet<CaseId>),
    Take,
}

impl BaselineStep {
    /// Whether the builder's history must not grow meanwhile: the baseline would no longer join its end.
    pub fn holds_history(&self) -> bool {
        match self {
            BaselineStep::Repeat(_) | BaselineStep::Confirm(_) | BaselineStep::Wait => true,
            BaselineStep::Later | BaselineStep::Hold(_) | BaselineStep::Take => false,
        }
    }
}

pub fn next(facts: &BaselineFacts, now: Timestamp) -> BaselineStep {
    let Some(at) = facts.at else { return BaselineStep::Take };
    let repeat = if facts.busy { BaselineStep::Wait } else { BaselineStep::Repeat(at) };
    let Some(baseline) = &facts.baseline else { return repeat };
    let take = if baseline.change == at { BaselineStep::Take } else { repeat.clone() };
    match &baseline.ran {
        BaselineProgress::UnderWay => BaselineStep::Wait,
        BaselineProgress::InVain { ended } if now < *ended + PAUSE => BaselineStep::Later,
        BaselineProgress::InVain { .. } => repeat,
        BaselineProgress::Told(InputsComparison::NoWorse) => take,
        BaselineProgress::Told(InputsComparison::Unsure(which)) => BaselineStep::Confirm(*which),
        BaselineProgress::Told(InputsComparison::Worse(_))
            if facts.worse_since.is_some_and(|since| since + LONGEST <= now) =>
        {
            take
        }
        BaselineProgress::Told(InputsComparison::Worse(cases)) => BaselineStep::Hold(cases.clone()),
    }
}

/// Everything of a suite build that is not the trunk, but for the lock: that comes with the first run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectInputs {
    pub revision: String,
    pub recipe: protocol::Sha256,
    /// The registered projects that it needs, at their revisions, by name.
    pub needs: Vec<(String, String)>,
}

/// Whether the first run of a recipe chooses dependencies for all others: it says where a lock is read. What wrote one
/// without ever reading it would choose anew each time.
pub fn chooses(recipe: &protocol::Recipe) -> bool {
    recipe.steps.iter().any(|step| step.run.contains("FARM_LOCK"))
}

/// Something in which two sides differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputsDifference {
    /// `revision 1f3a... is now 77bd...`
    pub words: String,
    /// The needed project that moved, where it is one.
    pub need: Option<String>,
}

/// What a new side has that the old one had not. Two that are alike but for the lock differ in that.
pub fn differs(old: &ProjectInputs, new: &ProjectInputs) -> Vec<InputsDifference> {
    let own = |words: String| InputsDifference { words, need: None };
    let mut differs = Vec::new();
    if old.revision != new.revision {
        differs.push(own(format!("revision {} is now {}", short(&old.revision), short(&new.revision))));
    }
    if old.recipe != new.recipe {
        differs.push(own("its recipe changed".into()));
    }
    for (name, revision) in &new.needs {
        let before = old.needs.iter().find(|(known, _)| known == name).map(|(_, revision)| revision.as_str());
        if before != Some(revision.as_str()) {
            let words = format!("{name} {} is now {}", before.map_or("(none)", short), short(revision));
            differs.push(InputsDifference { words, need: Some(name.clone()) });
        }
    }
    for (name, _) in old.needs.iter().filter(|(name, _)| !new.needs.iter().any(|(known, _)| known == name)) {
        differs.push(own(format!("{name} is needed no more")));
    }
    if differs.is_empty() {
        differs.push(own("its locked dependencies were chosen anew".into()));
    }
    differs
}

/// Reads what a project's `latest` command answered: a revision is one word that can stand in a variable, a page and a
/// mail. What it answered in its place is said in words.
pub fn revision(answer: &str) -> Result<String, String> {
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    match answer {
        "" => Err("`latest` printed nothing; expected the newest revision on the first line".into()),
        long if long.len() > protocol::MAX_ANSWER_BYTES => {
            Err(format!("`latest` printed more than {} bytes on its first line", protocol::MAX_ANSWER_BYTES))
        }
        word if is_word(word) => Ok(word.to_string()),
        other => Err(format!("`latest` printed {other:?}; expected a revision: one word of ASCII")),
    }
}

/// A commit by its first digits; what is no commit stays whole.
pub fn short(revision: &str) -> &str {
    let is_commit = revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit());
    if is_commit { &revision[..12] } else { revision }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinProposal {
    Keep,
    /// The project is back at the side in use.
    Drop,
    /// Propose what is wanted, in place of what was proposed before.
    Propose,
}

/// What becomes of the proposed side. One that is just being proven is not given up for a newer one: a project that
/// moves faster than its suite runs would never get any further.
pub fn propose(
    wanted: &ProjectInputs,
    current: &ProjectInputs,
    proposed: Option<&ProjectInputs>,
    under_way: bool,
    relock: bool,
) -> PinProposal {
    match proposed {
        Some(_) if under_way => PinProposal::Keep,
        Some(proposed) if proposed == wanted => PinProposal::Keep,
        Some(_) if current == wanted => PinProposal::Drop,
        Some(_) => PinProposal::Propose,
        None if current == wanted && !relock => PinProposal::Keep,
        None => PinProposal::Propose,
    }
}

#[cfg(test)]
mod tests;
