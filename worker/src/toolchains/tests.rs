//! The cache, with a master that serves toolchains.

use super::*;
use crate::objects::tests::Master;

/// A master with toolchains, and a cache.
struct Setup {
    master: Master,
    cache: Arc<ToolchainCache>,
    folder: tempfile::TempDir,
    _token: tokio::sync::watch::Sender<Option<String>>,
}

impl Setup {
    async fn new(limit_bytes: u64) -> Setup {
        let master = Master::default();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("toolchains")).unwrap();
        let (objects, token) = master.objects().await;
        let stop = CancellationToken::new();
        let cache =
            ToolchainCache::open(folder.path().join("toolchains"), limit_bytes, objects, stop).unwrap();
        Setup { master, cache, folder, _token: token }
    }

    /// A toolchain whose `bin/lua` contains this text; the master has it.
    fn stored(&self, text: &str) -> ToolchainFile {
        let packed = self.packed(text);
        self.master.store("artifact", &fs::read(&packed.path).unwrap());
        ToolchainFile { sha256: packed.sha256, bytes: packed.bytes }
    }

    fn packed(&self, text: &str) -> archive::PackedTree {
        let root = self.folder.path().join("unpacked");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("bin/lua"), text).unwrap();
        let to = self.folder.path().join("packed");
        archive::pack(&root, Path::new(protocol::prefix::TOOLCHAIN), &to, 1).unwrap()
    }

    fn reopened(&self) -> Arc<ToolchainCache> {
        let objects = self.cache.objects.clone();
        let folder = self.folder.path().join("toolchains");
        ToolchainCache::open(folder, u64::MAX, objects, CancellationToken::new()).unwrap()
    }

    fn calls(&self) -> usize {
        self.master.with_state(|state| state.calls.len())
    }
}

fn lua(guard: &TreeGuard) -> String {
    fs::read_to_string(guard.root().join("bin/lua")).unwrap()
}

#[tokio::test]
async fn many_builds_share_one_download() {
    let setup = Setup::new(u64::MAX).await;
    let toolchain = setup.stored("5.4");
    let (a, b, c) =
        tokio::join!(setup.cache.get(toolchain), setup.cache.get(toolchain), setup.cache.get(toolchain));
    for guard in [a, b, c] {
        assert_eq!(lua(&guard.unwrap()), "5.4");
    }
    setup.cache.get(toolchain).await.unwrap();
    assert_eq!(setup.calls(), 1);
}

#[tokio::test]
async fn the_cache_survives_a_restart() {
    let setup = Setup::new(u64::MAX).await;
    let toolchain = setup.stored("5.4");
    setup.cache.get(toolchain).await.unwrap();
    let again = setup.reopened();
    assert_eq!(again.cached(), [toolchain.sha256]);
    assert_eq!(lua(&again.get(toolchain).await.unwrap()), "5.4");
    assert_eq!(setup.calls(), 1);
}

#[tokio::test]
async fn the_least_recently_used_is_removed_first_and_none_in_use() {
    let setup = Setup::new(1).await;
    let [a, b, c] = ["a", "b", "c"].map(|text| setup.stored(text));
    let held = setup.cache.get(a).await.unwrap();
    drop(setup.cache.get(b).await.unwrap());
    assert_eq!(setup.cache.cached().len(), 2, "the one in use and the newest");
    drop(setup.cache.get(c).await.unwrap());
    assert_eq!(setup.cache.cached(), [c.sha256, a.sha256], "the most recently used first");
    assert_eq!(lua(&held), "a");
    let names = fs::read_dir(setup.folder.path().join("toolchains")).unwrap().count();
    assert_eq!(names, 2);
}

#[tokio::test]
async fn a_toolchain_that_was_built_here_is_not_downloaded() {
    let setup = Setup::new(u64::MAX).await;
    let packed = setup.packed("5.5");
    let toolchain = ToolchainFile { sha256: packed.sha256, bytes: packed.bytes };
    setup.cache.insert_built(toolchain, &packed.path).unwrap();
    assert_eq!(lua(&setup.cache.get(toolchain).await.unwrap()), "5.5");
    assert_eq!(setup.calls(), 0);
}

#[tokio::test]
async fn an_artifact_over_the_size_limit_is_not_even_requested() {
    let setup = Setup::new(u64::MAX).await;
    let toolchain = ToolchainFile { bytes: archive::MAX_BYTES + 1, ..setup.stored("5.4") };
    assert!(setup.cache.get(toolchain).await.unwrap_err().contains("too large"));
    assert_eq!(setup.calls(), 0);
}

#[tokio::test]
async fn a_toolchain_that_could_not_be_downloaded_is_tried_again_when_it_is_next_needed() {
    let setup = Setup::new(u64::MAX).await;
    let packed = setup.packed("5.4");
    let toolchain = ToolchainFile { sha256: packed.sha256, bytes: packed.bytes };
    let error = setup.cache.get(toolchain).await.unwrap_err();
    assert!(error.contains("the master does not have it any more"), "{error}");
    setup.stored("5.4");
    setup.cache.get(toolchain).await.unwrap();
}

#[tokio::test]
async fn an_invalid_archive_leaves_nothing_behind() {
    let setup = Setup::new(u64::MAX).await;
    let sha256 = setup.master.store("artifact", b"not an archive");
    let error = setup.cache.get(ToolchainFile { sha256, bytes: 14 }).await.unwrap_err();
    assert!(error.contains("unpacking the toolchain"), "{error}");
    assert_eq!(fs::read_dir(setup.folder.path().join("toolchains")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_kill_left_is_removed_except_downloads_that_can_be_resumed() {
    let setup = Setup::new(u64::MAX).await;
    let folder = setup.folder.path().join("toolchains");
    let name = "ab".repeat(32);
    for garbage in [name.clone(), format!("{name}.new"), format!("{name}.gone")] {
        fs::create_dir_all(folder.join(garbage).join("root")).unwrap();
    }
    fs::write(folder.join(format!("{name}.part")), "half").unwrap();
    assert_eq!(setup.reopened().cached(), []);
    let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, [format!("{name}.part").as_str()]);
}

#[tokio::test]
async fn of_the_partial_downloads_the_newest_are_kept_for_a_later_try() {
    let setup = Setup::new(u64::MAX).await;
    let folder = setup.folder.path().join("toolchains");
    let part = |number: u8| partial_path(&folder, Sha256([number; 32]));
    for number in 0..6 {
        fs::write(part(number), "half").unwrap();
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number.into());
        File::options().write(true).open(part(number)).unwrap().set_modified(time).unwrap();
    }
    let packed = setup.packed("5.4");
    let missing = ToolchainFile { sha256: packed.sha256, bytes: packed.bytes };
    setup.cache.get(missing).await.unwrap_err();
    let kept: Vec<u8> = (0..6).filter(|number| part(*number).exists()).collect();
    assert_eq!(kept, [2, 3, 4, 5]);
}
