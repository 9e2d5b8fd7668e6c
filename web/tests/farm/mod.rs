//! A small farm in its own folder: four changes, a toolchain and one project, with one breakage whose culprit is
//! named, a log, and a build that still runs.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use domain::culprit::Tally;
use domain::outcome::{BuildResult, Cause, Outcome};
use domain::project_inputs::ProjectInputs;
use domain::results::{CaseList, Results, Verdicts};
use domain::search::WorkerProof;
use domain::words::ids::{AttemptId, BuildId, BuilderId, CaseId, ChangeId, PinId, Timestamp, WorkerId};
use domain::words::{BreakageState, Reason, Trust};
use protocol::{Sha256, StepEnd, StepKind, WorkerFacts};
use store::files::log::{LogExtent, LogWriter};
use store::{Finish, LogExtentRow, NewBreakage, NewBuild, NewChange, Store, Write};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use trunkfarm_web::FarmStatus;

pub const LOG: &[u8] = b"ok 1\n\x1b[31mnot ok 2\x1b[0m\n<script>alert(1)</script>\n10%\r20%\nbell \x07\n";
pub const T0: i64 = 1_795_420_800_000;

pub struct Farm {
    pub store: Store,
    pub router: Router,
    pub stop: CancellationToken,
    pub status: watch::Sender<FarmStatus>,
    /// The project's builds, oldest first; the last one runs.
    pub builds: Vec<BuildId>,
    _folder: tempfile::TempDir,
}

impl Farm {
    pub async fn new() -> Farm {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let logs = folder.path().join("logs");
        let builds = store.write(move |w| Box::pin(async move { Ok(fill(w, &logs).await) })).await.unwrap();
        let stop = CancellationToken::new();
        let (status, seen) = watch::channel(FarmStatus::new("Test farm", "https://farm.example.org/", 2_000));
        let state = trunkfarm_web::State { store: store.clone(), status: seen, stop: stop.clone() };
        Farm { store, router: trunkfarm_web::router(state), stop, status, builds, _folder: folder }
    }

    pub async fn get(&self, path: &str) -> Response<Body> {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// An existing page, as it was sent.
    pub async fn html(&self, path: &str) -> String {
        let response = self.get(path).await;
        let status = response.status();
        let body = body(response).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// What a reader sees of a page: its text, without tags, with single spaces.
    pub async fn text(&self, path: &str) -> String {
        let html = self.html(path).await;
        let main = html.split_once("<main").unwrap().1.split_once('>').unwrap().1;
        let mut text = String::new();
        let mut inside = false;
        for letter in main.split_once("</main>").unwrap().0.chars() {
            match letter {
                '<' => (inside, ()) = (true, text.push(' ')),
                '>' => inside = false,
                letter if !inside => text.push(letter),
                _ => {}
            }
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Records that a search has found the failing cases of the second build to be flaky.
    pub async fn prove_flaky(&self) {
        let failing = self.builds[1];
        let proven = self.store.write(move |w| {
            Box::pin(async move {
                let row = w.build(failing).await?;
                let verdicts = w.case_verdicts(failing).await?;
                let cases = verdicts.into_iter().filter(|(_, v)| v.is_bad()).map(|(case, _)| case).collect();
                let opened = NewBreakage {
                    builder: row.builder,
                    good: ChangeId(1),
                    bad: row.change,
                    cases,
                    not_run: BTreeSet::new(),
                    hidden: BTreeSet::new(),
                    repaired: BTreeSet::new(),
                    fixed: None,
                    search_worker: None,
                    split_from: None,
                    again_of: None,
                };
                let breakage = w.open_breakage(&opened, Timestamp(T0)).await?;
                w.record_search_result(breakage, BreakageState::Flaky, None, None, Timestamp(T0)).await
            })
        });
        proven.await.unwrap();
    }

    pub async fn json(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.html(path).await).unwrap()
    }
}

pub async fn body(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 64 << 20).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn fill(w: &mut Write<'_>, logs: &std::path::Path) -> Vec<BuildId> {
    let at = |n: i64| Timestamp(T0 + n * 1000);
    let trunk = w.put_trunk("lua", "https://example.org/lua.git").await.unwrap();
    let branch = w.put_branch(trunk, "master").await.unwrap();
    let mut changes = Vec::new();
    for (n, title) in ["Start", "Break <rep>", "Comment", "Tip"].into_iter().enumerate() {
        let new = NewChange {
            sha: format!("{n}").repeat(40),
            author: "Ada Lund".into(),
            author_mail: "ada@example.org".into(),
            committed_at: at(n as i64),
            title: title.into(),
            message: format!("{title}\n\nWhy & how."),
            path_count: 1,
            paths: vec!["lapi.c".into()],
        };
        let change = w.put_change(trunk, &new, at(n as i64)).await.unwrap();
        w.append_position(branch, n as i64 + 1, change).await.unwrap();
        changes.push(change);
    }
    let platform = w.put_platform("linux-x86_64").await.unwrap();
    let project = w.put_project(trunk, "tables", "https://example.org/tables.git").await.unwrap();
    w.put_builder(branch, platform, None).await.unwrap();
    let suite = w.put_builder(branch, platform, Some(project)).await.unwrap();
    let recipe = w.put_recipe(&protocol::Recipe::default()).await.unwrap();
    let inputs = ProjectInputs { revision: "f".repeat(40), recipe, needs: Vec::new() };
    let pin = w.propose_pin(project, branch, &inputs, at(0)).await.unwrap();
    w.take_pin(pin, at(0)).await.unwrap();
    let facts = WorkerFacts { os: "linux".into(), arch: "x86_64".into(), cpus: 2, ..WorkerFacts::default() };
    w.register_join_request(&[7; 32], "quiet-corner", &facts, at(0)).await.unwrap();
    w.approve_worker("07070707", "Ada Lund", Trust::Maker, at(0)).await.unwrap();
    let worker = w.worker_by_key(&[7; 32]).await.unwrap().unwrap().id;
    w.mark_worker_connected(worker, &facts, "0.1.0", 2, at(1)).await.unwrap();

    let mut run = Run { w, suite, pin, recipe, worker, list: CaseList::from_text("a\nb\n".into()).unwrap() };
    let good = run.finished(changes[0], "PP").await;
    let bad = run.finished(changes[1], "PF").await;
    run.log(bad, logs).await;
    let running = run.leased(changes[3]).await.0;
    let cases: BTreeSet<CaseId> = run
        .w
        .case_verdicts(bad)
        .await
        .unwrap()
        .into_iter()
        .filter(|(_, v)| v.is_bad())
        .map(|(case, _)| case)
        .collect();
    let opened = NewBreakage {
        builder: suite,
        good: changes[0],
        bad: changes[1],
        cases: cases.clone(),
        not_run: BTreeSet::new(),
        hidden: BTreeSet::new(),
        repaired: BTreeSet::new(),
        fixed: None,
        search_worker: Some(worker),
        split_from: None,
        again_of: None,
    };
    let breakage = run.w.open_breakage(&opened, at(20)).await.unwrap();
    run.w.mark_breakage_searching(breakage, Some(worker), at(21)).await.unwrap();
    let (named, parent) = (Some(changes[1]), Some(changes[0]));
    run.w.record_search_result(breakage, BreakageState::Named, named, parent, at(22)).await.unwrap();
    let (before, with) = (Tally { fails: 0, passes: 3 }, Tally { fails: 3, passes: 0 });
    run.w.put_proof(breakage, &[WorkerProof { worker, before, with }]).await.unwrap();
    vec![good, bad, running]
}

struct Run<'r, 'c> {
    w: &'r mut Write<'c>,
    suite: BuilderId,
    pin: PinId,
    recipe: Sha256,
    worker: WorkerId,
    list: CaseList,
}

impl Run<'_, '_> {
    async fn leased(&mut self, change: ChangeId) -> (BuildId, AttemptId) {
        let build = NewBuild {
            builder: self.suite,
            change,
            pin: Some(self.pin),
            toolchain_inputs: None,
            recipe: self.recipe,
            reason: Reason::Tip,
            breakage: None,
            only_worker: None,
            inputs: Sha256([change.0 as u8; 32]),
            artifact: None,
        };
        let now = Timestamp(T0 + 10_000);
        let id = self.w.enqueue_build(&build, now).await.unwrap();
        let attempt = self.w.lease_build(id, self.worker, now, now).await.unwrap();
        self.w.accept_attempt(attempt, self.worker, now).await.unwrap();
        self.w.start_step(attempt, 0, "test", StepKind::Test, now).await.unwrap();
        (id, attempt)
    }

    async fn finished(&mut self, change: ChangeId, letters: &str) -> BuildId {
        let (id, attempt) = self.leased(change).await;
        let is_bad = letters.contains('F');
        let now = Timestamp(T0 + 13_500);
        let end = StepEnd::Exit { code: is_bad.into() };
        self.w
            .end_step(attempt, 0, &store::StepResult { end: &end, duration_ms: 3_000, warnings: &[] }, now)
            .await
            .unwrap();
        self.w.end_attempt(attempt, domain::words::states::AttemptState::Ended, None, now).await.unwrap();
        let results = Results {
            cases: self.list.sha256(),
            verdicts: Verdicts::from_letters(letters).unwrap(),
            complete: true,
            repeats: BTreeMap::new(),
            failure_messages: vec![],
        };
        self.w.put_results(id, &self.list, &results).await.unwrap();
        let judged = match is_bad {
            true => {
                BuildResult { outcome: Outcome::Failed, cause: Some(Cause::Exit), step: Some("test".into()) }
            }
            false => BuildResult { outcome: Outcome::Passed, cause: None, step: None },
        };
        let finish = Finish { judged, attempt: Some(attempt), artifact: None, same_as: None };
        self.w.finish_build(id, &finish, now).await.unwrap();
        self.w.make_history(self.suite, id).await.unwrap();
        id
    }

    async fn log(&mut self, build: BuildId, logs: &std::path::Path) {
        let attempt = self.w.build(build).await.unwrap().attempt.unwrap();
        let log = write_log(logs, attempt, LOG);
        self.w.commit_log(attempt, 0, log).await.unwrap();
    }
}

/// Writes the log of an attempt's first step, which must be empty.
pub fn write_log(logs: &std::path::Path, attempt: AttemptId, text: &[u8]) -> LogExtentRow {
    let mut writer =
        LogWriter::open(&store::files::log::path(logs, attempt.0, 0), LogExtent::default()).unwrap();
    let extent = writer.append(text).unwrap();
    LogExtentRow {
        bytes: extent.raw_bytes,
        lines: extent.lines,
        stored_bytes: extent.stored_bytes,
        cut_bytes: 0,
        sealed: false,
    }
}
