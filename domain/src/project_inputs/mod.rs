//! The inputs of a history: neighbouring history builds differ in the change, in the toolchain inputs or in the project
//! inputs, never in two of them.
//!
//! New inputs first repeat an old change: the *baseline*. What differs there was caused by the project, or by the farm.

pub mod environment;
pub mod inputs_hash;
pub mod source_only;
pub mod toolchain;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::Verdict;

use crate::breakage::flaky::is_of_step;
use crate::breakage::is_run;
use crate::readers;
use crate::words::ids::{BuildId, CaseId, ChangeId, PinId, Timestamp, ToolchainInputsId};

/// How long inputs that made cases worse wait before they are used nevertheless. Project inputs do not wait if those in
/// use cannot be had any more.
pub const LONGEST: Duration = Duration::from_secs(14 * 24 * 3600);
/// How long after a baseline without a result the next one is made.
pub const PAUSE: Duration = Duration::from_secs(3600);

/// What a build ran with, apart from its change. One of the two moves at a time, and each only forwards, so the inputs of a
/// history are ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputsId {
    /// Those of the toolchain that it made or used; none of a build that is older than toolchain inputs.
    pub toolchain: Option<ToolchainInputsId>,
    /// The project inputs; none of a toolchain.
    pub pin: Option<PinId>,
}

impl InputsId {
    /// Whether a history may go from these inputs to those in one step: one of the two is newer, and the other is equal.
    fn precedes(self, later: InputsId) -> bool {
        (self.toolchain == later.toolchain && self.pin < later.pin)
            || (self.toolchain < later.toolchain && self.pin == later.pin)
    }
}

/// A finished history build of a builder, on a change that its branch still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimelineBuild {
    /// The build.
    pub build: BuildId,
    /// Its change.
    pub change: ChangeId,
    /// The position of the change on the branch.
    pub position: i64,
    /// What it ran with.
    pub inputs: InputsId,
    /// Whether it is a baseline build.
    pub is_baseline: bool,
    /// Whether it reported all its cases.
    pub complete: bool,
}

/// The builds that make a builder's history, in order: those with each inputs from their baseline to the baseline of the
/// next inputs. Builds with the old inputs after that baseline are no longer part of the history; at the baseline itself
/// there is a build with both, the old inputs first.
pub fn history(history_builds: &[TimelineBuild]) -> Vec<TimelineBuild> {
    let mut by_inputs: BTreeMap<InputsId, BTreeMap<i64, TimelineBuild>> = BTreeMap::new();
    let mut newest_first: Vec<&TimelineBuild> = history_builds.iter().collect();
    newest_first.sort_by_key(|history_build| std::cmp::Reverse(history_build.build));
    for history_build in newest_first {
        by_inputs
            .entry(history_build.inputs)
            .or_default()
            .entry(history_build.position)
            .or_insert(*history_build);
    }
    let mut history = Vec::with_capacity(history_builds.len());
    let mut upto = i64::MAX;
    let mut inputs = by_inputs.keys().next_back().copied();
    while let Some(builds) = inputs.and_then(|inputs| by_inputs.get(&inputs)) {
        let Some(first) = first_of(builds) else { break };
        if first.position <= upto {
            history
                .extend(builds.range(first.position..=upto).rev().map(|(_, history_build)| *history_build));
        }
        upto = upto.min(first.position);
        inputs = inputs.and_then(|inputs| inputs_before(&by_inputs, inputs));
    }
    history.reverse();
    history
}

/// The build with which the history goes on with its inputs: their last baseline, or else the first of these builds.
fn first_of(builds: &BTreeMap<i64, TimelineBuild>) -> Option<&TimelineBuild> {
    let baselines = builds.values().filter(|history_build| history_build.is_baseline);
    baselines.max_by_key(|history_build| history_build.build).or(builds.values().next())
}

/// The inputs that a history had before these. Of the two ways to come to them, that of the last baseline counts: a baseline
/// of project inputs that were taken into use only after a change of the toolchain inputs joins nothing.
fn inputs_before(
    by_inputs: &BTreeMap<InputsId, BTreeMap<i64, TimelineBuild>>,
    inputs: InputsId,
) -> Option<InputsId> {
    let earlier = || by_inputs.range(..inputs).rev().map(|(earlier, _)| *earlier);
    let began = |inputs: &InputsId| by_inputs.get(inputs).and_then(first_of).map(|first| first.build);
    let by_toolchain = earlier().find(|earlier| earlier.precedes(inputs) && earlier.pin == inputs.pin);
    let by_pin = earlier().find(|earlier| earlier.precedes(inputs) && earlier.pin != inputs.pin);
    let one_step = [by_pin, by_toolchain].into_iter().flatten().max_by_key(began);
    // A history is never lost, even if no baseline joins it. Whatever differs there accuses no change.
    one_step.or_else(|| earlier().find(|earlier| earlier.pin <= inputs.pin))
}

/// The indices in a history at which other inputs begin.
pub fn begins(history: &[TimelineBuild]) -> BTreeSet<usize> {
    (1..history.len()).filter(|&at| history[at].inputs != history[at - 1].inputs).collect()
}

/// The inputs with which a change at this position is tested; none before the first build.
pub fn at(history: &[TimelineBuild], position: i64) -> Option<InputsId> {
    let starts = begins(history);
    let start = starts.iter().rev().find(|&&start| history[start].position <= position);
    history.get(start.copied().unwrap_or(0)).map(|history_build| history_build.inputs)
}

/// The build that new inputs repeat: the newest complete one on a change that is not sick. If no build is complete,
/// the newest one.
pub fn baseline_at<'h>(history: &'h [TimelineBuild], sick: &BTreeSet<ChangeId>) -> Option<&'h TimelineBuild> {
    history
        .iter()
        .rfind(|history_build| history_build.complete && !sick.contains(&history_build.change))
        .or(history.last())
}

/// The last build of a history with other project inputs than these.
pub fn last_before(history: &[TimelineBuild], pin: PinId) -> Option<&TimelineBuild> {
    history.iter().rfind(|history_build| history_build.inputs.pin != Some(pin))
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

/// Leaves the steps out of the runs with the old inputs where a test that was never run with them fails in each run with the
/// new ones: a step fails along with it, and nothing that was good before is worse. Any test that is worse has a case of its
/// own.
pub fn excuse_steps(old: &mut [CaseVerdicts], new: &[CaseVerdicts], names: &BTreeMap<CaseId, String>) {
    let is_test =
        |case: &CaseId| names.get(case).is_some_and(|name| !is_of_step(name) && !readers::is_fault(name));
    let was_run = |case: &CaseId| {
        old.iter().filter_map(|run| run.get(case)).any(|verdict| is_run(*verdict) != Some(false))
    };
    let fails = |case: &CaseId| new.iter().all(|run| run.get(case).is_some_and(|verdict| verdict.is_bad()));
    let mut cases = new.first().into_iter().flat_map(BTreeMap::keys);
    if cases.any(|case| is_test(case) && !was_run(case) && fails(case)) {
        for run in old {
            run.retain(|case, _| !names.get(case).is_some_and(|name| is_of_step(name)));
        }
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

/// What to do with the proposed inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputsProposal {
    /// Nothing.
    Keep,
    /// Drop them: those in use are wanted again.
    Drop,
    /// Propose the wanted inputs, in place of any that were proposed before.
    Propose,
}

/// Decides what to do with the proposed inputs. Inputs that are being proven are not given up for newer ones, or a project
/// that changes faster than its suite runs would never get any further. `relock` means that the lock is too old.
pub fn propose<T: PartialEq>(
    wanted: &T,
    current: &T,
    proposed: Option<&T>,
    under_way: bool,
    relock: bool,
) -> InputsProposal {
    match proposed {
        Some(_) if under_way => InputsProposal::Keep,
        Some(proposed) if proposed == wanted => InputsProposal::Keep,
        Some(_) if current == wanted => InputsProposal::Drop,
        Some(_) => InputsProposal::Propose,
        None if current == wanted && !relock => InputsProposal::Keep,
        None => InputsProposal::Propose,
    }
}

#[cfg(test)]
mod switches;
#[cfg(test)]
mod tests;
