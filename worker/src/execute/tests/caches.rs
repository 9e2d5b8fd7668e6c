//! Declared caches: who may write to them, and what is left of them.

use std::os::unix::fs::symlink;
use std::sync::Arc;

use protocol::DeclaredCache;

use super::*;
use crate::caches::CacheStore;

const PATH: &str = ".cache/things";

/// A build whose fetch steps may write to the cache, and whose home has a link at its place.
fn build_with(store: &Arc<CacheStore>, sandbox: &Sandbox, steps: Vec<RecipeStep>) -> TestBuild {
    let mut build = TestBuild::suite(sandbox, steps);
    let key = Sha256([7; 32]);
    let declared = DeclaredCache {
        key,
        name: "things".into(),
        path: PATH.into(),
        write: StepKind::Fetch,
        max_bytes: 1 << 20,
    };
    build.job.inputs.caches =
        vec![MountedCache { guard: store.get(key, declared.max_bytes).unwrap(), declared }];
    build
}

fn fetch(run: &str) -> RecipeStep {
    RecipeStep { kind: StepKind::Fetch, ..step(run) }
}

fn store() -> (tempfile::TempDir, Arc<CacheStore>) {
    let folder = tempfile::tempdir().unwrap();
    let store = CacheStore::open(folder.path().to_path_buf(), 1 << 30).unwrap();
    (folder, store)
}

#[test]
fn a_later_build_finds_what_a_fetch_step_wrote_and_in_a_sandbox_no_other_step_writes() {
    for sandbox in sandboxes() {
        let (_folder, store) = store();
        let steps = || {
            vec![
                fetch("cd $HOME/.cache/things && ls && echo x > fetched"),
                step(
                    "cd $HOME/.cache/things && cat fetched; echo x 2>/dev/null > tested && echo written; rm -f fetched \
                      2>/dev/null; true",
                ),
            ]
        };
        let written = if sandbox == Sandbox::None { "written\n" } else { "" };
        assert_eq!(build_with(&store, &sandbox, steps()).run().log, format!("x\n{written}"));
        let found = if sandbox == Sandbox::None { "tested\n" } else { "fetched\n" };
        assert_eq!(build_with(&store, &sandbox, steps()).run().log, format!("{found}x\n{written}"));
    }
}

#[test]
fn a_fetch_step_that_fails_leaves_its_cache_and_one_that_is_stopped_empties_it() {
    for sandbox in sandboxes() {
        let (_folder, store) = store();
        let run = |script: &str| build_with(&store, &sandbox, vec![fetch(script)]).run();
        assert_eq!(run("echo x > $HOME/.cache/things/fetched; exit 3").ends, [exit(3)]);
        assert_eq!(run("ls $HOME/.cache/things").log, "fetched\n");
        let slow =
            build_with(&store, &sandbox, vec![fetch("echo x > $HOME/.cache/things/half; echo on; cat")]);
        let slow = slow.limits(|limits| limits.memory_bytes = 4 << 30);
        let received = slow.run_until(|_, stop| stop.cancel());
        assert!(received.ends.iter().all(|end| *end != exit(0)) || received.log.contains("on"));
        let cut =
            build_with(&store, &sandbox, vec![fetch("echo x > $HOME/.cache/things/half; kill -KILL $$")]);
        assert!(
            cut.run().warnings.iter().any(|it| it == "the cache `things` was emptied: the step was stopped")
        );
        assert_eq!(run("ls $HOME/.cache/things").log, "");
    }
}

#[test]
fn a_cache_that_grows_too_large_is_emptied_with_a_warning() {
    for sandbox in sandboxes() {
        let (_folder, store) = store();
        let large = fetch("head -c 2000000 /dev/zero > $HOME/.cache/things/large");
        let received = build_with(&store, &sandbox, vec![large]).run();
        assert_eq!(received.ends, [exit(0)]);
        assert_eq!(
            received.warnings,
            ["the cache `things` was emptied: it holds more than its 1048576 bytes"]
        );
        assert_eq!(build_with(&store, &sandbox, vec![fetch("ls $HOME/.cache/things")]).run().log, "");
    }
}

#[test]
fn no_link_or_special_file_leads_out_of_the_sandbox() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret\n").unwrap();
    for sandbox in bubblewraps() {
        let (folder, store) = store();
        // A link to the machine's files, in the cache and in the place of the cache's own folder.
        let hostile = format!(
            "ln -s {0} $HOME/.cache/things/out; mkfifo $HOME/.cache/things/pipe; \
             ln -s /oldroot{0} $HOME/.cache/things/old; rm $HOME/.cache/things; ln -s /oldroot{0} $HOME/.cache/things",
            outside.path().display()
        );
        let look = "ls /trunkfarm/caches/things; cat /trunkfarm/caches/things/out/secret 2>/dev/null; \
                    cat $HOME/.cache/things/secret 2>/dev/null; true";
        let first = build_with(&store, &sandbox, vec![fetch(&hostile), step(look)]).run();
        assert_eq!(first.ends, [exit(0), exit(0)], "{}", first.log);
        assert_eq!(first.log, "old\nout\npipe\n");
        assert_eq!(build_with(&store, &sandbox, vec![step(look)]).run().log, "old\nout\npipe\n");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        drop(store);
        // A file in the place of the folder cannot be: only what is in it belongs to the steps.
        symlink(outside.path(), folder.path().join("not-a-cache")).unwrap();
        CacheStore::open(folder.path().to_path_buf(), 0).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "secret\n");
    }
}
