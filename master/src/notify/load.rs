//! Loads what a decision about mail needs: a culprit's thread, its breakages with the runs that prove them, and the
//! searches that may yet end at it.

use std::collections::{BTreeMap, BTreeSet};

use domain::notice::age::{BreakageDates, age};
use domain::notice::report::{ReportedBreakage, ReportedChange, named_cases};
use domain::notice::{
    CorrectionInputs, ListTraffic, NoticeContext, OpenSearches, ThreadBreakage, ThreadFix, ThreadInputs,
    storm,
};
use domain::sentences::{Blame, RepairClaim, VariantState};
use domain::words::BreakageState;
use domain::words::ids::{ChangeId, Timestamp, TrunkId};
use store::{Breakage, Thread, Write};

use crate::config::Config;

pub async fn load_context(tx: &mut Write<'_>, config: &Config) -> store::Result<NoticeContext> {
    Ok(NoticeContext {
        farm: config.name.clone(),
        url: config.url.clone(),
        enough_runs: config.search.null_runs,
        registered: tx.projects().await?.into_iter().map(|project| project.name).collect(),
    })
}

pub async fn load_thread(
    tx: &mut Write<'_>,
    config: &Config,
    culprit: ChangeId,
    failing_canaries: &BTreeSet<TrunkId>,
    at: Timestamp,
) -> store::Result<ThreadInputs> {
    let thread = tx.thread(culprit).await?;
    let mut breakages = Vec::new();
    for breakage in tx.breakages_by(culprit).await? {
        breakages.push(load_breakage(tx, config, &breakage, &thread, at).await?);
    }
    Ok(ThreadInputs {
        change: load_change(tx, config, culprit).await?,
        breakages,
        has_root: thread.root.is_some(),
        open_searches: load_open_searches(tx, culprit).await?,
        is_canary_failing: failing_canaries.contains(&tx.change(culprit).await?.trunk),
        traffic: load_traffic(tx, config, at).await?,
    })
}

/// Breakages for which a thread named a change that the farm no longer holds for the culprit.
pub struct WrongClaim {
    /// The change that the thread is about.
    pub change: ChangeId,
    culprit: Option<ChangeId>,
    found: BreakageState,
    breakages: Vec<Breakage>,
}

/// The claims that are to be taken back now, by what was found instead.
pub async fn wrong_claims(
    tx: &mut Write<'_>,
    failing_canaries: &BTreeSet<TrunkId>,
) -> store::Result<Vec<WrongClaim>> {
    let mut claims: BTreeMap<(ChangeId, Option<ChangeId>, &str), WrongClaim> = BTreeMap::new();
    for (change, breakage) in tx.wrong_notices().await? {
        if failing_canaries.contains(&tx.change(change).await?.trunk) {
            continue;
        }
        let breakage = tx.breakage(breakage).await?;
        let (culprit, found) = (breakage.culprit, breakage.found.unwrap_or(breakage.state));
        let claim = claims.entry((change, culprit, found.as_str())).or_insert_with(|| WrongClaim {
            change,
            culprit,
            found,
            breakages: Vec::new(),
        });
        claim.breakages.push(breakage);
    }
    Ok(claims.into_values().collect())
}

pub async fn load_correction(
    tx: &mut Write<'_>,
    config: &Config,
    claim: &WrongClaim,
    at: Timestamp,
) -> store::Result<CorrectionInputs> {
    let thread = tx.thread(claim.change).await?;
    let mut breakages = Vec::with_capacity(claim.breakages.len());
    for breakage in &claim.breakages {
        breakages.push(load_breakage(tx, config, breakage, &thread, at).await?);
    }
    Ok(CorrectionInputs {
        change: load_change(tx, config, claim.change).await?,
        found: claim.found,
        culprit: match claim.culprit {
            Some(culprit) => Some(load_change(tx, config, culprit).await?),
            None => None,
        },
        breakages,
        traffic: load_traffic(tx, config, at).await?,
    })
}

pub async fn load_breakage(
    tx: &mut Write<'_>,
    config: &Config,
    breakage: &Breakage,
    thread: &Thread,
    at: Timestamp,
) -> store::Result<ThreadBreakage> {
    let builder = tx.builder(breakage.builder).await?;
    let order = tx.order(builder.branch).await?;
    let position = |change: ChangeId| order.iter().position(|other| *other == change);
    let suite_runs = match builder.project {
        Some(_) => Some(tx.runs(builder.id).await?),
        None => None,
    };
    let fix = match breakage.fixed {
        Some(fix) => Some(ThreadFix {
            by: fix.by,
            repair: RepairClaim::new(
                fix.after == fix.by,
                changes_between(position(fix.after), position(fix.by)),
            ),
            change: load_change(tx, config, fix.by).await?,
        }),
        None => None,
    };
    Ok(ThreadBreakage {
        id: breakage.id,
        state: breakage.state,
        found_at: breakage.found_at,
        age: age(&load_dates(tx, breakage, at).await?, at),
        is_announced: thread.announced.contains(&breakage.id),
        is_fix_announced: thread.announced_fixes.contains(&breakage.id),
        is_mentioned: thread.mentioned.contains(&breakage.id),
        branch: tx.branch(builder.branch).await?.name,
        suite_runs,
        fix,
        needs: tx.needs_of_builder(builder.id.0).await?,
        report: load_report(tx, config, breakage).await?,
    })
}

async fn load_dates(tx: &mut Write<'_>, breakage: &Breakage, at: Timestamp) -> store::Result<BreakageDates> {
    let seen_at = match breakage.culprit {
        Some(culprit) => tx.change(culprit).await?.found_at,
        None => at,
    };
    Ok(BreakageDates {
        state: breakage.state,
        culprit_seen_at: seen_at,
        builder_since: tx.builder_since(breakage.builder).await?.unwrap_or(at),
        found_at: breakage.found_at.unwrap_or(at),
        good_again_at: load_good_again(tx, breakage).await?,
    })
}

/// When the build ended that shows its cases good again: at its repair or, where none is proven, the newest one of its
/// builder.
async fn load_good_again(tx: &mut Write<'_>, breakage: &Breakage) -> store::Result<Option<Timestamp>> {
    let history = tx.history(breakage.builder).await?;
    let shown = match breakage.fixed {
        Some(fix) => history.iter().find(|build| build.change == fix.by),
        None => history.last(),
    };
    let Some(shown) = shown.map(|build| build.build) else { return Ok(None) };
    if breakage.fixed.is_none() {
        let mut verdicts = tx.case_verdicts_in_history(breakage.builder, shown).await?;
        tx.add_unreported(shown, &mut verdicts, breakage.cases.iter().copied()).await?;
        let is_good = |case| {
            let verdict = verdicts.get(&case).copied();
            verdict.and_then(|verdict| breakage.regression_kind(case).shows_good(verdict)) == Some(true)
        };
        if !breakage.cases.iter().all(|case| is_good(*case)) {
            return Ok(None);
        }
    }
    Ok(tx.build(shown).await?.finished_at)
}

async fn load_report(
    tx: &mut Write<'_>,
    config: &Config,
    breakage: &Breakage,
) -> store::Result<ReportedBreakage> {
    let builder = tx.builder(breakage.builder).await?;
    let failing = breakage.cases.difference(&breakage.not_run).copied().collect();
    let (failing, lost) = (tx.case_names(&failing).await?, tx.case_names(&breakage.not_run).await?);
    let quoted = tx.quoted_message(breakage).await?;
    let elsewhere = quoted.as_ref().map(|quoted| quoted.change).filter(|at| Some(*at) != breakage.culprit);
    let text_from = match elsewhere {
        Some(change) => Some(tx.change(change).await?.sha),
        None => None,
    };
    let (cases, steps) = named_cases(failing, !lost.is_empty());
    let order = tx.order(builder.branch).await?;
    let position = |change: Option<ChangeId>| order.iter().position(|other| Some(*other) == change);
    let suspects = changes_between(position(breakage.parent), position(breakage.culprit));
    Ok(ReportedBreakage {
        project: match builder.project {
            Some(project) => Some(tx.project(project).await?.name),
            None => None,
        },
        variants: load_variants(tx, breakage).await?,
        platform: builder.label,
        variant: builder.variant_name,
        cases,
        lost,
        steps,
        unreached: tx.unreached(breakage.id).await?,
        blame: Blame::new(breakage.state, breakage.found, suspects),
        text_from,
        text: quoted.map(|quoted| quoted.text),
        filed: None,
        parent: match breakage.parent {
            Some(parent) => Some(tx.change(parent).await?.sha),
            None => None,
        },
        runs: tx.proof(breakage.id).await?,
        url: format!("{}/breakages/{}", config.url, breakage.id),
    })
}

async fn load_variants(
    tx: &mut Write<'_>,
    breakage: &Breakage,
) -> store::Result<Vec<(String, VariantState)>> {
    let of_it = tx.breakage_variants(&[breakage.id.0]).await?.remove(&breakage.id.0).unwrap_or_default();
    Ok(of_it.into_iter().map(|known| (known.variant, known.state)).collect())
}

/// How many changes there are after one position up to another; 0 where one of them is not known.
fn changes_between(after: Option<usize>, upto: Option<usize>) -> usize {
    after.zip(upto).map_or(0, |(after, upto)| upto.saturating_sub(after))
}

/// A change as a mail reports it; the branch is that of the breakage in question.
pub async fn load_change(
    tx: &mut Write<'_>,
    config: &Config,
    change: ChangeId,
) -> store::Result<ReportedChange> {
    let row = tx.change(change).await?;
    let trunks = tx.trunks().await?;
    let trunk = trunks.into_iter().find(|trunk| trunk.id == row.trunk);
    Ok(ReportedChange {
        trunk: trunk.ok_or(store::Error::NotFound("trunk"))?.name,
        branch: String::new(),
        url: format!("{}/changes/{}", config.url, row.sha),
        sha: row.sha,
        title: row.title,
        author: row.author,
    })
}

async fn load_open_searches(tx: &mut Write<'_>, culprit: ChangeId) -> store::Result<OpenSearches> {
    let mut open_searches = OpenSearches::None;
    for open in tx.undecided_breakages().await? {
        let branch = tx.builder(open.builder).await?.branch;
        let order = tx.order(branch).await?;
        let at = |change: ChangeId| order.iter().position(|other| *other == change);
        if let (Some(good), Some(culprit), Some(bad)) = (at(open.good), at(culprit), at(open.bad))
            && good < culprit
            && culprit <= bad
        {
            if tx.sick_changes(branch).await?.contains(&open.bad) {
                return Ok(OpenSearches::AtSickChange);
            }
            open_searches = OpenSearches::Some;
        }
    }
    Ok(open_searches)
}

async fn load_traffic(tx: &mut Write<'_>, config: &Config, at: Timestamp) -> store::Result<ListTraffic> {
    let mut traffic = ListTraffic { notices: 0, storm_announced: true };
    for list in config.mail.iter().flat_map(|mail| &mail.list) {
        let list = list.to_string();
        let (notices, storm_announced) = tx.notices_to(&list, at - storm::PERIOD).await?;
        traffic.notices = traffic.notices.max(notices);
        traffic.storm_announced &= storm_announced;
    }
    Ok(traffic)
}
