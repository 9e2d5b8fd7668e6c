//! Real processes: every test runs without a sandbox, and in bubblewrap where there is one.

mod endings;
mod logs;
mod reports;
mod toolchains;
mod world;

use std::fs::{self, OpenOptions};

use protocol::{Limits, Recipe, ReportFormat, Sha256, Source, StepEnd, ToolchainFile as Named};
use tokio::sync::mpsc;

use super::*;

/// A build to be run, and the folders that it needs.
struct Trial {
    folder: tempfile::TempDir,
    job: ExecutionJob,
}

/// What a reader of the farm would have seen of it.
struct Seen {
    ends: Vec<StepEnd>,
    log: String,
    cuts: Vec<(u64, u64)>,
    warnings: Vec<String>,
    ending: ExecutionResult,
    _folder: tempfile::TempDir,
}

/// `None`, and every way of bubblewrap that this machine has.
fn sandboxes() -> Vec<Sandbox> {
    std::iter::once(Sandbox::None).chain(bubblewraps()).collect()
}

fn bubblewraps() -> Vec<Sandbox> {
    match Sandbox::find() {
        Ok(Sandbox::Bubblewrap { program, user: StepUser::Own }) if nix::unistd::geteuid().is_root() => {
            [StepUser::Own, StepUser::Root]
                .map(|user| Sandbox::Bubblewrap { program: program.clone(), user })
                .into()
        }
        Ok(bubblewrap) => vec![bubblewrap],
        Err(reason) => {
            eprintln!("SKIPPED in bubblewrap: {reason}");
            vec![]
        }
    }
}

fn step(run: &str) -> RecipeStep {
    RecipeStep {
        name: "step".into(),
        kind: StepKind::Test,
        run: run.into(),
        network: false,
        report: None,
        time_ms: None,
        silence_ms: None,
    }
}

fn exit(code: i32) -> StepEnd {
    StepEnd::Exit { code }
}

impl Trial {
    /// A toolchain's build.
    fn of(sandbox: &Sandbox, steps: Vec<RecipeStep>) -> Trial {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("src");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("hello"), "hello").unwrap();
        let plan = Plan {
            builder: "lua master linux".into(),
            change: "c0ffee".into(),
            source: Source { git: "unused".into(), revision: "beef".into() },
            toolchain: None,
            recipe: Recipe { steps, ..Recipe::default() },
            cases: vec![],
            needs: vec![],
            lock: None,
            answer: false,
        };
        let environment = Environment { sha256: Sha256([0; 32]), properties: vec![] };
        let job = ExecutionJob {
            plan,
            folder: folder.path().join("build"),
            source,
            toolchain: None,
            needs: None,
            lock: None,
            sandbox: sandbox.clone(),
            environment,
            cpus: 3,
        };
        Trial { folder, job }
    }

    /// A suite's build, on a toolchain that holds one program `lua`.
    fn suite(sandbox: &Sandbox, steps: Vec<RecipeStep>) -> Trial {
        use std::os::unix::fs::PermissionsExt;
        let mut trial = Trial::of(sandbox, steps);
        let toolchain = trial.folder.path().join("unpacked");
        let lua = toolchain.join("bin/lua");
        fs::create_dir_all(toolchain.join("bin")).unwrap();
        fs::write(&lua, "#!/bin/sh\necho I am lua\n").unwrap();
        fs::set_permissions(&lua, fs::Permissions::from_mode(0o755)).unwrap();
        trial.job.toolchain = Some(toolchain);
        trial.job.plan.toolchain = Some(Named { sha256: Sha256([0; 32]), bytes: 1 });
        trial
    }

    fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Trial {
        change(&mut self.job.plan.recipe.limits);
        self
    }

    fn run(self) -> Seen {
        self.run_until(|_, _| {})
    }

    /// Runs it and shows `watch` the log as it grows, with the means to stop the build.
    fn run_until(self, mut watch: impl FnMut(&str, &CancellationToken)) -> Seen {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (out, mut happened) = mpsc::channel(4);
            let stop = CancellationToken::new();
            let building = tokio::spawn(execute(self.job, out, stop.clone()));
            let (mut ends, mut log, mut cuts, mut all_warnings) = (vec![], Vec::new(), vec![], vec![]);
            while let Some(happened) = happened.recv().await {
                match happened {
                    ExecutionEvent::Log { bytes, .. } => {
                        assert!((1..=protocol::MAX_LOG_BYTES).contains(&bytes.len()));
                        log.extend(bytes);
                        watch(&String::from_utf8_lossy(&log), &stop);
                    }
                    ExecutionEvent::Event(Event::StepEnded { end, warnings, .. }) => {
                        ends.push(end);
                        all_warnings.extend(warnings);
                    }
                    ExecutionEvent::Event(Event::LogTruncated { bytes, lines, .. }) => {
                        cuts.push((bytes, lines))
                    }
                    ExecutionEvent::Event(Event::Started { .. } | Event::StepStarted { .. }) => {}
                    ExecutionEvent::Event(
                        Event::Finished { .. } | Event::Lock { .. } | Event::Answer { .. },
                    ) => {
                        panic!("these are the caller's to send")
                    }
                }
            }
            let ending = building.await.unwrap();
            let log = String::from_utf8_lossy(&log).into_owned();
            Seen { ends, log, cuts, warnings: all_warnings, ending, _folder: self.folder }
        })
    }
}
