//! With real processes: every test runs without a sandbox, and in bubblewrap if the machine supports it.

mod caches;
mod endings;
mod isolation;
mod logs;
mod reports;
mod toolchains;
mod trees;

use std::fs::{self, OpenOptions};
use std::path::PathBuf;

use protocol::{
    Environment, Event, InfraFailure, Limits, Plan, Recipe, RecipeStep, ReportFormat, Sha256, Source,
    StepEnd, StepKind, ToolchainFile,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;

/// A build to be run, and its folders.
struct TestBuild {
    folder: tempfile::TempDir,
    job: ExecutionJob,
}

/// What the farm receives of a build.
struct Received {
    ends: Vec<StepEnd>,
    log: String,
    omitted: Vec<(u64, u64)>,
    warnings: Vec<String>,
    result: ExecutionResult,
    _folder: tempfile::TempDir,
}

/// `None`, and every kind of bubblewrap sandbox that this machine supports.
fn sandboxes() -> Vec<Sandbox> {
    std::iter::once(Sandbox::None).chain(bubblewraps()).collect()
}

fn bubblewraps() -> Vec<Sandbox> {
    match Sandbox::find(IoUring::Denied) {
        Ok(Sandbox::Bubblewrap { program, user: StepUser::Own, walls })
            if nix::unistd::geteuid().is_root() =>
        {
            [StepUser::Own, StepUser::Root]
                .map(|user| Sandbox::Bubblewrap { program: program.clone(), user, walls: walls.clone() })
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
        patterns: None,
        time_ms: None,
        silence_ms: None,
    }
}

fn exit(code: i32) -> StepEnd {
    StepEnd::Exit { code }
}

impl TestBuild {
    /// A build that makes a toolchain.
    fn toolchain(sandbox: &Sandbox, steps: Vec<RecipeStep>) -> TestBuild {
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
            caches: vec![],
        };
        let environment = Environment { sha256: Sha256([0; 32]), properties: vec![] };
        let job = ExecutionJob {
            plan,
            folder: folder.path().join("build"),
            inputs: WorkspaceInputs {
                source: SourceFolder::Own(source),
                toolchain: None,
                needs: None,
                mounted_needs: vec![],
                caches: vec![],
                lock: None,
                version: None,
            },
            sandbox: sandbox.clone(),
            environment,
            cpus: 3,
            disk_bytes: 1 << 40,
        };
        TestBuild { folder, job }
    }

    /// A build of a suite, with a toolchain that contains one program `lua`.
    fn suite(sandbox: &Sandbox, steps: Vec<RecipeStep>) -> TestBuild {
        use std::os::unix::fs::PermissionsExt;
        let mut build = TestBuild::toolchain(sandbox, steps);
        let toolchain = build.folder.path().join("unpacked");
        let lua = toolchain.join("bin/lua");
        fs::create_dir_all(toolchain.join("bin")).unwrap();
        fs::write(&lua, "#!/bin/sh\necho I am lua\n").unwrap();
        fs::set_permissions(&lua, fs::Permissions::from_mode(0o755)).unwrap();
        build.job.inputs.toolchain = Some(toolchain);
        build.job.plan.toolchain = Some(ToolchainFile { sha256: Sha256([0; 32]), bytes: 1 });
        build
    }

    /// The source, which steps write to.
    fn own_source(&self) -> PathBuf {
        self.folder.path().join("src")
    }

    fn limits(mut self, change: impl FnOnce(&mut Limits)) -> TestBuild {
        change(&mut self.job.plan.recipe.limits);
        self
    }

    fn run(self) -> Received {
        self.run_until(|_, _| {})
    }

    /// Runs the build and calls `watch` with the log as it grows, and with the token that stops the build.
    fn run_until(self, mut watch: impl FnMut(&str, &CancellationToken)) -> Received {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (out, mut events) = mpsc::channel(4);
            let stop = CancellationToken::new();
            let executing = tokio::spawn(execute(self.job, out, stop.clone()));
            let (mut ends, mut log, mut omitted, mut all_warnings) = (vec![], Vec::new(), vec![], vec![]);
            while let Some(event) = events.recv().await {
                match event {
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
                        omitted.push((bytes, lines));
                    }
                    ExecutionEvent::Event(Event::Started { .. } | Event::StepStarted { .. }) => {}
                    ExecutionEvent::Event(
                        Event::Finished { .. } | Event::Lock { .. } | Event::Answer { .. },
                    ) => {
                        panic!("only the caller sends these")
                    }
                }
            }
            let result = executing.await.unwrap();
            let log = String::from_utf8_lossy(&log).into_owned();
            Received { ends, log, omitted, warnings: all_warnings, result, _folder: self.folder }
        })
    }
}
