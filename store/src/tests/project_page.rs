//! What a project's page reads, and the plan of a build of it.

use std::collections::BTreeSet;

use domain::words::BuildState;
use protocol::{LockFile as Locked, Source};

use super::*;

/// A second project, `say`, that the second inputs of the first one need.
async fn with_need(farm: &Farm) -> PinId {
    let (trunk, project, branch) = (farm.trunk, farm.project, farm.branch);
    let wanted =
        ProjectInputs { needs: vec![("say".into(), "5a1".into())], ..project_inputs("r2", farm.recipe) };
    farm.store
        .write(move |tx| {
            Box::pin(async move {
                tx.put_project(trunk, "say", "https://example.org/say.git").await?;
                tx.propose_pin(project, branch, &wanted, LATER).await
            })
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn a_page_shows_the_inputs_and_how_their_baselines_were_judged() {
    let farm = Farm::new().await;
    farm.run(1, "PP").await;
    let new = with_need(&farm).await;
    let baseline = farm.queue(NewBuild { pin: Some(new), ..farm.suite(1, Reason::Baseline) }).await;
    let page = ask!(farm, read => read.project_page("penlight")).unwrap();
    assert_eq!((page.trunk.as_str(), page.is_registered, page.newest), ("lua", true, None));
    assert_eq!(refusal(ask!(farm, read => read.project_page("nobody"))), "there is no such project");
    let rows = ask!(farm, read => read.project_inputs_rows(page.id)).unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.project_inputs.revision.as_str(), row.state)).collect();
    assert_eq!(told, [("r2", PinState::Proposed), ("r1", PinState::Current)]);
    let baselines = ask!(farm, read => read.baseline_rows(page.id)).unwrap();
    assert_eq!(
        (baselines[0].build, baselines[0].state, baselines[0].is_worse),
        (baseline.0, BuildState::Queued, None)
    );

    farm.tell(baseline, "FP").await;
    let (suites, worse) = (farm.suites, BTreeSet::from([farm.case('a').await]));
    put!(farm, tx => tx.judge_baseline(suites, new, &worse, LATER)).unwrap();
    let baselines = ask!(farm, read => read.baseline_rows(page.id)).unwrap();
    assert_eq!((baselines[0].is_worse, baselines[0].cases_count), (Some(true), 1));
    assert_eq!(baselines[0].cases, ["a"]);
    let builders = ask!(farm, read => read.builder_rows(page.id)).unwrap();
    assert_eq!(builders.len(), 1);
}

#[tokio::test]
async fn dependents_count_once_their_inputs_are_in_use() {
    let farm = Farm::new().await;
    let new = with_need(&farm).await;
    let suites = farm.suites.0;
    assert_eq!(ask!(farm, read => read.dependents("say")).unwrap(), [""; 0]);
    put!(farm, tx => tx.take_pin(new, LATER)).unwrap();
    assert_eq!(ask!(farm, read => read.dependents("say")).unwrap(), ["penlight"]);
    assert_eq!(ask!(farm, read => read.needs_of_builder(suites)).unwrap(), ["say"]);
}

#[tokio::test]
async fn a_plan_has_the_needs_and_the_lock_of_the_inputs() {
    let farm = Farm::new().await;
    let new = with_need(&farm).await;
    put!(farm, tx => tx.lock_pin(new, Sha256([3; 32]), 9, LATER)).unwrap();
    let (worker, made) = (farm.worker, protocol::PackedToolchain { sha256: Sha256([8; 32]), bytes: 1 });
    put!(farm, tx => tx.put_artifact(made, worker, false, AT)).unwrap();
    let of = |reason, pin| NewBuild { pin, artifact: Some(made.sha256), ..farm.suite(1, reason) };
    let build = farm.queue(of(Reason::Baseline, Some(new))).await;
    let plan = ask!(farm, read => read.plan(build)).unwrap();
    let source = Source { git: "https://example.org/say.git".into(), revision: "5a1".into() };
    assert_eq!(plan.needs, [protocol::NeedSource { name: "say".into(), source }]);
    assert_eq!(plan.lock, Some(Locked { sha256: Sha256([3; 32]), bytes: 9 }));
    assert!(!plan.answer);
    let latest = farm.queue(of(Reason::Latest, None)).await;
    let plan = ask!(farm, read => read.plan(latest)).unwrap();
    assert!(plan.answer && plan.needs.is_empty() && plan.source.revision.is_empty());
    let project = farm.project;
    let last = ask!(farm, read => read.last_latest(project)).unwrap();
    assert_eq!(last.map(|build| build.id), Some(latest));
}

#[tokio::test]
async fn what_a_project_wants_is_shown_with_what_waits_for_it() {
    let farm = Farm::new().await;
    let (project, wants) = (farm.project, vec!["postgresql".to_string()]);
    put!(farm, tx => tx.set_project_wants(project, &wants)).unwrap();
    farm.queue(farm.suite(1, Reason::Tip)).await;
    assert_eq!(ask!(farm, read => read.queue_rows(9)).unwrap()[0].wants, ["postgresql"]);
    assert_eq!(ask!(farm, read => read.project(project)).unwrap().wants, ["postgresql"]);
}

#[tokio::test]
async fn a_breakage_has_the_failure_message_of_a_case() {
    let farm = Farm::new().await;
    farm.run(1, "PP").await;
    farm.run(2, "PF").await;
    let breakage = farm.open_breakage(1, 2, &[farm.case('b').await]).await;
    let row = ask!(farm, read => read.breakage(breakage)).unwrap();
    let message = ask!(farm, read => read.quoted_message(&row)).unwrap().unwrap();
    assert_eq!((message.text.as_str(), message.change), ("b is broken", farm.change(2)));
}

#[tokio::test]
async fn a_message_is_quoted_from_a_run_at_the_culprit_or_else_from_the_earliest_behind_it() {
    let farm = Farm::new().await;
    farm.run(1, "PPP").await;
    farm.run(5, "FFP").await;
    farm.run(4, "PFP").await;
    let cases = [farm.case('a').await, farm.case('b').await];
    let breakage = farm.open_breakage(1, 5, &cases).await;
    let quoted = async || {
        let row = ask!(farm, read => read.breakage(breakage)).unwrap();
        let message = ask!(farm, read => read.quoted_message(&row)).unwrap().unwrap();
        (message.text, message.change)
    };
    // Case a failed only at the tip.
    assert_eq!(quoted().await, ("b is broken".to_string(), farm.change(4)));
    let (culprit, parent) = (Some(farm.change(3)), Some(farm.change(2)));
    put!(farm, tx => tx.record_search_result(breakage, BreakageState::Named, culprit, parent, AT)).unwrap();
    assert_eq!(quoted().await.1, farm.change(4), "nothing ran at the culprit");
    let probe = farm.queue(farm.suite(3, Reason::Probe)).await;
    farm.tell(probe, "FPP").await;
    assert_eq!(quoted().await, ("a is broken".to_string(), farm.change(3)));
}
