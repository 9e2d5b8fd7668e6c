//! One attempt, from the offer's plan to its last word. Whatever happens in it, it ends with `Finished` in the spool.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use domain::results::{CaseList, Results};
use protocol::{Event, MAX_LOG_BYTES, Made, Plan, Sha256, Toolchain, Trouble};
use sha2::Digest;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::execute::archive::Packed;
use crate::execute::{Ending, Happened, Job, Sandbox, execute};
use crate::folder::{Folder, remove_tree};
use crate::machine::Machine;
use crate::objects::{Kind, Objects};
use crate::session::{Input, Word};
use crate::source::{Mirrors, Until};
use crate::spool::{Record, Spool};
use crate::toolchains::{Lent, Toolchains};

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
pub struct Workshop {
    pub folder: Folder,
    pub mirrors: Mirrors,
    pub toolchains: Arc<Toolchains>,
    pub objects: Objects,
    pub machine: Machine,
    pub sandbox: Sandbox,
    /// For each build.
    pub cpus: u32,
}

/// How an attempt is told to stop, and why.
#[derive(Clone, Default)]
pub struct Stop {
    token: CancellationToken,
    reason: Arc<OnceLock<String>>,
}

impl Stop {
    /// The first reason stands.
    pub fn because(&self, reason: String) {
        let _ = self.reason.set(reason);
        self.token.cancel();
    }
}

/// Runs an attempt to its end. `said` hears of each record once it is in the spool.
pub async fn run(
    shop: Arc<Workshop>,
    attempt: i64,
    plan: Plan,
    spool: Spool,
    said: mpsc::Sender<Input>,
    stop: Stop,
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
            unwritten = Some(trouble_from(&e.into(), |detail| Trouble::Worker { detail }));
            stop.token.cancel();
        }
    }
    let delivered =
        working.await.unwrap_or_else(|e| Err(worker_trouble(format!("the build failed inside: {e}"))));
    let _ = tokio::task::spawn_blocking(move || clear(&folder)).await;
    let stopped = stop.reason.get().map(|reason| worker_trouble(reason.clone()));
    let finished = match (unwritten.or(stopped), delivered) {
        (Some(trouble), _) | (None, Err(trouble)) => {
            tracing::warn!("attempt {attempt} ended without a result: {}", detail_of(&trouble));
            Event::Finished { results: None, artifact: None, trouble: Some(trouble) }
        }
        (None, Ok(Delivered { results, artifact, trouble })) => {
            match &trouble {
                None => tracing::info!("attempt {attempt} is done"),
                Some(trouble) => tracing::warn!("attempt {attempt} was broken off: {}", detail_of(trouble)),
            }
            Event::Finished { results, artifact, trouble }
        }
    };
    voice.last_word(finished).await;
}

struct Voice {
    attempt: i64,
    spool: Spool,
    said: mpsc::Sender<Input>,
}

impl Voice {
    async fn tell(&mut self, happened: Happened) -> std::io::Result<()> {
        match happened {
            Happened::Event(event) => self.write(&Record::Event(event), Word::One).await,
            Happened::Log { step, bytes } => {
                for piece in bytes.chunks(MAX_LOG_BYTES) {
                    self.write(&Record::Log { step, bytes: piece.to_vec() }, Word::One).await?;
                }
                Ok(())
            }
        }
    }

    /// On a full disk this waits for room: the slot is lost meanwhile, the word is not.
    async fn last_word(&mut self, finished: Event) {
        let record = Record::Event(finished);
        let mut told = None;
        while let Err(e) = self.write(&record, Word::Last).await {
            if told.replace(e.kind()) != Some(e.kind()) {
                tracing::error!("the end of attempt {} cannot be written: {e}; trying again", self.attempt);
            }
            tokio::time::sleep(ROOM_AGAIN).await;
        }
    }

    async fn write(&mut self, record: &Record, word: Word) -> std::io::Result<()> {
        // Straight from here: a write into the page cache is shorter than a hop to another thread.
        let sequence = self.spool.append(record)?;
        let input = Input::Written { attempt: self.attempt, sequence, word };
        // Nobody listens when the worker ends. What is in the spool is heard after its next start.
        let _ = self.said.send(input).await;
        Ok(())
    }
}

struct Work {
    shop: Arc<Workshop>,
    plan: Plan,
    folder: PathBuf,
    stop: CancellationToken,
}

struct Delivered {
    results: Option<Sha256>,
    artifact: Option<Made>,
    /// What broke the build off after the results.
    trouble: Option<Trouble>,
}

impl Work {
    async fn run(self, out: mpsc::Sender<Happened>) -> Result<Delivered, Trouble> {
        // Held until the last step has ended.
        let (source, toolchain) = self.prepare().await?;
        let job = Job {
            plan: self.plan.clone(),
            folder: self.folder.clone(),
            source,
            toolchain: toolchain.as_ref().map(|lent| lent.root().to_path_buf()),
            sandbox: self.shop.sandbox.clone(),
            environment: self.shop.machine.environment.clone(),
            cpus: self.shop.cpus,
        };
        let Ending { results, artifact, trouble } = execute(job, out, self.stop.clone()).await;
        match (self.deliver(results, artifact).await, trouble) {
            (Ok(delivered), trouble) => Ok(Delivered { trouble, ..delivered }),
            (Err(_), Some(trouble)) => Err(trouble),
            (Err(e), None) => Err(trouble_from(&e, |detail| Trouble::Worker { detail })),
        }
    }

    /// Source and toolchain come at the same time.
    async fn prepare(&self) -> Result<(PathBuf, Option<Arc<Lent>>), Trouble> {
        let preparing = async {
            tokio::try_join!(self.source(), async {
                match self.plan.toolchain {
                    Some(toolchain) => self.toolchain(toolchain).await.map(Some),
                    None => Ok(None),
                }
            })
        };
        tokio::select! {
            prepared = preparing => prepared,
            // The thread that fetches ends by itself soon after.
            () = self.stop.cancelled() => Err(worker_trouble("stopped before the first step".into())),
        }
    }

    async fn source(&self) -> Result<PathBuf, Trouble> {
        let shop = Arc::clone(&self.shop);
        let (folder, source) = (self.folder.clone(), self.plan.source.clone());
        let until = Until { deadline: Instant::now() + CHECKOUT, stop: self.stop.clone() };
        let exporting = tokio::task::spawn_blocking(move || {
            std::fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
            let into = folder.join("src");
            shop.mirrors.export(&source, &into, &until).map(|()| into)
        });
        let exported = exporting.await.context("the checkout failed inside").and_then(|exported| exported);
        exported.map_err(|e| trouble_from(&e, |detail| Trouble::Checkout { detail }))
    }

    async fn toolchain(&self, toolchain: Toolchain) -> Result<Arc<Lent>, Trouble> {
        let brought = self.shop.toolchains.bring(toolchain).await;
        brought.map_err(|detail| {
            trouble_from(&anyhow::Error::msg(detail), |detail| Trouble::Toolchain { detail })
        })
    }

    /// Uploads what `Finished` is going to name.
    async fn deliver(
        &self,
        results: Option<(CaseList, Results)>,
        artifact: Option<Packed>,
    ) -> anyhow::Result<Delivered> {
        let results = match results {
            Some((cases, results)) => Some(self.deliver_results(cases, results).await?),
            None => None,
        };
        let artifact = match artifact {
            Some(Packed { path, sha256, bytes }) => {
                self.shop.objects.deliver(Kind::Artifact, sha256, &path, &self.stop).await?;
                if let Err(e) = self.shop.toolchains.adopt(Toolchain { sha256, bytes }, &path) {
                    tracing::warn!("the toolchain {} is not kept: {e}", sha256.short());
                }
                Some(Made { sha256, bytes })
            }
            None => None,
        };
        Ok(Delivered { results, artifact, trouble: None })
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
        objects.deliver(Kind::Cases, list.0, &list.1, &self.stop).await?;
        objects.deliver(Kind::Results, sha256, &path, &self.stop).await?;
        Ok(sha256)
    }
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

fn worker_trouble(detail: String) -> Trouble {
    Trouble::Worker { detail: bounded(detail) }
}

/// A full disk has its own name, wherever it is met.
fn trouble_from(error: &anyhow::Error, otherwise: impl FnOnce(String) -> Trouble) -> Trouble {
    let detail = bounded(format!("{error:#}"));
    // libgit2 has words for it only.
    let full = error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::StorageFull)
    }) || detail.contains("No space left on device");
    if full { Trouble::NoSpace { detail } } else { otherwise(detail) }
}

fn detail_of(trouble: &Trouble) -> &str {
    match trouble {
        Trouble::Checkout { detail }
        | Trouble::Toolchain { detail }
        | Trouble::Sandbox { detail }
        | Trouble::NoSpace { detail }
        | Trouble::Worker { detail } => detail,
    }
}

fn bounded(mut detail: String) -> String {
    let end = (0..=MAX_DETAIL_BYTES.min(detail.len())).rev().find(|end| detail.is_char_boundary(*end));
    detail.truncate(end.unwrap_or(0));
    detail
}
