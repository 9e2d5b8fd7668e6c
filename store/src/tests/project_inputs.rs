//! Histories over two sets of project inputs. Pictures are those of [`told`].

use std::collections::BTreeSet;

use super::*;

const PASS: &str = "pass";

impl Farm {
    async fn project_inputs(&self, revision: &'static str) -> PinId {
        let (project, branch, recipe) = (self.project, self.branch, self.recipe);
        put!(self, tx => tx.propose_pin(project, branch, &project_inputs(revision, recipe), LATER)).unwrap()
    }

    /// Runs the suite on a change with these project inputs.
    async fn run_with(&self, pin: PinId, position: usize, reason: Reason, picture: &str) -> BuildId {
        let inputs = Sha256([position as u8 + 100; 32]);
        let build = self.queue(NewBuild { pin: Some(pin), inputs, ..self.suite(position, reason) }).await;
        self.tell(build, picture).await;
        let suites = self.suites;
        put!(self, tx => tx.make_history(suites, build)).unwrap();
        build
    }

    async fn take(&self, pin: PinId, baseline: BuildId) {
        let suites = self.suites;
        self.store
            .write(move |tx| {
                Box::pin(async move {
                    tx.take_pin(pin, LATER).await?;
                    tx.make_history(suites, baseline).await
                })
            })
            .await
            .unwrap();
    }

    async fn history_builds(&self) -> Vec<BuildId> {
        let suites = self.suites;
        ask!(self, read => read.history_builds(suites)).unwrap().into_iter().map(|(_, build)| build).collect()
    }
}

#[tokio::test]
async fn a_baseline_makes_history_once_its_inputs_are_in_use() {
    let farm = Farm::new().await;
    let suites = farm.suites;
    let (one, two) = (farm.run(1, "PP").await, farm.run(2, "PP").await);
    let new = farm.project_inputs("r2").await;
    let baseline = farm.run_with(new, 2, Reason::Baseline, "FP").await;
    assert_eq!(farm.history_builds().await, [one, two]);
    assert_eq!(farm.count("transition").await, 0);
    assert_eq!(ask!(farm, read => read.history_cells(suites)).unwrap().len(), 2);
    assert!(ask!(farm, read => read.builders_with_current_inputs()).unwrap().contains(&suites));
    let suites_busy = ask!(farm, read => read.is_making_history(suites, AT)).unwrap();
    assert!(!suites_busy);

    let first = farm.change(1);
    let suite_timeline = || async {
        let mut suite_timelines =
            ask!(farm, read => read.suite_timelines(&BTreeSet::from([suites]), first)).unwrap();
        suite_timelines.remove(&suites).unwrap()
    };
    assert_eq!(suite_timeline().await.history, ask!(farm, read => read.history(suites)).unwrap());
    assert_eq!(suite_timeline().await.cells, ask!(farm, read => read.history_cells(suites)).unwrap());

    farm.take(new, baseline).await;
    let three = farm.run_with(new, 3, Reason::Tip, "FF").await;
    assert_eq!(farm.history_builds().await, [one, two, baseline, three]);
    assert_eq!(ask!(farm, read => read.history_cells(suites)).unwrap().len(), 4);
    assert_eq!(suite_timeline().await.history, ask!(farm, read => read.history(suites)).unwrap());
    assert_eq!(suite_timeline().await.cells, ask!(farm, read => read.history_cells(suites)).unwrap());
    let second = farm.change(2);
    let later = ask!(farm, read => read.suite_timelines(&BTreeSet::from([suites]), second)).unwrap();
    assert_eq!(later[&suites].cells.len(), 3, "what lies before the change that was asked for is left out");
    let case_histories = histories::history(&farm, suites).await.case_histories;
    let a = farm.case('a').await;
    let case_history = case_histories.iter().find(|case_history| case_history.case == a).unwrap();
    assert_eq!((case_history.verdicts.len(), &case_history.baselines), (4, &BTreeSet::from([2])));
    let change = farm.change(2);
    let old = Some(farm.pin);
    assert_eq!(
        ask!(farm, read => read.inputs_of(suites, change)).unwrap().unwrap().pin,
        old,
        "at the baseline the old inputs come first"
    );
    let change = farm.change(3);
    assert_eq!(ask!(farm, read => read.inputs_of(suites, change)).unwrap().unwrap().pin, Some(new));
}

#[tokio::test]
async fn a_baseline_is_judged_once_and_what_was_announced_stays_announced() {
    let farm = Farm::new().await;
    let suites = farm.suites;
    farm.run(1, "PP").await;
    let first = farm.project_inputs("r2").await;
    let baseline = farm.run_with(first, 1, Reason::Baseline, "FP").await;
    let last = ask!(farm, read => read.last_baseline(suites, first, None)).unwrap().unwrap();
    assert_eq!(last.id, baseline);
    assert_eq!(ask!(farm, read => read.worker_of(&last)).unwrap(), Some(farm.worker));
    let cases = BTreeSet::from([farm.case('a').await]);
    let worse = cases.clone();
    put!(farm, tx => tx.judge_baseline(suites, first, &worse, LATER)).unwrap();
    assert_eq!(ask!(farm, read => read.judgement(suites, first)).unwrap(), Some((cases.clone(), LATER)));

    let second = farm.project_inputs("r3").await;
    assert_eq!(ask!(farm, read => read.cases_announced(suites, second)).unwrap(), cases);
    assert_eq!(ask!(farm, read => read.judgement(suites, second)).unwrap(), None);
    let baseline = farm.run_with(second, 1, Reason::Baseline, "PP").await;
    farm.take(second, baseline).await;
    assert_eq!(ask!(farm, read => read.baselines_to_judge()).unwrap(), [(suites, second)]);
    put!(farm, tx => tx.judge_baseline(suites, second, &BTreeSet::new(), LATER)).unwrap();
    assert_eq!(ask!(farm, read => read.baselines_to_judge()).unwrap(), []);
    let third = farm.project_inputs("r4").await;
    assert_eq!(ask!(farm, read => read.cases_announced(suites, third)).unwrap(), BTreeSet::new());
}

#[tokio::test]
async fn null_runs_of_both_inputs_confirm_a_baseline() {
    let farm = Farm::new().await;
    farm.run(1, "P").await;
    farm.queue(farm.suite(1, Reason::Null)).await;
    let new = farm.project_inputs("r2").await;
    let baseline = farm.run_with(new, 1, Reason::Baseline, "F").await;
    let behind = farm.queue(farm.suite(1, Reason::Null)).await;
    let old = farm.pin;
    let runs = ask!(farm, read => read.null_runs_after(baseline, old)).unwrap();
    assert_eq!(runs.iter().map(|run| run.id).collect::<Vec<_>>(), [behind]);
    assert_eq!(ask!(farm, read => read.null_runs_after(baseline, new)).unwrap(), []);
}

#[tokio::test]
async fn a_worker_whose_environment_changed_since_its_last_run_is_known() {
    let farm = Farm::new().await;
    let run = |position: usize, words: &'static [&'static str]| {
        let farm = &farm;
        async move {
            let build = farm.run(position, "P").await;
            let attempt = ask!(farm, read => read.build(build)).unwrap().attempt.unwrap();
            let environment = protocol::Environment {
                sha256: Sha256([words.len() as u8; 32]),
                properties: words.iter().map(ToString::to_string).collect(),
            };
            put!(farm, tx => tx.put_environment(attempt, &environment)).unwrap();
            build
        }
    };
    let change = |build| {
        let farm = &farm;
        async move { ask!(farm, read => read.environment_change(build)).unwrap() }
    };
    let first = run(1, &["cc=gcc 12"]).await;
    assert_eq!(change(first).await, None);
    let second = run(2, &["cc=gcc 12"]).await;
    assert_eq!(change(second).await, None);
    let third = run(3, &["cc=gcc 13", "ld=2.40"]).await;
    let found = change(third).await.unwrap();
    assert_eq!((found.since, found.before.len(), found.now.len()), (second, 1, 2));
}

#[tokio::test]
async fn runs_with_the_old_inputs_after_the_baseline_matter_only_before_it() {
    let farm = Farm::new().await;
    farm.run(1, "PP").await;
    // It broke off, so that the baseline is made at the change before it.
    farm.run(2, "F~").await;
    let new = farm.project_inputs("r2").await;
    let baseline = farm.run_with(new, 1, Reason::Baseline, "PP").await;
    farm.take(new, baseline).await;
    farm.run_with(new, 2, Reason::Tip, "PP").await;
    let (suites, a) = (farm.suites, farm.case('a').await);
    let case_histories = histories::history(&farm, suites).await.case_histories;
    let case_history = case_histories.iter().find(|case_history| case_history.case == a).unwrap();
    let verdicts: Vec<_> = case_history.verdicts.iter().map(|(_, verdict)| verdict.as_str()).collect();
    assert_eq!(verdicts, [PASS; 3]);
}

#[tokio::test]
async fn a_repair_is_proven_with_the_inputs_that_showed_it() {
    let farm = Farm::new().await;
    farm.run(1, "F").await;
    for _ in 0..3 {
        let again = farm.queue(farm.suite(1, Reason::Null)).await;
        farm.tell(again, "F").await;
    }
    let (suites, change) = (farm.suites, farm.change(1));
    let repeat = || async {
        ask!(farm, read => read.history_build_to_repeat(suites, change, Timestamp(0), 3)).unwrap()
    };
    assert_eq!(repeat().await, None, "it was repeated often enough");
    let new = farm.project_inputs("r2").await;
    let baseline = farm.run_with(new, 1, Reason::Baseline, "P").await;
    assert_eq!(repeat().await, None, "the new inputs are not in use");
    farm.take(new, baseline).await;
    assert_eq!(repeat().await.map(|build| build.id), Some(baseline));
}
