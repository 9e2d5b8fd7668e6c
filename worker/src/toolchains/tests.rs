use super::*;
use crate::objects::tests::Master;

/// A master with toolchains in it, and a cache of so many bytes.
struct Bench {
    master: Master,
    cache: Arc<ToolchainCache>,
    folder: tempfile::TempDir,
    _token: tokio::sync::watch::Sender<Option<String>>,
}

impl Bench {
    async fn new(limit_bytes: u64) -> Bench {
        let master = Master::default();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("toolchains")).unwrap();
        let (objects, token) = master.objects().await;
        let stop = CancellationToken::new();
        let cache =
            ToolchainCache::open(folder.path().join("toolchains"), limit_bytes, objects, stop).unwrap();
        Bench { master, cache, folder, _token: token }
    }

    /// A toolchain whose `bin/lua` holds this text; the master has it.
    fn made(&self, text: &str) -> ToolchainFile {
        let packed = self.packed(text);
        self.master.keep("artifact", &fs::read(&packed.path).unwrap());
        ToolchainFile { sha256: packed.sha256, bytes: packed.bytes }
    }

    fn packed(&self, text: &str) -> archive::PackedTree {
        let root = self.folder.path().join("making");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("bin/lua"), text).unwrap();
        let to = self.folder.path().join("packed");
        archive::pack(&root, Path::new(protocol::prefix::TOOLCHAIN), &to).unwrap()
    }

    fn reopened(&self) -> Arc<ToolchainCache> {
        let objects = self.cache.objects.clone();
        let folder = self.folder.path().join("toolchains");
        ToolchainCache::open(folder, self.cache.limit_bytes, objects, CancellationToken::new()).unwrap()
    }

    fn calls(&self) -> usize {
        self.master.inside(|inside| inside.calls.len())
    }
}

fn lua(lent: &ToolchainGuard) -> String {
    fs::read_to_string(lent.root().join("bin/lua")).unwrap()
}

#[tokio::test]
async fn many_builds_share_one_download() {
    let bench = Bench::new(u64::MAX).await;
    let toolchain = bench.made("5.4");
    let (a, b, c) = tokio::join!(
        bench.cache.bring(toolchain),
        bench.cache.bring(toolchain),
        bench.cache.bring(toolchain)
    );
    for lent in [a, b, c] {
        assert_eq!(lua(&lent.unwrap()), "5.4");
    }
    bench.cache.bring(toolchain).await.unwrap();
    assert_eq!(bench.calls(), 1);
}

#[tokio::test]
async fn the_cache_outlives_its_process() {
    let bench = Bench::new(u64::MAX).await;
    let toolchain = bench.made("5.4");
    bench.cache.bring(toolchain).await.unwrap();
    let again = bench.reopened();
    assert_eq!(again.kept(), [toolchain.sha256]);
    assert_eq!(lua(&again.bring(toolchain).await.unwrap()), "5.4");
    assert_eq!(bench.calls(), 1);
}

#[tokio::test]
async fn the_least_recently_used_goes_first_and_none_in_use() {
    let bench = Bench::new(1).await;
    let [a, b, c] = ["a", "b", "c"].map(|text| bench.made(text));
    let held = bench.cache.bring(a).await.unwrap();
    drop(bench.cache.bring(b).await.unwrap());
    assert_eq!(bench.cache.kept().len(), 2, "the one in use and the newest");
    drop(bench.cache.bring(c).await.unwrap());
    assert_eq!(bench.cache.kept(), [c.sha256, a.sha256], "the last used first");
    assert_eq!(lua(&held), "a");
    let names = fs::read_dir(bench.folder.path().join("toolchains")).unwrap().count();
    assert_eq!(names, 2);
}

#[tokio::test]
async fn what_was_made_here_is_not_brought_back() {
    let bench = Bench::new(u64::MAX).await;
    let packed = bench.packed("5.5");
    let toolchain = ToolchainFile { sha256: packed.sha256, bytes: packed.bytes };
    bench.cache.adopt(toolchain, &packed.path).unwrap();
    assert_eq!(lua(&bench.cache.bring(toolchain).await.unwrap()), "5.5");
    assert_eq!(bench.calls(), 0);
}

#[tokio::test]
async fn an_artifact_beyond_the_bound_is_not_even_asked_for() {
    let bench = Bench::new(u64::MAX).await;
    let toolchain = ToolchainFile { bytes: archive::MAX_BYTES + 1, ..bench.made("5.4") };
    assert!(bench.cache.bring(toolchain).await.unwrap_err().contains("too large"));
    assert_eq!(bench.calls(), 0);
}

#[tokio::test]
async fn a_toolchain_that_cannot_be_brought_is_tried_again_when_it_is_next_wanted() {
    let bench = Bench::new(u64::MAX).await;
    let packed = bench.packed("5.4");
    let toolchain = ToolchainFile { sha256: packed.sha256, bytes: packed.bytes };
    let error = bench.cache.bring(toolchain).await.unwrap_err();
    assert!(error.contains("the master has it no more"), "{error}");
    bench.made("5.4");
    bench.cache.bring(toolchain).await.unwrap();
}

#[tokio::test]
async fn an_archive_that_is_none_leaves_nothing_behind() {
    let bench = Bench::new(u64::MAX).await;
    let sha256 = bench.master.keep("artifact", b"not an archive");
    let error = bench.cache.bring(ToolchainFile { sha256, bytes: 14 }).await.unwrap_err();
    assert!(error.contains("unpacking the toolchain"), "{error}");
    assert_eq!(fs::read_dir(bench.folder.path().join("toolchains")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_kill_left_is_swept_but_for_downloads_that_can_go_on() {
    let bench = Bench::new(u64::MAX).await;
    let folder = bench.folder.path().join("toolchains");
    let name = "ab".repeat(32);
    for rubbish in [name.clone(), format!("{name}.new"), format!("{name}.gone")] {
        fs::create_dir_all(folder.join(rubbish).join("root")).unwrap();
    }
    fs::write(folder.join(format!("{name}.part")), "half").unwrap();
    assert_eq!(bench.reopened().kept(), []);
    let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, [format!("{name}.part").as_str()]);
}
