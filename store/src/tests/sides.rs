//! Histories over two project sides. Pictures are those of [`told`].

use std::collections::BTreeSet;

use super::*;

const PASS: &str = "pass";

impl Farm {
    async fn side(&self, revision: &'static str) -> PinId {
        let (project, branch, recipe) = (self.project, self.branch, self.recipe);
        put!(self, tx => tx.propose_pin(project, branch, &side(revision, recipe), LATER)).unwrap()
    }

    /// Runs the suite on a change with this side.
    async fn run_with(&self, pin: PinId, position: usize, reason: Reason, picture: &str) -> BuildId {
        let inputs = Sha256([position as u8 + 100; 32]);
        let build = self.queue(NewBuild { pin: Some(pin), inputs, ..self.suite(position, reason) }).await;
        self.tell(build, picture).await;
        let suites = self.suites;
        put!(self, tx => tx.make_history(suites, build)).unwrap();
        build
    }

    async fn take(&self, pin: PinId, seam: BuildId) {
        let suites = self.suites;
        self.store
            .write(move |tx| {
                Box::pin(async move {
                    tx.take_pin(pin, LATER).await?;
                    tx.make_history(suites, seam).await
                })
            })
            .await
            .unwrap();
    }

    async fn covers(&self) -> Vec<BuildId> {
        let suites = self.suites;
        ask!(self, read => read.covers(suites)).unwrap().into_iter().map(|(_, build)| build).collect()
    }
}

#[tokio::test]
async fn a_seam_is_history_once_its_side_is_in_use() {
    let farm = Farm::new().await;
    let suites = farm.suites;
    let (one, two) = (farm.run(1, "PP").await, farm.run(2, "PP").await);
    let new = farm.side("r2").await;
    let seam = farm.run_with(new, 2, Reason::Seam, "FP").await;
    assert_eq!(farm.covers().await, [one, two]);
    assert_eq!(farm.count("transition").await, 0);
    assert_eq!(ask!(farm, read => read.cover_cells(suites)).unwrap().len(), 2);
    assert!(ask!(farm, read => read.joined()).unwrap().contains(&suites));
    let suites_busy = ask!(farm, read => read.is_covering(suites)).unwrap();
    assert!(!suites_busy);

    let first = farm.change(1);
    let course = || async {
        let mut courses = ask!(farm, read => read.courses(&BTreeSet::from([suites]), first)).unwrap();
        courses.remove(&suites).unwrap()
    };
    assert_eq!(course().await.history, ask!(farm, read => read.history(suites)).unwrap());
    assert_eq!(course().await.cells, ask!(farm, read => read.cover_cells(suites)).unwrap());

    farm.take(new, seam).await;
    let three = farm.run_with(new, 3, Reason::Tip, "FF").await;
    assert_eq!(farm.covers().await, [one, two, seam, three]);
    assert_eq!(ask!(farm, read => read.cover_cells(suites)).unwrap().len(), 4);
    assert_eq!(course().await.history, ask!(farm, read => read.history(suites)).unwrap());
    assert_eq!(course().await.cells, ask!(farm, read => read.cover_cells(suites)).unwrap());
    let second = farm.change(2);
    let later = ask!(farm, read => read.courses(&BTreeSet::from([suites]), second)).unwrap();
    assert_eq!(later[&suites].cells.len(), 3, "what lies before the change that was asked for is left out");
    let strips = histories::history(&farm, suites).await.strips;
    let a = farm.case('a').await;
    let strip = strips.iter().find(|strip| strip.case == a).unwrap();
    assert_eq!((strip.verdicts.len(), &strip.sides), (4, &BTreeSet::from([2])));
    let change = farm.change(2);
    let old = Some(farm.pin);
    assert_eq!(
        ask!(farm, read => read.side_of(suites, change)).unwrap(),
        old,
        "at the seam the old side stands first"
    );
    let change = farm.change(3);
    assert_eq!(ask!(farm, read => read.side_of(suites, change)).unwrap(), Some(new));
}

#[tokio::test]
async fn a_seam_is_judged_once_and_what_was_told_stays_told() {
    let farm = Farm::new().await;
    let suites = farm.suites;
    farm.run(1, "PP").await;
    let first = farm.side("r2").await;
    let seam = farm.run_with(first, 1, Reason::Seam, "FP").await;
    let last = ask!(farm, read => read.last_seam(suites, first)).unwrap().unwrap();
    assert_eq!(last.id, seam);
    assert_eq!(ask!(farm, read => read.worker_of(&last)).unwrap(), Some(farm.worker));
    let cases = BTreeSet::from([farm.case('a').await]);
    let worse = cases.clone();
    put!(farm, tx => tx.judge_seam(suites, first, &worse, LATER)).unwrap();
    assert_eq!(ask!(farm, read => read.judgement(suites, first)).unwrap(), Some((cases.clone(), LATER)));

    let second = farm.side("r3").await;
    assert_eq!(ask!(farm, read => read.cases_told(suites, second)).unwrap(), cases);
    assert_eq!(ask!(farm, read => read.judgement(suites, second)).unwrap(), None);
    let seam = farm.run_with(second, 1, Reason::Seam, "PP").await;
    farm.take(second, seam).await;
    assert_eq!(ask!(farm, read => read.seams_to_judge()).unwrap(), [(suites, second)]);
    put!(farm, tx => tx.judge_seam(suites, second, &BTreeSet::new(), LATER)).unwrap();
    assert_eq!(ask!(farm, read => read.seams_to_judge()).unwrap(), []);
    let third = farm.side("r4").await;
    assert_eq!(ask!(farm, read => read.cases_told(suites, third)).unwrap(), BTreeSet::new());
}

#[tokio::test]
async fn null_runs_of_either_side_confirm_a_seam() {
    let farm = Farm::new().await;
    farm.run(1, "P").await;
    farm.queue(farm.suite(1, Reason::Null)).await;
    let new = farm.side("r2").await;
    let seam = farm.run_with(new, 1, Reason::Seam, "F").await;
    let behind = farm.queue(farm.suite(1, Reason::Null)).await;
    let old = farm.pin;
    let runs = ask!(farm, read => read.null_runs_behind(seam, old)).unwrap();
    assert_eq!(runs.iter().map(|run| run.id).collect::<Vec<_>>(), [behind]);
    assert_eq!(ask!(farm, read => read.null_runs_behind(seam, new)).unwrap(), []);
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
                words: words.iter().map(|word| word.to_string()).collect(),
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
async fn what_the_old_side_did_behind_the_seam_says_only_what_was_before() {
    let farm = Farm::new().await;
    farm.run(1, "PP").await;
    // It broke off, so that the seam is made at the change before it.
    farm.run(2, "F~").await;
    let new = farm.side("r2").await;
    let seam = farm.run_with(new, 1, Reason::Seam, "PP").await;
    farm.take(new, seam).await;
    farm.run_with(new, 2, Reason::Tip, "PP").await;
    let (suites, a) = (farm.suites, farm.case('a').await);
    let strips = histories::history(&farm, suites).await.strips;
    let strip = strips.iter().find(|strip| strip.case == a).unwrap();
    let verdicts: Vec<_> = strip.verdicts.iter().map(|(_, verdict)| verdict.as_str()).collect();
    assert_eq!(verdicts, [PASS; 3]);
}

#[tokio::test]
async fn a_repair_is_proven_with_the_side_that_showed_it() {
    let farm = Farm::new().await;
    farm.run(1, "F").await;
    for _ in 0..3 {
        let again = farm.queue(farm.suite(1, Reason::Null)).await;
        farm.tell(again, "F").await;
    }
    let (suites, change) = (farm.suites, farm.change(1));
    let repeat =
        || async { ask!(farm, read => read.cover_to_repeat(suites, change, Timestamp(0), 3)).unwrap() };
    assert_eq!(repeat().await, None, "it was repeated often enough");
    let new = farm.side("r2").await;
    let seam = farm.run_with(new, 1, Reason::Seam, "P").await;
    assert_eq!(repeat().await, None, "the new side is not in use");
    farm.take(new, seam).await;
    assert_eq!(repeat().await.map(|build| build.id), Some(seam));
}
