//! Tells a project's contacts what its own new side broke. The trunk's list does not hear of it.

use std::collections::BTreeSet;

use domain::notice::{self, InputsReport, ReportedBreakage};
use domain::project_inputs;
use domain::words::ids::{CaseId, Timestamp};
use domain::words::states::NoticeKind;
use store::{Builder, NewNotice, Pin, Write};

use crate::config::Config;
use crate::notify::{host, tests};

pub async fn tell(
    tx: &mut Write<'_>,
    config: &Config,
    builder: &Builder,
    pin: &Pin,
    cases: &BTreeSet<CaseId>,
    at: Timestamp,
) -> store::Result<()> {
    let Some(baseline) = tx.last_baseline(builder.id, pin.id).await? else { return Ok(()) };
    let name = tx.project(pin.project).await?.name;
    let history = tx.history(builder.id).await?;
    let was = history
        .iter()
        .rfind(|history_build| history_build.pin != Some(pin.id))
        .and_then(|history_build| history_build.pin);
    let differs = match was {
        Some(was) => project_inputs::differs(&tx.pin(was).await?.side, &pin.side),
        None => Vec::new(),
    };
    // Where only a project that it needs has moved, that one's contacts are the ones who can mend it.
    let moved = differs.iter().filter_map(|differs| differs.need.as_deref());
    let concerned: BTreeSet<&str> = moved.chain([name.as_str()]).collect();
    let recipients: BTreeSet<String> = config
        .projects
        .iter()
        .filter(|project| concerned.contains(project.name.as_str()))
        .flat_map(|project| project.contacts.iter().map(ToString::to_string))
        .collect();
    if recipients.is_empty() {
        return Ok(());
    }
    let change = tx.change(baseline.change).await?;
    let trunks = tx.trunks().await?;
    let own = InputsReport {
        project: name.clone(),
        trunk: trunks.into_iter().find(|trunk| trunk.id == change.trunk).map_or(String::new(), |t| t.name),
        sha: change.sha,
        differs: differs.into_iter().map(|differs| differs.words).collect(),
        broken: ReportedBreakage {
            project: Some(name.clone()),
            platform: builder.label.clone(),
            cases: tests(tx.case_names(cases).await?, false),
            lost: Vec::new(),
            text: tx.first_failure_message_of(baseline.id, cases).await?,
            filed: None,
            url: format!("{}/projects/{name}", config.url),
        },
    };
    let letter = notice::own(&own, &config.name);
    let notice = NewNotice {
        kind: NoticeKind::ProjectInputs,
        change: baseline.change,
        recipients: recipients.into_iter().collect(),
        subject: letter.subject,
        body: letter.body,
        message_id: format!("<side.{}.{}@{}>", pin.id, baseline.id, host(&config.url)),
        in_reply_to: None,
        breakages: Vec::new(),
    };
    tx.put_notice(&notice, at).await?;
    Ok(())
}
