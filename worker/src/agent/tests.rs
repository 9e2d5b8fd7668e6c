//! The whole worker but for its command line, against a master of a few lines on a real socket.

use std::fs;
use std::path::Path;

use futures_util::{SinkExt, StreamExt};
use protocol::{
    FromMaster, HeldAttempt, Recipe, RecipeStep, Resume, ResumeAction, Source, StepEnd, StepKind,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite};

use super::*;
use crate::config::FarmUrl;
use crate::execute::Sandbox;
use crate::folder::Folder;
use crate::key::Key;
use crate::machine::MachineReport;
use crate::objects::{ObjectClient, RetryLimits};
use crate::session::WorkerIdentity;
use crate::source::Mirrors;
use crate::toolchains::ToolchainCache;

/// Nothing here takes so long unless it is broken.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn what_a_killed_worker_left_unfinished_is_ended_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut open = Spool::create(folder.path(), 3).unwrap();
    open.append(&SpoolRecord::Log { step: 0, bytes: b"half".into() }).unwrap();
    let mut done = Spool::create(folder.path(), 5).unwrap();
    let last = Event::Finished { results: None, artifact: None, infra_failure: None };
    done.append(&SpoolRecord::Event(last)).unwrap();
    for _ in 0..2 {
        assert_eq!(settle_spools(folder.path()).unwrap(), [(3, 2), (5, 1)]);
    }
    let last = SpoolReader::open(folder.path(), 3).unwrap().read(2).unwrap();
    let SpoolRecord::Event(Event::Finished { infra_failure: Some(InfraFailure::Worker { detail }), .. }) =
        last
    else {
        panic!("{last:?}");
    };
    assert_eq!(detail, "the worker was restarted");
}

struct Farm {
    listener: TcpListener,
    folder: tempfile::TempDir,
    revision: String,
    stop: CancellationToken,
    worker: Option<tokio::task::JoinHandle<()>>,
}

impl Farm {
    async fn new() -> Farm {
        let folder = tempfile::tempdir().unwrap();
        let revision = commit(&folder.path().join("upstream"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut farm = Farm { listener, folder, revision, stop: CancellationToken::new(), worker: None };
        farm.start();
        farm
    }

    /// A worker on this farm's folder, as its command line would start it.
    fn start(&mut self) {
        let url = FarmUrl::try_from(format!("http://{}", self.listener.local_addr().unwrap())).unwrap();
        let folder = Folder::open(&self.folder.path().join("worker")).unwrap();
        folder.sweep().unwrap();
        let held = settle_spools(&folder.spool()).unwrap();
        let sandbox = Sandbox::None;
        let machine = MachineReport::look(&sandbox, &[]);
        let (token, hear_token) = watch::channel(None);
        let objects = ObjectClient::new(url.clone(), hear_token, RetryLimits::USUAL);
        self.stop = CancellationToken::new();
        let toolchains =
            ToolchainCache::open(folder.toolchains(), 1 << 30, objects.clone(), self.stop.clone()).unwrap();
        let key = Key::open_or_make(&folder.key()).unwrap();
        let introduction = WorkerIdentity { key, facts: machine.facts.clone(), slots: 1 };
        let mirrors = Mirrors::open(folder.mirrors());
        let shop =
            Arc::new(SharedResources { folder, mirrors, toolchains, objects, machine, sandbox, cpus: 1 });
        let agent =
            Agent::new(Session::new(introduction, held, 1), shop, url.ws(protocol::path::SESSION), token);
        self.worker = Some(tokio::spawn(agent.run(self.stop.clone(), self.stop.clone())));
    }

    async fn end(&mut self) {
        self.stop.cancel();
        self.worker.take().unwrap().await.unwrap();
    }

    /// Waits for the worker's call, and greets it; `then` for all that it holds.
    async fn greet(&self, then: impl Fn(&HeldAttempt) -> ResumeAction) -> (Line, Vec<HeldAttempt>) {
        loop {
            let accepted = tokio::time::timeout(DEADLINE, self.listener.accept()).await;
            let (stream, _) = accepted.expect("the worker dials").unwrap();
            stream.set_nodelay(true).unwrap();
            // A call that broke off before it was taken, by a worker that has ended, is not counted.
            let Ok(socket) = accept_async(stream).await else { continue };
            let mut line = Line { socket };
            let challenge = FromMaster::Challenge { protocol: 1, nonce: "n".into() };
            if line.try_say(challenge).await.is_err() {
                continue;
            }
            let Some(Said::Message(FromWorker::Hello { held, .. })) = line.try_hear().await else { continue };
            let resume = held.iter().map(|h| Resume { attempt: h.attempt, action: then(h) }).collect();
            let (name, token) = ("attic".into(), "t".into());
            line.say(FromMaster::Welcome { name, heartbeat_ms: 1000, token, held: resume }).await;
            return (line, held);
        }
    }

    fn offer(&self, attempt: i64, run: &str) -> FromMaster {
        let step = RecipeStep {
            name: "compile".into(),
            kind: StepKind::Compile,
            run: run.into(),
            network: false,
            report: None,
            time_ms: None,
            silence_ms: None,
        };
        let plan = Plan {
            builder: "lua master linux-x86_64".into(),
            change: self.revision.clone(),
            source: Source {
                git: format!("file://{}", self.folder.path().join("upstream").display()),
                revision: self.revision.clone(),
            },
            toolchain: None,
            // No smoke command and no success: nothing is packed, so nothing is uploaded.
            recipe: Recipe { steps: vec![step], ..Recipe::default() },
            cases: vec![],
            needs: vec![],
            lock: None,
            answer: false,
        };
        FromMaster::Offer { build: 1, attempt, lease_ms: 60_000, plan: Box::new(plan) }
    }

    fn left_in(&self, name: &str) -> usize {
        fs::read_dir(self.folder.path().join("worker").join(name)).unwrap().count()
    }
}

/// The master's end of one connection.
struct Line {
    socket: WebSocketStream<TcpStream>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, in a test")]
enum Said {
    Message(FromWorker),
    Log(LogFrame),
}

/// All that an attempt said, as the master keeps it.
#[derive(Default)]
struct Heard {
    sequence: u64,
    log: String,
    ends: Vec<StepEnd>,
    finished: Option<Event>,
}

impl Line {
    async fn say(&mut self, message: FromMaster) {
        self.try_say(message).await.unwrap();
    }

    async fn try_say(&mut self, message: FromMaster) -> Result<(), tungstenite::Error> {
        self.socket.send(Message::text(protocol::encode(&message))).await
    }

    async fn hear(&mut self) -> Said {
        self.try_hear().await.expect("the worker does not hang up")
    }

    /// None when the connection has ended.
    async fn try_hear(&mut self) -> Option<Said> {
        loop {
            match tokio::time::timeout(DEADLINE, self.socket.next())
                .await
                .expect("the worker speaks")?
                .ok()?
            {
                Message::Text(text) => return Some(Said::Message(protocol::decode(&text).unwrap())),
                Message::Binary(bytes) => return Some(Said::Log(LogFrame::from_bytes(&bytes).unwrap())),
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
            }
        }
    }

    async fn ack(&mut self, heard: &Heard) {
        self.say(FromMaster::Ack { attempt: 7, sequence: heard.sequence }).await;
    }

    /// Listens until this is so. Every record must come exactly once and in order.
    async fn until(&mut self, heard: &mut Heard, done: impl Fn(&Heard) -> bool) {
        while !done(heard) {
            let sequence = match self.hear().await {
                Said::Log(frame) => {
                    heard.log.push_str(&String::from_utf8_lossy(&frame.bytes));
                    frame.sequence
                }
                Said::Message(FromWorker::Event { sequence, event, .. }) => {
                    match event {
                        Event::StepEnded { end, .. } => heard.ends.push(end),
                        Event::Finished { .. } => heard.finished = Some(event),
                        Event::Started { .. }
                        | Event::StepStarted { .. }
                        | Event::LogTruncated { .. }
                        | Event::Lock { .. }
                        | Event::Answer { .. } => {}
                    }
                    sequence
                }
                Said::Message(_) => continue,
            };
            assert_eq!(sequence, heard.sequence + 1);
            heard.sequence = sequence;
        }
    }
}

fn commit(path: &Path) -> String {
    let repository = git2::Repository::init_bare(path).unwrap();
    let mut tree = repository.treebuilder(None).unwrap();
    tree.insert("hello", repository.blob(b"hello from the source\n").unwrap(), 0o100644).unwrap();
    let tree = repository.find_tree(tree.write().unwrap()).unwrap();
    let who = git2::Signature::new("a", "a@example.org", &git2::Time::new(1, 0)).unwrap();
    repository.commit(Some("refs/heads/main"), &who, &who, "m", &tree, &[]).unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_run_told_and_forgotten() {
    let mut farm = Farm::new().await;
    let (mut line, held) = farm.greet(|_| panic!("it holds nothing")).await;
    assert_eq!(held, []);
    line.say(farm.offer(7, "cat hello; exit 3")).await;
    let mut heard = Heard::default();
    line.until(&mut heard, |heard| heard.finished.is_some()).await;
    assert_eq!(heard.log, "hello from the source\n");
    assert_eq!(heard.ends, [StepEnd::Exit { code: 3 }]);
    let finished = Event::Finished { results: None, artifact: None, infra_failure: None };
    assert_eq!(heard.finished, Some(finished));
    line.ack(&heard).await;
    farm.end().await;
    assert_eq!((farm.left_in("spool"), farm.left_in("work")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_costs_no_byte_and_doubles_none() {
    let mut farm = Farm::new().await;
    let (mut line, _) = farm.greet(|_| panic!("it holds nothing")).await;
    let go = farm.folder.path().join("go");
    let run = format!("echo one; until test -e {}; do :; done; echo two; exit 1", go.display());
    line.say(farm.offer(7, &run)).await;
    let mut heard = Heard::default();
    line.until(&mut heard, |heard| heard.log == "one\n").await;
    drop(line);
    // The build goes on, and ends while nobody listens.
    fs::write(go, "").unwrap();
    let has = heard.sequence;
    let (mut line, held) = farm.greet(|_| ResumeAction::ResendAfter(has)).await;
    assert_eq!(held[0].attempt, 7);
    line.until(&mut heard, |heard| heard.finished.is_some()).await;
    assert_eq!(heard.log, "one\ntwo\n");
    line.ack(&heard).await;
    farm.end().await;
    assert_eq!(farm.left_in("spool"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_build_ends_with_the_reason() {
    let mut farm = Farm::new().await;
    let (mut line, _) = farm.greet(|_| panic!("it holds nothing")).await;
    line.say(farm.offer(7, "echo begun; while :; do :; done")).await;
    let mut heard = Heard::default();
    line.until(&mut heard, |heard| heard.log == "begun\n").await;
    line.say(FromMaster::Cancel { attempt: 7, reason: "superseded".into() }).await;
    line.until(&mut heard, |heard| heard.finished.is_some()).await;
    assert_eq!(heard.ends, [StepEnd::Cancelled]);
    let Some(Event::Finished { infra_failure: Some(InfraFailure::Worker { detail }), .. }) = &heard.finished
    else {
        panic!("{:?}", heard.finished);
    };
    assert_eq!(detail, "superseded");
    line.ack(&heard).await;
    farm.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_stopped_says_so_at_once_or_after_its_next_start() {
    let mut farm = Farm::new().await;
    let (mut line, _) = farm.greet(|_| panic!("it holds nothing")).await;
    line.say(farm.offer(7, "echo begun; while :; do :; done")).await;
    let mut heard = Heard::default();
    line.until(&mut heard, |heard| heard.log == "begun\n").await;
    drop(line);
    farm.end().await;
    farm.start();
    let has = heard.sequence;
    let (mut line, held) = farm.greet(|_| ResumeAction::ResendAfter(has)).await;
    assert_eq!(held[0].attempt, 7);
    line.until(&mut heard, |heard| heard.finished.is_some()).await;
    let Some(Event::Finished { infra_failure: Some(InfraFailure::Worker { detail }), .. }) = &heard.finished
    else {
        panic!("{:?}", heard.finished);
    };
    assert_eq!(detail, "the worker was stopped by its owner");
    line.ack(&heard).await;
    farm.end().await;
    assert_eq!(farm.left_in("spool"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_brought_is_the_workers_trouble() {
    let mut farm = Farm::new().await;
    let (mut line, _) = farm.greet(|_| panic!("it holds nothing")).await;
    let good = std::mem::replace(&mut farm.revision, "1".repeat(40));
    line.say(farm.offer(7, "true")).await;
    farm.revision = good;
    let mut heard = Heard::default();
    line.until(&mut heard, |heard| heard.finished.is_some()).await;
    let Some(Event::Finished { infra_failure: Some(InfraFailure::Checkout { detail }), .. }) =
        &heard.finished
    else {
        panic!("{:?}", heard.finished);
    };
    assert!(detail.contains("has no revision 1111"), "{detail}");
    line.ack(&heard).await;
    farm.end().await;
}
