//! Each query once, on a real store in a folder of its own. [`Farm`] is laid the same way each time: one trunk of five
//! changes, one platform, one project, one worker; the tests say what happens on it.

mod breakage_inputs;
mod breakages;
mod builds;
mod caches;
mod configured;
mod evidence;
mod fetches;
mod flakes;
mod health;
mod histories;
mod inspect;
mod journal;
mod leases;
mod marks;
mod new_failures;
mod notices;
mod open;
mod pins;
mod plans;
mod probation;
mod project_inputs;
mod project_page;
mod retention;
mod schema;
mod searches;
mod selections;
mod self_checks;
mod sick;
mod stamps;
mod steps;
mod takeovers;
mod toolchain_inputs;
mod variants;
mod verdicts;
mod volunteers;
mod workers;
mod writer;

use std::collections::BTreeSet;

use domain::outcome::{BuildResult, Outcome};
use domain::project_inputs::ProjectInputs;
use domain::readers::CaseRun;
use domain::results::{self, CaseList, Results};
use domain::words::ids::{
    AttemptId, BranchId, BreakageId, BuildId, BuilderId, CaseId, ChangeId, NoticeId, PinId, PlatformId,
    ProjectId, Timestamp, TrunkId, WorkerId,
};
use domain::words::states::{AttemptState, NoticeKind, WorkerState};
use domain::words::{BreakageState, Reason, Trust};
use protocol::{Recipe, Sha256, Verdict, WorkerFacts};
use tempfile::TempDir;

use crate::*;

const EVER: Timestamp = Timestamp(0);
const AT: Timestamp = Timestamp(1_000_000);
const LATER: Timestamp = Timestamp(2_000_000);

/// Reads something from a snapshot of its own.
macro_rules! ask {
    ($farm:expr, $read:ident => $question:expr) => {{
        let mut snapshot = $farm.store.snapshot().await.unwrap();
        #[allow(unused_mut)]
        let mut $read = snapshot.read();
        $question.await
    }};
}

/// Changes something in a job of its own.
macro_rules! put {
    ($farm:expr, $tx:ident => $change:expr) => {
        $farm.store.write(move |$tx| Box::pin(async move { $change.await })).await
    };
}

use {ask, put};

async fn note(farm: &Farm, topic: Topic, subject: i64, at: Timestamp) {
    let noted = farm.store.write(move |tx| {
        Box::pin(async move {
            tx.journal(topic, subject, at);
            Ok(())
        })
    });
    noted.await.unwrap();
}

struct Farm {
    store: Store,
    trunk: TrunkId,
    branch: BranchId,
    /// By position; the first is 1.
    changes: Vec<ChangeId>,
    platform: PlatformId,
    toolchains: BuilderId,
    suites: BuilderId,
    project: ProjectId,
    pin: PinId,
    recipe: Sha256,
    worker: WorkerId,
    folder: TempDir,
}

impl Farm {
    async fn new() -> Farm {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let laid = store.write(|tx| {
            Box::pin(async move {
                let trunk = tx.put_trunk("lua", "https://example.org/lua.git").await?;
                let branch = tx.put_branch(trunk, "master").await?;
                let mut changes = Vec::new();
                for position in 1..=5 {
                    let change = tx.put_change(trunk, &commit(position), AT).await?;
                    tx.append_position(branch, position, change).await?;
                    changes.push(change);
                }
                let platform = tx.put_platform("linux-x86_64").await?;
                let project = tx.put_project(trunk, "penlight", "https://example.org/penlight.git").await?;
                let recipe = tx.put_recipe(&Recipe::default()).await?;
                let pin = tx.propose_pin(project, branch, &project_inputs("r1", recipe), AT).await?;
                tx.take_pin(pin, AT).await?;
                let toolchains = tx.put_builder(branch, platform, None).await?;
                let suites = tx.put_builder(branch, platform, Some(project)).await?;
                tx.register_join_request(&key(1), "ada", &WorkerFacts::default(), AT).await?;
                tx.approve_worker("01010101", "Ada", Trust::Maker, AT).await?;
                let worker = tx.worker_by_key(&key(1)).await?.unwrap().id;
                Ok((trunk, branch, changes, platform, project, recipe, pin, toolchains, suites, worker))
            })
        });
        let (trunk, branch, changes, platform, project, recipe, pin, toolchains, suites, worker) =
            laid.await.unwrap();
        Farm {
            store,
            trunk,
            branch,
            changes,
            platform,
            toolchains,
            suites,
            project,
            pin,
            recipe,
            worker,
            folder,
        }
    }

    fn change(&self, position: usize) -> ChangeId {
        self.changes[position - 1]
    }

    /// A suite build of a change, with inputs that no other change has.
    fn suite(&self, position: usize, reason: Reason) -> NewBuild {
        NewBuild {
            builder: self.suites,
            change: self.change(position),
            pin: Some(self.pin),
            toolchain_inputs: None,
            recipe: self.recipe,
            reason,
            breakage: None,
            only_worker: None,
            inputs: Sha256([position as u8; 32]),
            artifact: None,
        }
    }

    async fn queue(&self, new: NewBuild) -> BuildId {
        put!(self, tx => tx.enqueue_build(&new, AT)).unwrap()
    }

    async fn lease(&self, build: BuildId) -> AttemptId {
        let worker = self.worker;
        put!(self, tx => tx.lease_build(build, worker, LATER, AT)).unwrap()
    }

    /// The worker takes the build and runs it to this outcome.
    async fn finish(&self, build: BuildId, outcome: Outcome) -> AttemptId {
        let attempt = self.lease(build).await;
        let (worker, finish) = (self.worker, Finish { attempt: Some(attempt), ..ended(outcome) });
        self.store
            .write(move |tx| {
                Box::pin(async move {
                    tx.accept_attempt(attempt, worker, AT).await?;
                    tx.end_attempt(attempt, AttemptState::Ended, None, AT).await?;
                    tx.finish_build(build, &finish, AT).await
                })
            })
            .await
            .unwrap();
        attempt
    }

    /// Runs the suite on a change as a history build, and stores what its cases did; see [`told`].
    async fn run(&self, position: usize, picture: &str) -> BuildId {
        let build = self.queue(self.suite(position, Reason::Tip)).await;
        self.tell(build, picture).await;
        let suites = self.suites;
        put!(self, tx => tx.make_history(suites, build)).unwrap();
        build
    }

    /// Runs a build, and keeps what its cases did, but makes no history of it.
    async fn tell(&self, build: BuildId, picture: &str) {
        let outcome = if picture.contains(['F', 'E']) { Outcome::Failed } else { Outcome::Passed };
        self.finish(build, outcome).await;
        let (list, results) = told(picture);
        put!(self, tx => tx.put_results(build, &list, &results)).unwrap();
    }

    /// A history build that was not run, because an equal one was.
    async fn point(&self, position: usize, equal: BuildId) -> BuildId {
        let build = self.queue(self.suite(position, Reason::Tip)).await;
        let (finish, suites) = (Finish { same_as: Some(equal), ..ended(Outcome::Passed) }, self.suites);
        self.store
            .write(move |tx| {
                Box::pin(async move {
                    tx.finish_build(build, &finish, AT).await?;
                    tx.make_history(suites, build).await
                })
            })
            .await
            .unwrap();
        build
    }

    /// The case of a letter of the pictures.
    async fn case(&self, letter: char) -> CaseId {
        self.named(letter.to_string()).await
    }

    async fn named(&self, name: String) -> CaseId {
        let id = sqlx::query_scalar("select id from named_case where name = ?").bind(name);
        CaseId(ask!(self, read => id.fetch_one(&mut *read.connection)).unwrap())
    }

    async fn count(&self, table: &'static str) -> i64 {
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {table}")));
        ask!(self, read => rows.fetch_one(&mut *read.connection)).unwrap()
    }

    /// A breakage of the suites between two positions.
    async fn open_breakage(&self, good: usize, bad: usize, cases: &[CaseId]) -> BreakageId {
        let opened = self.opened(good, bad, cases);
        put!(self, tx => tx.open_breakage(&opened, AT)).unwrap()
    }

    fn opened(&self, good: usize, bad: usize, cases: &[CaseId]) -> NewBreakage {
        NewBreakage {
            builder: self.suites,
            good: self.change(good),
            bad: self.change(bad),
            cases: cases.iter().copied().collect(),
            not_run: BTreeSet::new(),
            hidden: BTreeSet::new(),
            repaired: BTreeSet::new(),
            fixed: None,
            search_worker: None,
            split_from: None,
            again_of: None,
        }
    }
}

fn ended(outcome: Outcome) -> Finish {
    Finish {
        judged: BuildResult { outcome, cause: None, step: None },
        attempt: None,
        artifact: None,
        same_as: None,
    }
}

fn project_inputs(revision: &str, recipe: Sha256) -> ProjectInputs {
    ProjectInputs { revision: revision.to_string(), recipe, needs: Vec::new() }
}

fn key(byte: u8) -> [u8; 32] {
    [byte; 32]
}

fn commit(position: i64) -> NewChange {
    NewChange {
        sha: format!("{position:040}"),
        author: "Grace".to_string(),
        author_mail: "grace@example.org".to_string(),
        committed_at: Timestamp(position),
        title: format!("change {position}"),
        message: format!("change {position}\n\nwhy"),
        path_count: 2,
        paths: vec!["lapi.c".to_string(), "lapi.h".to_string()],
    }
}

/// Cases `a`, `b`, ... as a picture: `P` passed, `F` failed, `E` error, `S` skipped, `U` unreached, `.` not in the
/// list; `~` at the end: the run broke off.
fn told(picture: &str) -> (CaseList, Results) {
    let verdict = |letter| match letter {
        'P' => Some(Verdict::Pass),
        'F' => Some(Verdict::Fail),
        'E' => Some(Verdict::Error),
        'S' => Some(Verdict::Skip),
        'U' => Some(Verdict::Unreached),
        '.' => None,
        other => panic!("no verdict is drawn as {other}"),
    };
    let letters = picture.trim_end_matches('~');
    let runs = ('a'..).zip(letters.chars()).filter_map(|(name, letter)| {
        let verdict = verdict(letter)?;
        let text = verdict.is_bad().then(|| format!("{name} is broken"));
        Some(CaseRun { name: name.to_string(), verdict, duration_ms: None, text, places: vec![] })
    });
    results::collect(runs, letters == picture)
}

/// The sentence of a refusal.
fn refusal<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(error @ (Error::Conflict(_) | Error::NotFound(_))) => error.to_string(),
        Err(error) => panic!("it should be refused in a sentence of ours: {error}"),
        Ok(value) => panic!("it should be refused: {value:?}"),
    }
}
