//! The project inputs of a history: neighbouring history builds differ in the change or in the project inputs, never in
//! both.
//!
//! New project inputs first repeat an old change: the *baseline*. What differs there was caused by the project.

pub mod environment;
pub mod inputs_hash;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::Verdict;

use crate::words::ids::{BuildId, CaseId, ChangeId, PinId, Timestamp};

/// How long project inputs that made cases worse wait before they are used nevertheless. They do not wait if those in use
/// cannot be had any more.
pub const LONGEST: Duration = Duration::from_secs(14 * 24 * 3600);
/// How long after a baseline without a result the next one is made.
const PAUSE: Duration = Duration::from_secs(3600);

/// A finished history build of a builder, on a change that its branch still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimelineBuild {
    /// The build.
    pub build: BuildId,
    /// Its change.
    pub change: ChangeId,
    /// The position of the change on the branch.
    pub position: i64,
    /// Its project inputs; none for a toolchain.
    pub pin: Option<PinId>,
    /// Whether it is a baseline build.
    pub is_baseline: bool,
    /// Whether it reported all its cases.
    pub complete: bool,
}

/// The builds that make a builder's history, in order: those with each project inputs from their baseline to the baseline of
/// the next inputs. Builds with the old inputs after that baseline are no longer part of the history; at the baseline
/// itself there is a build with both, the old inputs first.
pub fn history(history_builds: &[TimelineBuild]) -> Vec<TimelineBuild> {
    let mut by_inputs: BTreeMap<Option<PinId>, BTreeMap<i64, TimelineBuild>> = BTreeMap::new();
    let mut newest_first: Vec<&TimelineBuild> = history_builds.iter().collect();
    newest_first.sort_by_key(|history_build| std::cmp::Reverse(history_build.build));
    for history_build in newest_first {
        by_inputs
            .entry(history_build.pin)
            .or_default()
            .entry(history_build.position)
            .or_insert(*history_build);
    }
    let mut history = Vec::with_capacity(history_builds.len());
    let mut upto = i64::MAX;
    for builds in by_inputs.values().rev() {
        let baseline = builds
            .values()
            .filter(|history_build| history_build.is_baseline)
            .max_by_key(|history_build| history_build.build);
        let Some(from) = baseline.or(builds.values().next()).map(|history_build| history_build.position)
        else {
            continue;
        };
        if from <= upto {
            history.extend(builds.range(from..=upto).rev().map(|(_, history_build)| *history_build));
        }
        upto = upto.min(from);
    }
    history.reverse();
    history
}

/// The indices in a history at which other project inputs begin.
pub fn begins(history: &[TimelineBuild]) -> BTreeSet<usize> {
    (1..history.len()).filter(|&at| history[at].pin != history[at - 1].pin).collect()
}

/// The project inputs with which a change at this position is tested.
pub fn at(history: &[TimelineBuild], position: i64) -> Option<PinId> {
    let starts = begins(history);
    let start = starts.iter().rev().find(|&&start| history[start].position <= position);
    history.get(start.copied().unwrap_or(0)).and_then(|history_build| history_build.pin)
}

/// The build that new project inputs repeat: the newest complete one on a change that is not sick. If no build is complete,
/// the newest one.
pub fn baseline_at<'h>(history: &'h [TimelineBuild], sick: &BTreeSet<ChangeId>) -> Option<&'h TimelineBuild> {
    history
        .iter()
        .rfind(|history_build| history_build.complete && !sick.contains(&history_build.change))
        .or(history.last())
}

/// The verdict of each case in a run.
pub type CaseVerdicts = BTreeMap<CaseId, Verdict>;

/// The old or the new project inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputsVersion {
    /// Those in use.
    Old,
    /// Those that are proposed.
    New,
}

/// How new project inputs compare with the old ones, from runs of both on one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputsComparison {
    /// No case is worse.
    NoWorse,
    /// Cases may be worse: run the change once more with these inputs.
    Unsure(InputsVersion),
    /// These cases are worse.
    Worse(BTreeSet<CaseId>),
}

/// Compares project inputs by the first run of each; later runs confirm. A case is worse if it is good in each run with the
/// old inputs, and in none with the new ones. Projects often remove tests, so missing cases count only if fewer than half
/// remain.
///
/// `is_old_gone` means that the old ones cannot be run once more: then their one run decides.
pub fn compare(old: &[CaseVerdicts], new: &[CaseVerdicts], is_old_gone: bool) -> InputsComparison {
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
        (false, _, 1) if !is_old_gone => InputsComparison::Unsure(InputsVersion::Old),
        (false, ..) => InputsComparison::Worse(worse),
    }
}

fn is_good(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Pass | Verdict::Xfail | Verdict::Xpass => true,
        Verdict::Fail | Verdict::Error | Verdict::Skip | Verdict::Missing | Verdict::Unreached => false,
    }
}

/// The last baseline build of a builder with new project inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaselineBuild {
    /// The change that it repeats.
    pub change: ChangeId,
    /// How far it is.
    pub ran: BaselineProgress,
}

/// How far a baseline build is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaselineProgress {
    /// It runs, or a run that confirms it runs.
    UnderWay,
    /// It ended without a result.
    NoResult {
        /// When it ended.
        ended: Timestamp,
    },
    /// It ended with this result.
    Compared(InputsComparison),
}

/// What is known of new project inputs at a builder where they are to be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaselineFacts {
    /// The change that a baseline build would repeat now; none while there is no history to join.
    pub at: Option<ChangeId>,
    /// Whether a history build of the builder waits or runs.
    pub busy: bool,
    /// The last baseline build.
    pub baseline: Option<BaselineBuild>,
    /// Since when the inputs wait because cases got worse.
    pub worse_since: Option<Timestamp>,
    /// Whether the old inputs cannot be had any more: nothing can be tested with them, nor compared once more.
    pub is_old_gone: bool,
    /// Whether the change's toolchain works on one worker only, and that worker is away.
    pub is_stranded: bool,
}

/// What to do about new project inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaselineStep {
    /// Repeat this change with them.
    Repeat(ChangeId),
    /// Run the repeated change once more with these inputs.
    Confirm(InputsVersion),
    /// A build is under way; make no other history build until it ends.
    Wait,
    /// The baseline build has no result because of the farm: go on with the old inputs, and try again later.
    Later,
    /// These cases got worse: go on with the old inputs.
    Hold(BTreeSet<CaseId>),
    /// Use the new inputs from now on.
    Take,
}

impl BaselineStep {
    /// Whether the builder's history must not grow meanwhile, or the baseline would no longer join its end.
    pub fn holds_history(&self) -> bool {
        match self {
            BaselineStep::Repeat(_) | BaselineStep::Confirm(_) | BaselineStep::Wait => true,
            BaselineStep::Later | BaselineStep::Hold(_) | BaselineStep::Take => false,
        }
    }
}

/// Decides what to do about new project inputs.
pub fn next(facts: &BaselineFacts, now: Timestamp) -> BaselineStep {
    let Some(at) = facts.at else { return BaselineStep::Take };
    let repeat = match (facts.is_stranded, facts.busy) {
        // History goes on on other workers, and a change of theirs can be repeated.
        (true, _) => BaselineStep::Later,
        (false, true) => BaselineStep::Wait,
        (false, false) => BaselineStep::Repeat(at),
    };
    let Some(baseline) = &facts.baseline else { return repeat };
    let take = if baseline.change == at { BaselineStep::Take } else { repeat.clone() };
    match &baseline.ran {
        BaselineProgress::UnderWay => BaselineStep::Wait,
        BaselineProgress::NoResult { ended } if now < *ended + PAUSE => BaselineStep::Later,
        BaselineProgress::NoResult { .. } => repeat,
        BaselineProgress::Compared(InputsComparison::NoWorse) => take,
        BaselineProgress::Compared(InputsComparison::Unsure(InputsVersion::Old)) if facts.is_old_gone => take,
        BaselineProgress::Compared(InputsComparison::Unsure(which)) => BaselineStep::Confirm(*which),
        BaselineProgress::Compared(InputsComparison::Worse(_))
            if facts.is_old_gone || facts.worse_since.is_some_and(|since| since + LONGEST <= now) =>
        {
            take
        }
        BaselineProgress::Compared(InputsComparison::Worse(cases)) => BaselineStep::Hold(cases.clone()),
    }
}

/// All inputs of a suite build but the trunk and the lock; the first run makes the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectInputs {
    /// The project's revision.
    pub revision: String,
    /// The hash of its recipe.
    pub recipe: protocol::Sha256,
    /// The registered projects that it needs, each with its revision, by name.
    pub needs: Vec<(String, String)>,
}

/// Whether the first run of a recipe chooses dependencies for all others: a step reads the lock. A recipe that only writes
/// a lock would choose again in each run.
pub fn chooses(recipe: &protocol::Recipe) -> bool {
    recipe.steps.iter().any(|step| step.run.contains("FARM_LOCK"))
}

/// One difference between two project inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputsDifference {
    /// `revision 1f3a... is now 77bd...`
    pub words: String,
    /// The needed project that moved, where it is one.
    pub need: Option<String>,
}

/// How new project inputs differ from the old ones. Two that are equal differ in the lock.
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
        let before =
            old.needs.iter().find(|(old_name, _)| old_name == name).map(|(_, revision)| revision.as_str());
        if before != Some(revision.as_str()) {
            let words = format!("{name} {} is now {}", before.map_or("(none)", short), short(revision));
            differs.push(InputsDifference { words, need: Some(name.clone()) });
        }
    }
    for (name, _) in old.needs.iter().filter(|(name, _)| !new.needs.iter().any(|(known, _)| known == name)) {
        differs.push(own(format!("{name} is no longer needed")));
    }
    if differs.is_empty() {
        differs.push(own("its locked dependencies were chosen again".into()));
    }
    differs
}

/// Reads the answer of a project's `latest` command. A revision is one word that can stand in a variable, on a page and in
/// a mail; the error is a sentence about any other answer.
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

/// A commit by its first 12 digits; any other revision as a whole.
pub fn short(revision: &str) -> &str {
    let is_commit = revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit());
    if is_commit { &revision[..12] } else { revision }
}

/// What to do with the proposed project inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinProposal {
    /// Nothing.
    Keep,
    /// Drop them: the project is back at the inputs in use.
    Drop,
    /// Propose the wanted inputs, in place of any that were proposed before.
    Propose,
}

/// Decides what to do with the proposed project inputs. Inputs that are being proven are not given up for newer ones, or a
/// project that changes faster than its suite runs would never get any further. `relock` means that the lock is too old.
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
