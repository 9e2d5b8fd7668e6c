//! One attempt, from the offer's plan to its last word. Whatever happens in it, it ends with `Finished` in the spool.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use domain::results::{CaseList, Results};
use protocol::{Event, InfraFailure, LockFile, MAX_LOG_BYTES, PackedToolchain, Plan, Sha256, ToolchainFile};
use sha2::Digest;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::execute::archive::PackedTree;
use crate::execute::{ExecutionEvent, ExecutionJob, ExecutionResult, Sandbox, execute};
use crate::folder::{Folder, remove_tree};
use crate::machine::MachineReport;
use crate::objects::{ObjectClient, UploadKind, file_sha256};
use crate::session::{MoreToReport, SessionInput};
use crate::source::{Mirrors, SourceDeadline};
use crate::spool::{Spool, SpoolRecord};
use crate::toolchains::{ToolchainCache, ToolchainGuard};

/// To bring a source: a first clone of a large trunk over a home's link takes its time.
const CHECKOUT: Duration = Duration::from_secs(3600);
/// What happened and is not yet written. Log pieces are at most 64 KiB each.
const WAITING: usize = 16;
/// A detail is for a line on a page.
const MAX_DETAIL_BYTES: usize = 4096;
const RESULTS_LEVEL: i32 = 3;
/// Between tries to write the last word onto a full disk.
const ROOM_AGAIN: Duration = Duration::from_secs(5);

/// What all attempts of this worker share.
pub struct SharedResources {
    pub folder: Folder,
    pub mirrors: Mirrors,
    pub toolchains: Arc<ToolchainCache>,
    pub objects: ObjectClient,
    pub machine: MachineReport,
    pub sandbox: Sandbox,
    /// For each build.
    pub cpus: u32,
}

/// How an attempt is told to stop, and why.
#[derive(Clone, Default)]
pub struct StopSignal {
    token: CancellationToken,
    reason: Arc<OnceLock<String>>,
}

impl StopSignal {
    /// The first reason stands.
    pub fn because(&self, reason: String) {
        let _ = self.reason.set(reason);
        self.token.cancel();
    }
}

/// Runs an attempt to its end. `said` hears of each record once it is in the spool.
pub async fn run(
    shop: Arc<SharedResources>,
    attempt: i64,
    plan: Plan,
    spool: Spool,
    said: mpsc::Sender<SessionInput>,
    stop: StopSignal,
) {
    let mut voice = Voice { attempt, spool, said };
    let folder = shop.folder.work().join(attempt.to_string());
    let (out, mut happened) = mpsc::channel(WAITING);
    let work = Work { shop, plan, folder: folder.clone(), stop: stop.token.clone() };
    // A task of its own, so that also a panic in there ends in a last word.
    let working = tokio::spawn(work.run(out));
    let mut unwritten = None;
    while let Some(happened) = happened.recv().await {
        // After a gap nothing more may be said but the last word.
        if unwritten.is_none()
            && let Err(e) = voice.tell(happened).await
        {
            unwritten = Some(infra_failure_from(&e.into(), |detail| InfraFailure::Worker { detail }));
            stop.token.cancel();
        }
    }
    let delivered =
        working.await.unwrap_or_else(|e| Err(worker_failure(format!("the build failed inside: {e}"))));
    let _ = tokio::task::spawn_blocking(move || clear(&folder)).await;
    let stopped = stop.reason.get().map(|reason| worker_failure(reason.clone()));
    let finished = match (unwritten.or(stopped), delivered) {
        (Some(infra_failure), _) | (None, Err(infra_failure)) => {
            tracing::warn!("attempt {attempt} ended without a result: {}", detail_of(&infra_failure));
            Event::Finished { results: None, artifact: None, infra_failure: Some(infra_failure) }
        }
        (None, Ok(Delivered { results, artifact, infra_failure })) => {
            match &infra_failure {
                None => tracing::info!("attempt {attempt} is done"),
                Some(infra_failure) => {
                    tracing::warn!("attempt {attempt} was broken off: {}", detail_of(infra_failure))
                }
            }
            Event::Finished { results, artifact, infra_failure }
        }
    };
    voice.last_word(finished).await;
}

struct Voice {
    attempt: i64,
    spool: Spool,
    said: mpsc::Sender<SessionInput>,
}

impl Voice {
    async fn tell(&mut self, happened: ExecutionEvent) -> std::io::Result<()> {
        match happened {
            ExecutionEvent::Event(event) => self.write(&SpoolRecord::Event(event), MoreToReport::One).await,
            ExecutionEvent::Log { step, bytes } => {
                for piece in bytes.chunks(MAX_LOG_BYTES) {
                    self.write(&SpoolRecord::Log { step, bytes: piece.to_vec() }, MoreToReport::One).await?;
                }
                Ok(())
            }
        }
    }

    /// On a full disk this waits for room: the slot is lost meanwhile, the word is not.
    async fn last_word(&mut self, finished: Event) {
        let record = SpoolRecord::Event(finished);
        let mut told = None;
        while let Err(e) = self.write(&record, MoreToReport::Last).await {
            if told.replace(e.kind()) != Some(e.kind()) {
                tracing::error!("the end of attempt {} cannot be written: {e}; trying again", self.attempt);
            }
            tokio::time::sleep(ROOM_AGAIN).await;
        }
    }

    async fn write(&mut self, record: &SpoolRecord, word: MoreToReport) -> std::io::Result<()> {
        // Straight from here: a write into the page cache is shorter than a hop to another thread.
        let sequence = self.spool.append(record)?;
        let input = SessionInput::Written { attempt: self.attempt, sequence, word };
        // Nobody listens when the worker ends. What is in the spool is heard after its next start.
        let _ = self.said.send(input).await;
        Ok(())
    }
}

struct Work {
    shop: Arc<SharedResources>,
    plan: Plan,
    folder: PathBuf,
    stop: CancellationToken,
}

/// What lies ready for the first step.
struct Brought {
    source: PathBuf,
    needs: Option<PathBuf>,
    toolchain: Option<Arc<ToolchainGuard>>,
    lock: Option<PathBuf>,
}

struct Delivered {
    results: Option<Sha256>,
    artifact: Option<PackedToolchain>,
    /// What broke the build off after the results.
    infra_failure: Option<InfraFailure>,
}

impl Work {
    async fn run(self, out: mpsc::Sender<ExecutionEvent>) -> Result<Delivered, InfraFailure> {
        // Held until the last step has ended.
        let Brought { source, needs, toolchain, lock } = self.prepare().await?;
        let job = ExecutionJob {
            plan: self.plan.clone(),
            folder: self.folder.clone(),
            source,
            toolchain: toolchain.as_ref().map(|lent| lent.root().to_path_buf()),
            needs,
            lock,
            sandbox: self.shop.sandbox.clone(),
            environment: self.shop.machine.environment.clone(),
            cpus: self.shop.cpus,
        };
        let ExecutionResult { results, artifact, lock, answer, infra_failure } =
            execute(job, out.clone(), self.stop.clone()).await;
        let delivering = async {
            let lock = match lock {
                Some(path) => Some(self.deliver_lock(&path).await?),
                None => None,
            };
            let events = lock.into_iter().chain(answer.map(|text| Event::Answer { text }));
            for event in events {
                // Nobody listens any more when the attempt is over already.
                let _ = out.send(ExecutionEvent::Event(event)).await;
            }
            self.deliver(results, artifact).await
        };
        match (delivering.await, infra_failure) {
            (Ok(delivered), infra_failure) => Ok(Delivered { infra_failure, ..delivered }),
            (Err(_), Some(infra_failure)) => Err(infra_failure),
            (Err(e), None) => Err(infra_failure_from(&e, |detail| InfraFailure::Worker { detail })),
        }
    }

    /// Sources and toolchain come at the same time.
    async fn prepare(&self) -> Result<Brought, InfraFailure> {
        let preparing = async {
            let toolchain = async {
                match self.plan.toolchain {
                    Some(toolchain) => self.toolchain(toolchain).await.map(Some),
                    None => Ok(None),
                }
            };
            let ((source, needs), toolchain) = tokio::try_join!(self.sources(), toolchain)?;
            let lock = match self.plan.lock {
                Some(lock) => Some(self.lock(lock).await?),
                None => None,
            };
            Ok(Brought { source, needs, toolchain, lock })
        };
        tokio::select! {
            prepared = preparing => prepared,
            // The thread that fetches ends by itself soon after.
            () = self.stop.cancelled() => Err(worker_failure("stopped before the first step".into())),
        }
    }

    /// The source, and the folder with those of what it needs.
    async fn sources(&self) -> Result<(PathBuf, Option<PathBuf>), InfraFailure> {
        let shop = Arc::clone(&self.shop);
        let (folder, source, needs) =
            (self.folder.clone(), self.plan.source.clone(), self.plan.needs.clone());
        let until = SourceDeadline { deadline: Instant::now() + CHECKOUT, stop: self.stop.clone() };
        let exporting = tokio::task::spawn_blocking(move || {
            let make = |folder: &Path| {
                std::fs::create_dir(folder).with_context(|| format!("making {}", folder.display()))
            };
            make(&folder)?;
            let into = folder.join("src");
            match source.git.as_str() {
                // A fetch step brings it.
                "" => make(&into)?,
                _ => shop.mirrors.export(&source, &into, &until)?,
            }
            if needs.is_empty() {
                return Ok((into, None));
            }
            let below = folder.join("needs");
            make(&below)?;
            for need in &needs {
                let exported = match folder_name(&need.name) {
                    Some(name) => shop.mirrors.export(&need.source, &below.join(name), &until),
                    None => Err(anyhow::anyhow!("its name is none")),
                };
                exported.with_context(|| format!("bringing what it needs: {}", need.name))?;
            }
            Ok((into, Some(below)))
        });
        let exported = exporting.await.context("the checkout failed inside").and_then(|exported| exported);
        exported.map_err(|e| infra_failure_from(&e, |detail| InfraFailure::Checkout { detail }))
    }

    async fn lock(&self, lock: LockFile) -> Result<PathBuf, InfraFailure> {
        let part = self.folder.join("locked");
        let brought =
            self.shop.objects.bring(UploadKind::Lock, lock.sha256, lock.bytes, &part, &self.stop).await;
        brought.map_err(|e| infra_failure_from(&e, |detail| InfraFailure::Checkout { detail })).map(|()| part)
    }

    async fn toolchain(&self, toolchain: ToolchainFile) -> Result<Arc<ToolchainGuard>, InfraFailure> {
        let brought = self.shop.toolchains.bring(toolchain).await;
        brought.map_err(|detail| {
            infra_failure_from(&anyhow::Error::msg(detail), |detail| InfraFailure::Toolchain { detail })
        })
    }

    /// Uploads what `Finished` is going to name.
    async fn deliver(
        &self,
        results: Option<(CaseList, Results)>,
        artifact: Option<PackedTree>,
    ) -> anyhow::Result<Delivered> {
        let results = match results {
            Some((cases, results)) => Some(self.deliver_results(cases, results).await?),
            None => None,
        };
        let artifact = match artifact {
            Some(PackedTree { path, sha256, bytes }) => {
                self.shop.objects.deliver(UploadKind::Artifact, sha256, &path, &self.stop).await?;
                if let Err(e) = self.shop.toolchains.adopt(ToolchainFile { sha256, bytes }, &path) {
                    tracing::warn!("the toolchain {} is not kept: {e}", sha256.short());
                }
                Some(PackedToolchain { sha256, bytes })
            }
            None => None,
        };
        Ok(Delivered { results, artifact, infra_failure: None })
    }

    async fn deliver_lock(&self, path: &Path) -> anyhow::Result<Event> {
        let of = path.to_path_buf();
        let named = tokio::task::spawn_blocking(move || Ok((file_sha256(&of)?, of.metadata()?.len())));
        let (sha256, bytes) = named
            .await
            .context("reading the lock failed inside")?
            .map_err(|e: std::io::Error| anyhow::Error::new(e).context("reading the lock"))?;
        self.shop.objects.deliver(UploadKind::Lock, sha256, path, &self.stop).await?;
        Ok(Event::Lock { sha256, bytes })
    }

    async fn deliver_results(&self, cases: CaseList, results: Results) -> anyhow::Result<Sha256> {
        let folder = self.folder.clone();
        let packing = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let list = (cases.sha256(), folder.join("cases.zst"));
            write_packed(&list.1, cases.to_text().as_bytes())?;
            let path = folder.join("results.zst");
            let sha256 = write_packed(&path, &serde_json::to_vec(&results)?)?;
            Ok((list, (sha256, path)))
        });
        let (list, (sha256, path)) = packing.await.context("packing the results failed inside")??;
        let objects = &self.shop.objects;
        objects.deliver(UploadKind::Cases, list.0, &list.1, &self.stop).await?;
        objects.deliver(UploadKind::Results, sha256, &path, &self.stop).await?;
        Ok(sha256)
    }
}

/// A name that stays inside the folder in which it is made.
fn folder_name(name: &str) -> Option<&str> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
    plain.then_some(name)
}

/// Returns the name of the packed file's bytes.
fn write_packed(path: &Path, content: &[u8]) -> anyhow::Result<Sha256> {
    let packed = zstd::encode_all(content, RESULTS_LEVEL).context("compressing the results")?;
    std::fs::write(path, &packed).with_context(|| format!("writing {}", path.display()))?;
    Ok(Sha256(sha2::Sha256::digest(&packed).into()))
}

fn clear(folder: &Path) {
    if let Err(e) = remove_tree(folder) {
        tracing::warn!("the workspace {} cannot be removed: {e}", folder.display());
    }
}

fn worker_failure(detail: String) -> InfraFailure {
    InfraFailure::Worker { detail: bounded(detail) }
}

/// A full disk has its own name, wherever it is met.
fn infra_failure_from(error: &anyhow::Error, otherwise: impl FnOnce(String) -> InfraFailure) -> InfraFailure {
    let detail = bounded(format!("{error:#}"));
    // libgit2 has words for it only.
    let full = error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::StorageFull)
    }) || detail.contains("No space left on device");
    if full { InfraFailure::NoSpace { detail } } else { otherwise(detail) }
}

fn detail_of(infra_failure: &InfraFailure) -> &str {
    match infra_failure {
        InfraFailure::Checkout { detail }
        | InfraFailure::Toolchain { detail }
        | InfraFailure::Sandbox { detail }
        | InfraFailure::NoSpace { detail }
        | InfraFailure::Worker { detail } => detail,
    }
}

fn bounded(mut detail: String) -> String {
    let end = (0..=MAX_DETAIL_BYTES.min(detail.len())).rev().find(|end| detail.is_char_boundary(*end));
    detail.truncate(end.unwrap_or(0));
    detail
}
