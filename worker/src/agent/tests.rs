//! The whole worker apart from its command connection, with a small scripted master on a real socket.

use std::fs;
use std::path::Path;

use futures_util::{SinkExt, StreamExt};
use protocol::{
    FromMaster, HeldAttempt, Recipe, RecipeStep, Resume, ResumeAction, Source, StepEnd, StepKind,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite};

use super::*;
use crate::caches::CacheStore;
use crate::config::FarmUrl;
use crate::execute::Sandbox;
use crate::folder::Folder;
use crate::key::Key;
use crate::link::Endpoint;
use crate::machine::MachineReport;
use crate::objects::{ObjectClient, RetryLimits};
use crate::session::WorkerIdentity;
use crate::source::{Mirrors, SourceTrees, TreeMeans};
use crate::tls::TrustedAuthorities;
use crate::toolchains::ToolchainCache;

/// Nothing here takes this long unless it is broken.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn an_attempt_that_a_killed_worker_left_unfinished_is_ended_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut open = Spool::create(folder.path(), 3).unwrap();
    open.append(&SpoolRecord::Log { step: 0, bytes: b"half".into() }).unwrap();
    let mut done = Spool::create(folder.path(), 5).unwrap();
    let last = Event::Finished { results: None, artifact: None, infra_failure: None };
    done.append(&SpoolRecord::Event(last)).unwrap();
    for _ in 0..2 {
        assert_eq!(close_spools(folder.path()).unwrap(), [(3, 2), (5, 1)]);
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

    /// Starts a worker in this farm's folder, as its command connection does.
    fn start(&mut self) {
        let url = FarmUrl::try_from(format!("http://{}", self.listener.local_addr().unwrap())).unwrap();
        let folder = Folder::open(&self.folder.path().join("worker")).unwrap();
        folder.remove_old_workspaces();
        let held = close_spools(&folder.spool()).unwrap();
        let sandbox = Sandbox::None;
        let machine = MachineReport::collect(&sandbox, &[]);
        let (token, token_receiver) = watch::channel(None);
        let authorities = TrustedAuthorities::load(None).unwrap();
        let objects =
            ObjectClient::new(url.clone(), authorities.clone(), token_receiver, RetryLimits::DEFAULT);
        self.stop = CancellationToken::new();
        let toolchains =
            ToolchainCache::open(folder.toolchains(), 1 << 30, objects.clone(), self.stop.clone()).unwrap();
        let key = Key::open_or_create(&folder.key()).unwrap();
        let identity = WorkerIdentity { key, facts: machine.facts.clone(), slots: 1 };
        let mirrors = Mirrors::open(folder.mirrors());
        let caches = CacheStore::open(folder.caches(), 1 << 30).unwrap();
        let sources = SourceTrees::open(mirrors, folder.sources(), 1 << 30, TreeMeans::Copy).unwrap();
        let resources = Arc::new(SharedResources {
            folder,
            sources,
            caches,
            toolchains,
            objects,
            machine,
            sandbox,
            activity: Arc::new(crate::activity::ActivityBoard::new(url.clone(), "attic", 1)),
            cpus: 1,
            build_disk: 1 << 40,
        });
        let endpoint = Endpoint { url: url.ws(protocol::path::SESSION), authorities };
        let agent = Agent::new(Session::new(identity, held, 1), resources, endpoint, token);
        self.worker = Some(tokio::spawn(agent.run(self.stop.clone(), self.stop.clone())));
    }

    async fn end(&mut self) {
        self.stop.cancel();
        self.worker.take().unwrap().await.unwrap();
    }

    /// Waits for the worker to connect, and completes the handshake; `then` decides about each attempt that it holds.
    async fn admit(&self, then: impl Fn(&HeldAttempt) -> ResumeAction) -> (Connection, Vec<HeldAttempt>) {
        loop {
            let accepted = tokio::time::timeout(DEADLINE, self.listener.accept()).await;
            let (stream, _) = accepted.expect("the worker connects in time").unwrap();
            stream.set_nodelay(true).unwrap();
            // A connection of a worker that has ended since does not count.
            let Ok(socket) = accept_async(stream).await else { continue };
            let mut connection = Connection { socket };
            let challenge = FromMaster::Challenge { protocol: protocol::VERSION, nonce: "n".into() };
            if connection.try_send(challenge).await.is_err() {
                continue;
            }
            let Some(Incoming::Message(FromWorker::Hello { held, .. })) = connection.try_receive().await
            else {
                continue;
            };
            let resume = held.iter().map(|h| Resume { attempt: h.attempt, action: then(h) }).collect();
            let (name, token) = ("attic".into(), "t".into());
            connection
                .send(FromMaster::Welcome {
                    name,
                    heartbeat_ms: 1000,
                    token,
                    held: resume,
                    takes_progress: true,
                    takes_pauses: true,
                })
                .await;
            return (connection, held);
        }
    }

    /// Receives until the condition holds, and answers meanwhile that each object which the worker uploads is there already.
    async fn until(
        &self,
        connection: &mut Connection,
        received: &mut Received,
        done: impl Fn(&Received) -> bool,
    ) {
        tokio::select! {
            () = connection.until(received, done) => {}
            never = self.answer_uploads() => never,
        }
    }

    async fn answer_uploads(&self) -> ! {
        loop {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    }

    fn offer(&self, attempt: i64, run: &str) -> FromMaster {
        let step = RecipeStep {
            name: "compile".into(),
            kind: StepKind::Compile,
            run: run.into(),
            network: false,
            report: None,
            patterns: None,
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
            // No smoke command and no success: no toolchain is packed.
            recipe: Recipe { steps: vec![step], ..Recipe::default() },
            cases: vec![],
            needs: vec![],
            lock: None,
            answer: false,
            caches: vec![],
        };
        FromMaster::Offer { build: 1, attempt, lease_ms: 60_000, plan: Box::new(plan) }
    }

    fn left_in(&self, name: &str) -> usize {
        fs::read_dir(self.folder.path().join("worker").join(name)).unwrap().count()
    }
}

/// The master's end of one connection.
struct Connection {
    socket: WebSocketStream<TcpStream>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, in a test")]
enum Incoming {
    Message(FromWorker),
    Log(LogFrame),
}

/// What the master receives of an attempt.
#[derive(Default)]
struct Received {
    sequence: u64,
    log: String,
    ends: Vec<StepEnd>,
    finished: Option<Event>,
}

impl Connection {
    async fn send(&mut self, message: FromMaster) {
        self.try_send(message).await.unwrap();
    }

    async fn try_send(&mut self, message: FromMaster) -> Result<(), tungstenite::Error> {
        self.socket.send(Message::text(protocol::encode(&message))).await
    }

    async fn receive(&mut self) -> Incoming {
        self.try_receive().await.expect("the worker does not close the connection")
    }

    /// None if the connection has ended.
    async fn try_receive(&mut self) -> Option<Incoming> {
        loop {
            match tokio::time::timeout(DEADLINE, self.socket.next())
                .await
                .expect("the worker sends something in time")?
                .ok()?
            {
                Message::Text(text) => return Some(Incoming::Message(protocol::decode(&text).unwrap())),
                Message::Binary(bytes) => return Some(Incoming::Log(LogFrame::from_bytes(&bytes).unwrap())),
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
            }
        }
    }

    async fn ack(&mut self, received: &Received) {
        self.send(FromMaster::Ack { attempt: 7, sequence: received.sequence }).await;
    }

    /// Receives until the condition holds. Every record must come exactly once and in order.
    async fn until(&mut self, received: &mut Received, done: impl Fn(&Received) -> bool) {
        while !done(received) {
            let sequence = match self.receive().await {
                Incoming::Log(frame) => {
                    received.log.push_str(&String::from_utf8_lossy(&frame.bytes));
                    frame.sequence
                }
                Incoming::Message(FromWorker::Event { sequence, event, .. }) => {
                    match event {
                        Event::StepEnded { end, .. } => received.ends.push(end),
                        Event::Finished { .. } => received.finished = Some(event),
                        Event::Started { .. }
                        | Event::StepStarted { .. }
                        | Event::LogTruncated { .. }
                        | Event::Lock { .. }
                        | Event::Answer { .. } => {}
                    }
                    sequence
                }
                Incoming::Message(_) => continue,
            };
            assert_eq!(sequence, received.sequence + 1);
            received.sequence = sequence;
        }
    }
}

fn commit(path: &Path) -> String {
    let repository = git2::Repository::init_bare(path).unwrap();
    let mut tree = repository.treebuilder(None).unwrap();
    tree.insert("hello", repository.blob(b"hello from the source\n").unwrap(), 0o100_644).unwrap();
    let tree = repository.find_tree(tree.write().unwrap()).unwrap();
    let author = git2::Signature::new("a", "a@example.org", &git2::Time::new(1, 0)).unwrap();
    repository.commit(Some("refs/heads/main"), &author, &author, "m", &tree, &[]).unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_run_reported_and_forgotten() {
    let mut farm = Farm::new().await;
    let (mut connection, held) = farm.admit(|_| panic!("it holds nothing")).await;
    assert_eq!(held, []);
    connection.send(farm.offer(7, "cat hello; exit 3")).await;
    let mut received = Received::default();
    farm.until(&mut connection, &mut received, |received| received.finished.is_some()).await;
    assert_eq!(received.log, "hello from the source\n");
    assert_eq!(received.ends, [StepEnd::Exit { code: 3 }]);
    // The step that died has its last lines as its message.
    let Some(Event::Finished { results: Some(_), artifact: None, infra_failure: None }) = received.finished
    else {
        panic!("{:?}", received.finished);
    };
    connection.ack(&received).await;
    farm.end().await;
    assert_eq!((farm.left_in("spool"), farm.left_in("work")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_loses_no_byte_and_repeats_none() {
    let mut farm = Farm::new().await;
    let (mut connection, _) = farm.admit(|_| panic!("it holds nothing")).await;
    let go = farm.folder.path().join("go");
    let run = format!("echo one; until test -e {}; do :; done; echo two; exit 1", go.display());
    connection.send(farm.offer(7, &run)).await;
    let mut received = Received::default();
    connection.until(&mut received, |received| received.log == "one\n").await;
    drop(connection);
    // The build goes on, and ends while nobody listens.
    fs::write(go, "").unwrap();
    let has = received.sequence;
    let (mut connection, held) = farm.admit(|_| ResumeAction::ResendAfter(has)).await;
    assert_eq!(held[0].attempt, 7);
    farm.until(&mut connection, &mut received, |received| received.finished.is_some()).await;
    assert_eq!(received.log, "one\ntwo\n");
    connection.ack(&received).await;
    farm.end().await;
    assert_eq!(farm.left_in("spool"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_build_ends_with_the_reason() {
    let mut farm = Farm::new().await;
    let (mut connection, _) = farm.admit(|_| panic!("it holds nothing")).await;
    connection.send(farm.offer(7, "echo begun; while :; do :; done")).await;
    let mut received = Received::default();
    connection.until(&mut received, |received| received.log == "begun\n").await;
    connection.send(FromMaster::Cancel { attempt: 7, reason: "superseded".into() }).await;
    connection.until(&mut received, |received| received.finished.is_some()).await;
    assert_eq!(received.ends, [StepEnd::Cancelled]);
    let Some(Event::Finished { infra_failure: Some(InfraFailure::Worker { detail }), .. }) =
        &received.finished
    else {
        panic!("{:?}", received.finished);
    };
    assert_eq!(detail, "superseded");
    connection.ack(&received).await;
    farm.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_reports_that_at_once_or_after_its_next_start() {
    let mut farm = Farm::new().await;
    let (mut connection, _) = farm.admit(|_| panic!("it holds nothing")).await;
    connection.send(farm.offer(7, "echo begun; while :; do :; done")).await;
    let mut received = Received::default();
    connection.until(&mut received, |received| received.log == "begun\n").await;
    drop(connection);
    farm.end().await;
    farm.start();
    let has = received.sequence;
    let (mut connection, held) = farm.admit(|_| ResumeAction::ResendAfter(has)).await;
    assert_eq!(held[0].attempt, 7);
    farm.until(&mut connection, &mut received, |received| received.finished.is_some()).await;
    let Some(Event::Finished { infra_failure: Some(InfraFailure::HandedBack { detail }), .. }) =
        &received.finished
    else {
        panic!("{:?}", received.finished);
    };
    assert_eq!(detail, "the worker was stopped by its owner");
    connection.ack(&received).await;
    farm.end().await;
    assert_eq!(farm.left_in("spool"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_fetched_is_an_infra_failure() {
    let mut farm = Farm::new().await;
    let (mut connection, _) = farm.admit(|_| panic!("it holds nothing")).await;
    let revision = std::mem::replace(&mut farm.revision, "1".repeat(40));
    connection.send(farm.offer(7, "true")).await;
    farm.revision = revision;
    let mut received = Received::default();
    connection.until(&mut received, |received| received.finished.is_some()).await;
    let Some(Event::Finished { infra_failure: Some(InfraFailure::Checkout { detail, .. }), .. }) =
        &received.finished
    else {
        panic!("{:?}", received.finished);
    };
    assert!(detail.contains("has no revision 1111"), "{detail}");
    connection.ack(&received).await;
    farm.end().await;
}
