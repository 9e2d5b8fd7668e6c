//! One attempt, from the offered plan to its end. Whatever happens, it ends with `Finished` in the spool.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use domain::progress::{Throttle, sentence};
use domain::results::{CaseList, Results};
use protocol::{
    DeclaredCache, Event, FetchProgress, InfraFailure, LockFile, MAX_LOG_BYTES, NeedSource, PackedToolchain,
    Plan, Sha256, ToolchainFile,
};
use sha2::Digest;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::activity::ActivityBoard;
use crate::caches::CacheStore;
use crate::execute::archive::PackedTree;
use crate::execute::{
    ExecutionEvent, ExecutionJob, ExecutionResult, MountedCache, Sandbox, SourceFolder, WorkspaceInputs,
    execute,
};
use crate::folder::Folder;
use crate::machine::MachineReport;
use crate::objects::{ObjectClient, UploadKind, file_sha256};
use crate::privacy::without_paths;
use crate::session::{MoreToReport, SessionInput};
use crate::source::{MissingRevision, SourceDeadline, SourceTrees, WantedSource};
use crate::spool::{Spool, SpoolRecord};
use crate::toolchains::ToolchainCache;
use crate::trash::remove_tree;
use crate::trees::TreeGuard;

/// Time to fetch and export the sources: a first clone of a large trunk over a home connection is slow.
const CHECKOUT_TIME: Duration = Duration::from_secs(3600);
/// How often the size of a download is looked at.
const DOWNLOAD_GLANCE: Duration = Duration::from_secs(1);
/// Events that wait to be written. Log pieces are at most 64 KiB each.
const EVENT_QUEUE: usize = 16;
/// A detail is for a line on a page.
const MAX_DETAIL_BYTES: usize = 4096;
const RESULTS_COMPRESSION_LEVEL: i32 = 3;
/// Between tries to write the end of an attempt onto a full disk.
const WRITE_RETRY_PAUSE: Duration = Duration::from_secs(5);

/// What all attempts of this worker share.
pub struct SharedResources {
    pub folder: Folder,
    pub sources: SourceTrees,
    pub caches: Arc<CacheStore>,
    pub toolchains: Arc<ToolchainCache>,
    pub objects: ObjectClient,
    pub machine: MachineReport,
    pub sandbox: Sandbox,
    pub activity: Arc<ActivityBoard>,
    /// For each build.
    pub cpus: u32,
    pub build_disk: u64,
}

/// Tells an attempt to stop, and why.
#[derive(Clone, Default)]
pub struct StopSignal {
    token: CancellationToken,
    reason: Arc<OnceLock<InfraFailure>>,
}

impl StopSignal {
    /// The first reason stands.
    pub fn send(&self, reason: String) {
        self.stop(worker_failure(reason));
    }

    /// Nothing has failed: another worker is to run the build.
    pub fn hand_back(&self, reason: String) {
        self.stop(InfraFailure::HandedBack { detail: truncated(reason) });
    }

    fn stop(&self, why: InfraFailure) {
        let _ = self.reason.set(why);
        self.token.cancel();
    }
}

/// Runs an attempt to its end. `inputs` receives each record once it is in the spool.
pub async fn run(
    resources: Arc<SharedResources>,
    attempt: i64,
    plan: Plan,
    spool: Spool,
    inputs: mpsc::Sender<SessionInput>,
    stop: StopSignal,
) {
    let progress = ProgressReporter {
        attempt,
        inputs: inputs.clone(),
        throttle: Mutex::default(),
        begun: Instant::now(),
        activity: Arc::clone(&resources.activity),
    };
    let activity = Arc::clone(&resources.activity);
    let root = resources.folder.root().to_path_buf();
    let reporter = AttemptReporter { attempt, spool: Arc::new(Mutex::new(spool)), inputs, root };
    let folder = resources.folder.work().join(attempt.to_string());
    let (out, mut events) = mpsc::channel(EVENT_QUEUE);
    let progress = Arc::new(progress);
    let task = BuildTask { resources, plan, folder: folder.clone(), stop: stop.token.clone(), progress };
    // A task of its own, so that the attempt has an end even if the task panics.
    let building = tokio::spawn(task.run(out));
    let mut write_failure = None;
    while let Some(event) = events.recv().await {
        activity.note(attempt, &event);
        // After a gap in the record, only the end may be reported.
        if write_failure.is_none()
            && let Err(e) = reporter.report(event).await
        {
            write_failure = Some(infra_failure_from(&e.into(), |detail| InfraFailure::Worker { detail }));
            stop.token.cancel();
        }
    }
    let built = building.await.unwrap_or_else(|e| {
        Err(worker_failure(format!("internal error in the worker: the build's task failed: {e}")))
    });
    let _ = tokio::task::spawn_blocking(move || remove_workspace(&folder)).await;
    let stopped = stop.reason.get().cloned();
    let finished = match (write_failure.or(stopped), built) {
        (Some(infra_failure), _) | (None, Err(infra_failure)) => {
            activity.end(attempt, Some(&infra_failure));
            Event::Finished { results: None, artifact: None, infra_failure: Some(infra_failure) }
        }
        (None, Ok(UploadedResult { results, artifact, infra_failure })) => {
            activity.end(attempt, infra_failure.as_ref());
            Event::Finished { results, artifact, infra_failure }
        }
    };
    reporter.report_end(finished).await;
}

/// Builds a plan once and reports nothing: what happens is shown by the activity board. The result has no place to go.
pub async fn rehearse(
    resources: Arc<SharedResources>,
    plan: Plan,
    stop: CancellationToken,
) -> Result<ExecutionResult, InfraFailure> {
    let (attempt, folder) = (0, resources.folder.work().join("rehearsal"));
    let (inputs, _nobody) = mpsc::channel(1);
    let activity = Arc::clone(&resources.activity);
    let progress = Arc::new(ProgressReporter {
        attempt,
        inputs,
        throttle: Mutex::default(),
        begun: Instant::now(),
        activity: Arc::clone(&activity),
    });
    let (out, mut events) = mpsc::channel(EVENT_QUEUE);
    let task = BuildTask { resources, plan, folder: folder.clone(), stop, progress };
    let building = tokio::spawn(async move {
        let prepared = task.prepare().await?;
        Ok(execute(task.job(&prepared), out, task.stop.clone()).await)
    });
    while let Some(event) = events.recv().await {
        activity.note(attempt, &event);
        if let ExecutionEvent::Log { bytes, .. } = event {
            let mut screen = std::io::stdout().lock();
            // A closed pipe changes nothing about the rehearsal.
            let _ = std::io::Write::write_all(&mut screen, &bytes);
        }
    }
    let built =
        building.await.unwrap_or_else(|e| Err(worker_failure(format!("the build's task failed: {e}"))));
    let _ = tokio::task::spawn_blocking(move || remove_workspace(&folder)).await;
    built
}

/// Writes what happens in an attempt into its spool, and tells the session about it.
struct AttemptReporter {
    attempt: i64,
    /// Locked only on threads that may block.
    spool: Arc<Mutex<Spool>>,
    inputs: mpsc::Sender<SessionInput>,
    /// The worker's folder: its path is nobody else's business.
    root: PathBuf,
}

impl AttemptReporter {
    async fn report(&self, event: ExecutionEvent) -> std::io::Result<()> {
        match event {
            ExecutionEvent::Event(event) => self.write(SpoolRecord::Event(event), MoreToReport::Yes).await,
            ExecutionEvent::Log { step, bytes } => {
                for piece in bytes.chunks(MAX_LOG_BYTES) {
                    self.write(SpoolRecord::Log { step, bytes: piece.to_vec() }, MoreToReport::Yes).await?;
                }
                Ok(())
            }
        }
    }

    /// On a full disk this waits for space. The slot is not usable meanwhile, but the end is not lost.
    async fn report_end(&self, finished: Event) {
        let mut logged = None;
        while let Err(e) = self.write(SpoolRecord::Event(finished.clone()), MoreToReport::No).await {
            if logged.replace(e.kind()) != Some(e.kind()) {
                tracing::error!(
                    "cannot write the end of attempt {} to the spool: {e}; trying again every {} s",
                    self.attempt,
                    WRITE_RETRY_PAUSE.as_secs()
                );
            }
            tokio::time::sleep(WRITE_RETRY_PAUSE).await;
        }
    }

    async fn write(&self, record: SpoolRecord, more: MoreToReport) -> std::io::Result<()> {
        let record = match record {
            SpoolRecord::Event(event) => SpoolRecord::Event(without_paths(event, &self.root)),
            log @ SpoolRecord::Log { .. } => log,
        };
        let spool = Arc::clone(&self.spool);
        // While builds write a lot, the kernel makes every writer wait for the disk: also this one.
        let sequence = tokio::task::spawn_blocking(move || {
            spool.lock().unwrap_or_else(std::sync::PoisonError::into_inner).append(&record)
        })
        .await
        .map_err(std::io::Error::other)??;
        let input = SessionInput::RecordWritten { attempt: self.attempt, sequence, more };
        // Nobody listens while the worker ends. What is in the spool is sent after its next start.
        let _ = self.inputs.send(input).await;
        Ok(())
    }
}

/// Tells the session how far an attempt has fetched what it needs.
struct ProgressReporter {
    attempt: i64,
    inputs: mpsc::Sender<SessionInput>,
    throttle: Mutex<Throttle>,
    begun: Instant,
    activity: Arc<ActivityBoard>,
}

impl ProgressReporter {
    /// Never waits: a report that finds no room is lost, and the next one is newer.
    fn report(&self, progress: FetchProgress) {
        let mut throttle = self.throttle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if throttle.admits(self.begun.elapsed()) {
            self.activity.fetching(self.attempt, &sentence(&progress));
            let _ = self.inputs.try_send(SessionInput::Progress { attempt: self.attempt, progress });
        }
    }
}

struct BuildTask {
    resources: Arc<SharedResources>,
    plan: Plan,
    folder: PathBuf,
    stop: CancellationToken,
    progress: Arc<ProgressReporter>,
}

/// What is ready before the first step.
struct PreparedInputs {
    workspace: WorkspaceInputs,
    /// Keep the toolchain and the sources until the last step has ended.
    _toolchain: Option<Arc<TreeGuard>>,
    _sources: Vec<Arc<TreeGuard>>,
}

/// The source of a build, and the projects that it needs.
struct PreparedSources {
    source: SourceFolder,
    needs: Option<PathBuf>,
    mounted_needs: Vec<(String, PathBuf)>,
    guards: Vec<Arc<TreeGuard>>,
    /// How git describes the revision, if the recipe asks for that.
    version: Option<String>,
}

/// What `Finished` reports.
struct UploadedResult {
    results: Option<Sha256>,
    artifact: Option<PackedToolchain>,
    /// What ended the build early, after these results.
    infra_failure: Option<InfraFailure>,
}

impl BuildTask {
    async fn run(self, out: mpsc::Sender<ExecutionEvent>) -> Result<UploadedResult, InfraFailure> {
        let prepared = self.prepare().await?;
        let job = self.job(&prepared);
        let ExecutionResult { results, artifact, lock, answer, infra_failure } =
            execute(job, out.clone(), self.stop.clone()).await;
        if let Some((list, results)) = &results {
            self.resources.activity.cases(self.progress.attempt, list, results);
        }
        let uploading = async {
            let lock = match lock {
                Some(path) => Some(self.upload_lock(&path).await?),
                None => None,
            };
            let events = lock.into_iter().chain(answer.map(|text| Event::Answer { text }));
            for event in events {
                // Nobody listens if the attempt is already over.
                let _ = out.send(ExecutionEvent::Event(event)).await;
            }
            self.upload(results, artifact).await
        };
        match (uploading.await, infra_failure) {
            (Ok(uploaded), infra_failure) => Ok(UploadedResult { infra_failure, ..uploaded }),
            (Err(_), Some(infra_failure)) => Err(infra_failure),
            (Err(e), None) => Err(infra_failure_from(&e, |detail| InfraFailure::Worker { detail })),
        }
    }

    fn job(&self, prepared: &PreparedInputs) -> ExecutionJob {
        ExecutionJob {
            plan: self.plan.clone(),
            folder: self.folder.clone(),
            inputs: prepared.workspace.clone(),
            sandbox: self.resources.sandbox.clone(),
            environment: self.resources.machine.environment.clone(),
            cpus: self.resources.cpus,
            disk_bytes: self.resources.build_disk,
        }
    }

    /// Fetches the sources and the toolchain at the same time.
    async fn prepare(&self) -> Result<PreparedInputs, InfraFailure> {
        let preparing = async {
            let toolchain = async {
                match self.plan.toolchain {
                    Some(toolchain) => self.toolchain(toolchain).await.map(Some),
                    None => Ok(None),
                }
            };
            let (sources, toolchain) = tokio::try_join!(self.prepare_sources(), toolchain)?;
            let lock = match self.plan.lock {
                Some(lock) => Some(self.download_lock(lock).await?),
                None => None,
            };
            let root = toolchain.as_ref().map(|guard| guard.root().to_path_buf());
            let PreparedSources { source, needs, mounted_needs, guards, version } = sources;
            let caches = self.open_caches().await?;
            let workspace =
                WorkspaceInputs { source, toolchain: root, needs, mounted_needs, caches, lock, version };
            Ok(PreparedInputs { workspace, _toolchain: toolchain, _sources: guards })
        };
        tokio::select! {
            prepared = preparing => prepared,
            // The thread that fetches ends by itself soon after.
            () = self.stop.cancelled() => Err(worker_failure("stopped before the first step".into())),
        }
    }

    async fn prepare_sources(&self) -> Result<PreparedSources, InfraFailure> {
        let (resources, folder, plan) = (Arc::clone(&self.resources), self.folder.clone(), self.plan.clone());
        let reporter = Arc::clone(&self.progress);
        let until = SourceDeadline {
            what: "the source".to_string(),
            deadline: Instant::now() + CHECKOUT_TIME,
            stop: self.stop.clone(),
            on_progress: Some(Arc::new(move |progress| reporter.report(progress))),
        };
        let exporting =
            tokio::task::spawn_blocking(move || prepare_sources(&resources, &plan, &folder, &until));
        let exported =
            exporting.await.context("internal error: the checkout failed").and_then(|exported| exported);
        exported.map_err(|e| {
            let missing = e.chain().find_map(|cause| cause.downcast_ref::<MissingRevision>());
            let missing = missing.map(|missing| missing.revision.clone());
            infra_failure_from(&e, |detail| InfraFailure::Checkout { detail, missing })
        })
    }

    /// A cache that cannot be had costs only time.
    async fn open_caches(&self) -> Result<Vec<MountedCache>, InfraFailure> {
        let (resources, declared) = (Arc::clone(&self.resources), self.plan.caches.clone());
        let opening = tokio::task::spawn_blocking(move || {
            let open = |declared: DeclaredCache| {
                let opened =
                    match is_plain_path(&declared.path) && valid_folder_name(&declared.name).is_some() {
                        true => resources.caches.get(declared.key, declared.max_bytes),
                        false => Err(anyhow::anyhow!("its name or path is not plain: {}", declared.path)),
                    };
                match opened {
                    Ok(guard) => Some(MountedCache { declared, guard }),
                    Err(e) => {
                        tracing::warn!("building without the cache `{}`: {e:#}", declared.name);
                        None
                    }
                }
            };
            declared.into_iter().filter_map(open).collect()
        });
        opening.await.map_err(|e| worker_failure(format!("internal error: opening the caches failed: {e}")))
    }

    async fn download_lock(&self, lock: LockFile) -> Result<PathBuf, InfraFailure> {
        let path = self.folder.join("locked");
        let downloading =
            self.resources.objects.download(UploadKind::Lock, lock.sha256, lock.bytes, &path, &self.stop);
        match downloading.await {
            Ok(()) => Ok(path),
            Err(e) => Err(infra_failure_from(&e, |detail| InfraFailure::Checkout { detail, missing: None })),
        }
    }

    async fn toolchain(&self, toolchain: ToolchainFile) -> Result<Arc<TreeGuard>, InfraFailure> {
        let mut getting = std::pin::pin!(self.resources.toolchains.get(toolchain));
        let got = loop {
            tokio::select! {
                got = &mut getting => break got,
                () = tokio::time::sleep(DOWNLOAD_GLANCE) => {
                    if let Some(bytes) = self.resources.toolchains.downloaded(toolchain.sha256) {
                        let total_bytes = Some(toolchain.bytes);
                        let what = "the toolchain".to_string();
                        self.progress.report(FetchProgress { what, bytes, total_bytes, ..FetchProgress::default() });
                    }
                }
            }
        };
        got.map_err(|detail| {
            infra_failure_from(&anyhow::Error::msg(detail), |detail| InfraFailure::Toolchain { detail })
        })
    }

    /// Uploads what `Finished` is going to name.
    async fn upload(
        &self,
        results: Option<(CaseList, Results)>,
        artifact: Option<PackedTree>,
    ) -> anyhow::Result<UploadedResult> {
        let results = match results {
            Some((cases, results)) => Some(self.upload_results(cases, results).await?),
            None => None,
        };
        let artifact = match artifact {
            Some(PackedTree { path, sha256, bytes }) => {
                self.resources.objects.upload(UploadKind::Artifact, sha256, &path, &self.stop).await?;
                if let Err(e) = self.resources.toolchains.insert_built(ToolchainFile { sha256, bytes }, &path)
                {
                    tracing::warn!("cannot put the new toolchain {} into the cache: {e}", sha256.short());
                }
                Some(PackedToolchain { sha256, bytes })
            }
            None => None,
        };
        Ok(UploadedResult { results, artifact, infra_failure: None })
    }

    async fn upload_lock(&self, path: &Path) -> anyhow::Result<Event> {
        let file = path.to_path_buf();
        let reading = tokio::task::spawn_blocking(move || Ok((file_sha256(&file)?, file.metadata()?.len())));
        let (sha256, bytes) = reading
            .await
            .context("internal error: reading the lock failed")?
            .map_err(|e: std::io::Error| anyhow::Error::new(e).context("reading the lock"))?;
        self.resources.objects.upload(UploadKind::Lock, sha256, path, &self.stop).await?;
        Ok(Event::Lock { sha256, bytes })
    }

    async fn upload_results(&self, cases: CaseList, results: Results) -> anyhow::Result<Sha256> {
        let folder = self.folder.clone();
        let packing = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let list = (cases.sha256(), folder.join("cases.zst"));
            write_compressed(&list.1, cases.to_text().as_bytes())?;
            let path = folder.join("results.zst");
            let sha256 = write_compressed(&path, &serde_json::to_vec(&results)?)?;
            Ok((list, (sha256, path)))
        });
        let (list, (sha256, path)) =
            packing.await.context("internal error: compressing the results failed")??;
        let objects = &self.resources.objects;
        objects.upload(UploadKind::Cases, list.0, &list.1, &self.stop).await?;
        objects.upload(UploadKind::Results, sha256, &path, &self.stop).await?;
        Ok(sha256)
    }
}

/// Blocks until the sources of a plan can be used in the build's new folder.
fn prepare_sources(
    resources: &SharedResources,
    plan: &Plan,
    folder: &Path,
    until: &SourceDeadline,
) -> anyhow::Result<PreparedSources> {
    create_folder(folder)?;
    let sources = &resources.sources;
    let own = folder.join("src");
    let mut prepared = PreparedSources {
        source: SourceFolder::Own(own.clone()),
        needs: None,
        mounted_needs: Vec::new(),
        guards: Vec::new(),
        version: None,
    };
    let checkout = &plan.recipe.checkout;
    if plan.source.git.is_empty() {
        // A fetch step downloads the source.
        create_folder(&own)?;
    } else {
        let wanted = WantedSource { source: &plan.source, with_submodules: checkout.submodules };
        let given = match plan.toolchain {
            Some(_) => sources.give(wanted, &own, until)?,
            // A change is built once.
            None => sources.give_once(wanted, &own, until)?,
        };
        if checkout.describe {
            prepared.version = Some(sources.describe(&plan.source, until)?);
        }
        prepared.source = given.folder;
        prepared.guards.extend(given.guard);
    }
    if plan.needs.is_empty() {
        return Ok(prepared);
    }
    let needs = folder.join("needs");
    create_folder(&needs)?;
    for need in &plan.needs {
        let with_submodules = checkout.submodules_of_needs.contains(&need.name);
        prepare_need(resources, need, with_submodules, &needs, &mut prepared, until)
            .with_context(|| format!("fetching the needed project `{}`", need.name))?;
    }
    prepared.needs = Some(needs);
    Ok(prepared)
}

fn prepare_need(
    resources: &SharedResources,
    need: &NeedSource,
    with_submodules: bool,
    needs: &Path,
    prepared: &mut PreparedSources,
    until: &SourceDeadline,
) -> anyhow::Result<()> {
    let name = valid_folder_name(&need.name).context("its name cannot be a folder's name")?;
    let wanted = WantedSource { source: &need.source, with_submodules };
    let until = &until.of(name);
    match resources.sandbox {
        Sandbox::None => resources.sources.copy(wanted, &needs.join(name), until),
        Sandbox::Bubblewrap { .. } => {
            let tree = resources.sources.tree(wanted, until)?;
            // The folder on which it is mounted.
            create_folder(&needs.join(name))?;
            prepared.mounted_needs.push((name.to_string(), tree.root().to_path_buf()));
            prepared.guards.push(tree);
            Ok(())
        }
    }
}

fn create_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(folder).with_context(|| format!("creating {}", folder.display()))
}

/// A path that stays below the folder in which it is created.
fn is_plain_path(path: &str) -> bool {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    path.split('/').all(is_plain)
}

/// A name that stays inside the folder in which it is created.
fn valid_folder_name(name: &str) -> Option<&str> {
    let is_valid = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
    is_valid.then_some(name)
}

/// Returns the hash of the compressed bytes.
fn write_compressed(path: &Path, content: &[u8]) -> anyhow::Result<Sha256> {
    let compressed =
        zstd::encode_all(content, RESULTS_COMPRESSION_LEVEL).context("compressing the results")?;
    std::fs::write(path, &compressed).with_context(|| format!("writing {}", path.display()))?;
    Ok(Sha256(sha2::Sha256::digest(&compressed).into()))
}

fn remove_workspace(folder: &Path) {
    if let Err(e) = remove_tree(folder) {
        tracing::warn!(
            "cannot remove the workspace {}: {e}; it is removed at the next start",
            folder.display()
        );
    }
}

fn worker_failure(detail: String) -> InfraFailure {
    InfraFailure::Worker { detail: truncated(detail) }
}

/// A full disk has a kind of its own, wherever the error occurs.
fn infra_failure_from(error: &anyhow::Error, otherwise: impl FnOnce(String) -> InfraFailure) -> InfraFailure {
    let detail = truncated(format!("{error:#}"));
    // libgit2 reports it only as text.
    let is_full = error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::StorageFull)
    }) || detail.contains("No space left on device");
    if is_full { InfraFailure::NoSpace { detail } } else { otherwise(detail) }
}

fn truncated(mut detail: String) -> String {
    let end = (0..=MAX_DETAIL_BYTES.min(detail.len())).rev().find(|end| detail.is_char_boundary(*end));
    detail.truncate(end.unwrap_or(0));
    detail
}
