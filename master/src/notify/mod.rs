//! Decides notices: when nothing open could still belong to a culprit, its thread is told what it broke, once.

pub mod own_inputs;
pub mod post;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::breakage::dependency::{self, DependencyContext, FiledUnder, NeededProject};
use domain::breakage::flaky::is_of_step;
use domain::notice::{
    self, Correction, HOUR_MS, MailRate, MailText, Proof, ReportedBreakage, ReportedChange, weather,
};
use domain::words::ids::{BreakageId, ChangeId, Timestamp, TrunkId};
use domain::words::states::NoticeKind;
use domain::words::{BreakageState, Reason};
use store::{Breakage, Builder, NewNotice, Write};

use crate::config::Config;
use crate::schedule::canaries;

/// How long a culprit that is found waits for searches that may yet end at it.
const LONGEST: Duration = Duration::from_secs(3600);

/// Looks at every culprit that has something untold, and puts what is due into the outbox.
pub async fn announce(tx: &mut Write<'_>, config: &Config, at: Timestamp) -> store::Result<()> {
    // What a farm that cannot see has found is told when it can.
    let blind = canaries::blind(tx).await?;
    correct(tx, config, &blind, at).await?;
    for culprit in tx.culprits_to_announce().await? {
        if blind.contains(&tx.change(culprit).await?.trunk) {
            continue;
        }
        // What was rewound is nobody's news, and nobody's repair.
        let mut breakages = tx.breakages_by(culprit).await?;
        breakages.retain(|breakage| breakage.state != BreakageState::Gone);
        let told = tx.thread(culprit).await?.told;
        let news: Vec<Breakage> =
            breakages.iter().filter(|breakage| !told.contains(&breakage.id)).cloned().collect();
        let patient = news.iter().all(|breakage| breakage.found_at.is_none_or(|found| found + LONGEST > at));
        let waits = match may_spread(tx, culprit).await? {
            Spread::Over => false,
            Spread::Open => patient,
            Spread::Sick => true,
        };
        if !news.is_empty() && !waits && are_known(tx, &news, config.search.null_runs).await? {
            tell(tx, config, culprit, &news, at).await?;
        }
        tell_fixed(tx, config, culprit, &breakages, at).await?;
    }
    Ok(())
}

/// Takes back in its thread what was said of a change that the farm no longer holds for the culprit.
async fn correct(
    tx: &mut Write<'_>,
    config: &Config,
    blind: &BTreeSet<TrunkId>,
    at: Timestamp,
) -> store::Result<()> {
    let mut wrong: BTreeMap<(ChangeId, Option<ChangeId>, &str), Vec<Breakage>> = BTreeMap::new();
    for (told, breakage) in tx.wrong_notices().await? {
        if blind.contains(&tx.change(told).await?.trunk) {
            continue;
        }
        let breakage = tx.breakage(breakage).await?;
        let found = breakage.found.unwrap_or(breakage.state).as_str();
        wrong.entry((told, breakage.culprit, found)).or_default().push(breakage);
    }
    for ((told, culprit, _), breakages) in wrong {
        let found = breakages[0].found.unwrap_or(breakages[0].state);
        let change = self::change(tx, config, told, &breakages[0]).await?;
        let instead = match (found, culprit) {
            (BreakageState::Named | BreakageState::OneOfK, Some(culprit)) => {
                Correction::Culprit(self::change(tx, config, culprit, &breakages[0]).await?)
            }
            (BreakageState::Flaky, _) => Correction::Flaky,
            (BreakageState::Environment, _) => Correction::Environment,
            (
                BreakageState::Named
                | BreakageState::OneOfK
                | BreakageState::Inconclusive
                | BreakageState::Suspected
                | BreakageState::Searching
                | BreakageState::Fixed
                | BreakageState::Gone,
                _,
            ) => Correction::Unknown,
        };
        let broken = broken(tx, config, &breakages).await?;
        let letter = notice::correction(&change, &instead, &broken, &config.name);
        put(tx, config, NoticeKind::Correction, told, &breakages, letter, at).await?;
    }
    Ok(())
}

/// Whether the suites have run often enough for a mail to speak of them. A compiler is no flaky test.
async fn are_known(tx: &mut Write<'_>, news: &[Breakage], enough: u32) -> store::Result<bool> {
    for breakage in news {
        let suite = tx.builder(breakage.builder).await?.project.is_some();
        if suite && tx.runs(breakage.builder).await? < enough {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether searches are open that may yet end at a change: then one mail waits for all.
enum Spread {
    Over,
    Open,
    /// A sick change is their bad end: there will be many, and the mail waits for the last one.
    Sick,
}

async fn may_spread(tx: &mut Write<'_>, culprit: ChangeId) -> store::Result<Spread> {
    let mut spread = Spread::Over;
    for open in tx.undecided_breakages().await? {
        let branch = tx.builder(open.builder).await?.branch;
        let order = tx.order(branch).await?;
        let at = |change: ChangeId| order.iter().position(|known| *known == change);
        if let (Some(good), Some(culprit), Some(bad)) = (at(open.good), at(culprit), at(open.bad))
            && good < culprit
            && culprit <= bad
        {
            if tx.sick_changes(branch).await?.contains(&open.bad) {
                return Ok(Spread::Sick);
            }
            spread = Spread::Open;
        }
    }
    Ok(spread)
}

async fn tell(
    tx: &mut Write<'_>,
    config: &Config,
    culprit: ChangeId,
    news: &[Breakage],
    at: Timestamp,
) -> store::Result<()> {
    let thread = tx.thread(culprit).await?;
    let change = change(tx, config, culprit, &news[0]).await?;
    let broken = broken(tx, config, news).await?;
    let (kind, letter) = match thread.root {
        None => {
            let proof = proof(tx, &news[0]).await?;
            (NoticeKind::Named, notice::named(&change, &proof, &broken, &config.name))
        }
        Some(_) => (NoticeKind::Spread, notice::spread(&change, &broken, &config.name)),
    };
    put(tx, config, kind, culprit, news, letter, at).await
}

/// One reply, when everything that the culprit broke is repaired.
async fn tell_fixed(
    tx: &mut Write<'_>,
    config: &Config,
    culprit: ChangeId,
    breakages: &[Breakage],
    at: Timestamp,
) -> store::Result<()> {
    let thread = tx.thread(culprit).await?;
    let told: Vec<Breakage> =
        breakages.iter().filter(|breakage| thread.told.contains(&breakage.id)).cloned().collect();
    let all_fixed = told.iter().all(|breakage| breakage.state == BreakageState::Fixed);
    let news = told.iter().any(|breakage| !thread.told_fixed.contains(&breakage.id));
    let (true, true, Some(fix)) = (all_fixed, news, told.iter().filter_map(|b| b.fixed).max_by_key(|f| f.by))
    else {
        return Ok(());
    };
    let change = change(tx, config, culprit, &told[0]).await?;
    let fixer = self::change(tx, config, fix.by, &told[0]).await?;
    let branch = tx.builder(told[0].builder).await?.branch;
    let order = tx.order(branch).await?;
    let at_order = |change: ChangeId| order.iter().position(|known| *known == change);
    let repair = match at_order(fix.by) {
        // At a baseline: the change stayed what it was, and the project has another side.
        _ if fix.after == fix.by => notice::RepairReport::ByItself,
        by if at_order(fix.after).map(|after| after + 1) == by => notice::RepairReport::By,
        _ => notice::RepairReport::AtTheLatestBy,
    };
    let broken = broken(tx, config, &told).await?;
    let letter = notice::fixed(&change, &fixer, repair, &broken, &config.name);
    put(tx, config, NoticeKind::Fixed, culprit, &told, letter, at).await
}

async fn put(
    tx: &mut Write<'_>,
    config: &Config,
    kind: NoticeKind,
    culprit: ChangeId,
    about: &[Breakage],
    letter: MailText,
    at: Timestamp,
) -> store::Result<()> {
    let thread = tx.thread(culprit).await?;
    let mut recipients: BTreeSet<String> = thread.recipients.into_iter().collect();
    if let Some(mail) = &config.mail {
        recipients.extend(mail.list.iter().map(ToString::to_string));
    }
    for breakage in about {
        if let Some(project) = project_name(tx, breakage).await?
            && let Some(project) = config.projects.iter().find(|known| known.name == project)
        {
            recipients.extend(project.contacts.iter().map(ToString::to_string));
        }
    }
    let sha = tx.change(culprit).await?.sha;
    if storm(tx, config, culprit, &about[0], &sha, at).await? {
        return Ok(());
    }
    let breakages: Vec<BreakageId> = about.iter().map(|breakage| breakage.id).collect();
    let said: &[BreakageId] = match kind {
        NoticeKind::Fixed => &thread.told_fixed,
        NoticeKind::Correction => &[],
        NoticeKind::ProjectInputs | NoticeKind::Named | NoticeKind::Spread | NoticeKind::Storm => {
            &thread.told
        }
    };
    let first = first_news(&breakages, said);
    // What was corrected may be told, and corrected, again.
    let again = match kind {
        NoticeKind::Named | NoticeKind::Fixed => String::new(),
        NoticeKind::ProjectInputs | NoticeKind::Spread | NoticeKind::Storm | NoticeKind::Correction => {
            format!(".{at}")
        }
    };
    let notice = NewNotice {
        kind,
        change: culprit,
        recipients: recipients.into_iter().collect(),
        subject: letter.subject,
        body: letter.body,
        message_id: format!("<{sha}.{kind}.{first}{again}@{}>", host(&config.url)),
        in_reply_to: thread.root,
        breakages,
    };
    tx.put_notice(&notice, at).await?;
    Ok(())
}

/// Whether the list has had enough for this hour. It is told so once; what waits is decided anew when the hour is over.
async fn storm(
    tx: &mut Write<'_>,
    config: &Config,
    culprit: ChangeId,
    of: &Breakage,
    sha: &str,
    at: Timestamp,
) -> store::Result<bool> {
    let lists: Vec<String> =
        config.mail.iter().flat_map(|mail| mail.list.iter().map(ToString::to_string)).collect();
    let since = Timestamp(at.0 - HOUR_MS);
    let (mut notices, mut told) = (0, true);
    for list in &lists {
        let (so_many, storm_told) = tx.notices_to(list, since).await?;
        notices = notices.max(so_many);
        told &= storm_told;
    }
    match weather(notices, told) {
        MailRate::Calm => return Ok(false),
        MailRate::Storm => return Ok(true),
        MailRate::Breaks => {}
    }
    let trunk = change(tx, config, culprit, of).await?.trunk;
    let letter = notice::storm(&trunk, &config.url, &config.name);
    let storm = NewNotice {
        kind: NoticeKind::Storm,
        change: culprit,
        recipients: lists,
        subject: letter.subject,
        body: letter.body,
        message_id: format!("<{sha}.storm.{at}@{}>", host(&config.url)),
        in_reply_to: None,
        breakages: Vec::new(),
    };
    tx.put_notice(&storm, at).await?;
    tracing::warn!("a storm: further notices wait until the hour is over");
    Ok(true)
}

/// What tells a thread's messages of one kind apart: a later one speaks of the earlier one's breakages, too.
fn first_news(about: &[BreakageId], said: &[BreakageId]) -> i64 {
    about.iter().filter(|id| !said.contains(id)).map(|id| id.0).min().unwrap_or(0)
}

pub fn host(url: &str) -> &str {
    let behind = url.split_once("://").map_or(url, |(_, behind)| behind);
    behind.split(['/', ':']).next().unwrap_or(behind)
}

async fn change(
    tx: &mut Write<'_>,
    config: &Config,
    change: ChangeId,
    of: &Breakage,
) -> store::Result<ReportedChange> {
    let row = tx.change(change).await?;
    let branch = tx.builder(of.builder).await?.branch;
    let branch = tx.branch(branch).await?;
    let trunks = tx.trunks().await?;
    let trunk = trunks.into_iter().find(|trunk| trunk.id == row.trunk);
    Ok(ReportedChange {
        trunk: trunk.ok_or(store::Error::NotFound("trunk"))?.name,
        branch: branch.name,
        url: format!("{}/changes/{}", config.url, row.sha),
        sha: row.sha,
        title: row.title,
        author: row.author,
    })
}

async fn project_name(tx: &mut Write<'_>, breakage: &Breakage) -> store::Result<Option<String>> {
    let builder = tx.builder(breakage.builder).await?;
    match builder.project {
        Some(project) => Ok(Some(tx.project(project).await?.name)),
        None => Ok(None),
    }
}

async fn broken(
    tx: &mut Write<'_>,
    config: &Config,
    of: &[Breakage],
) -> store::Result<Vec<ReportedBreakage>> {
    let mut projects = Vec::with_capacity(of.len());
    for breakage in of {
        projects.push(project_name(tx, breakage).await?);
    }
    let mut broken = Vec::with_capacity(of.len());
    for (breakage, project) in of.iter().zip(&projects) {
        let builder = tx.builder(breakage.builder).await?;
        let text = tx.first_failure_message(breakage.builder, breakage.bad, &breakage.cases).await?;
        let failing = breakage.cases.difference(&breakage.not_run).copied().collect();
        let (failing, lost) = (tx.case_names(&failing).await?, tx.case_names(&breakage.not_run).await?);
        broken.push(ReportedBreakage {
            filed: match project {
                Some(own) => filed(tx, &builder, own, text.as_deref(), &projects).await?,
                None => None,
            },
            project: project.clone(),
            platform: builder.label,
            cases: tests(failing, !lost.is_empty()),
            lost,
            text,
            url: format!("{}/breakages/{}", config.url, breakage.id),
        });
    }
    Ok(broken)
}

/// Under which dependency a project's failure is filed, where one change broke these projects.
async fn filed(
    tx: &mut Write<'_>,
    builder: &Builder,
    own: &str,
    text: Option<&str>,
    broken: &[Option<String>],
) -> store::Result<Option<FiledUnder>> {
    let needed = tx.needs_of_builder(builder.id.0).await?.into_iter();
    let needed: Vec<NeededProject> = needed
        .map(|name| NeededProject {
            has_same_culprit: broken.iter().flatten().any(|project| *project == name),
            may_be_it: false,
            name,
        })
        .collect();
    let registered: Vec<String> = tx.projects().await?.into_iter().map(|project| project.name).collect();
    Ok(dependency::file(text, &DependencyContext { own, needed: &needed, registered: &registered }))
}

/// A step goes bad with its tests: where they are named, it is no further test that broke.
pub fn tests(cases: Vec<String>, others: bool) -> Vec<String> {
    match !others && cases.iter().all(|case| is_of_step(case)) {
        true => cases,
        false => cases.into_iter().filter(|case| !is_of_step(case)).collect(),
    }
}

async fn proof(tx: &mut Write<'_>, breakage: &Breakage) -> store::Result<Proof> {
    let branch = tx.builder(breakage.builder).await?.branch;
    let order = tx.order(branch).await?;
    let at = |change: Option<ChangeId>| order.iter().position(|known| Some(*known) == change);
    // Probes of other searches among the same changes are proof as well.
    let range = match (at(Some(breakage.good)), at(Some(breakage.bad))) {
        (Some(good), Some(bad)) if good <= bad => &order[good..=bad],
        _ => &[],
    };
    let evidence = tx.evidence(breakage, range).await?;
    let runs = evidence.iter().filter(|row| row.reason == Reason::Probe).count();
    let suspects = match (at(breakage.parent), at(breakage.culprit)) {
        (Some(parent), Some(culprit)) => culprit.saturating_sub(parent),
        _ => 1,
    };
    let parent = match breakage.parent {
        Some(parent) => tx.change(parent).await?.sha,
        None => String::new(),
    };
    Ok(Proof { parent, runs, suspects, one_machine: tx.workers().await?.len() == 1 })
}

#[cfg(test)]
mod tests {
    use domain::words::ids::BreakageId;

    #[test]
    fn a_second_repair_in_a_thread_has_a_message_id_of_its_own() {
        let ids = |ids: &[i64]| ids.iter().copied().map(BreakageId).collect::<Vec<_>>();
        let first = super::first_news(&ids(&[4]), &[]);
        assert_eq!(first, 4);
        assert_eq!(super::first_news(&ids(&[3, 4]), &ids(&[4])), 3);
        assert_eq!(super::first_news(&ids(&[4, 7, 9]), &ids(&[4])), 7);
    }

    #[test]
    fn a_step_is_named_only_where_no_test_is() {
        let of = |cases: &[&str]| super::tests(cases.iter().map(ToString::to_string).collect(), false);
        assert_eq!(of(&["greets", "step:test"]), ["greets"]);
        assert_eq!(of(&["step:compile"]), ["step:compile"]);
        let lost = super::tests(vec!["step:test".to_string()], true);
        assert!(lost.is_empty(), "the tests that are not run are named: {lost:?}");
    }
}
