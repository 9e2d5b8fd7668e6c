//! Against real repositories: a path, a real git daemon on loopback, and a server that never answers.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use git2::{Signature, Time};
use tempfile::TempDir;

use super::*;

/// Long enough for any machine; no test waits for it to pass.
const SOON: Duration = Duration::from_secs(60);

/// Questions about one commit.
trait One {
    fn commit(&self, sha: &str) -> Result<Commit>;
    fn holds(&self, sha: &str) -> Result<bool>;
}

impl One for Mirror {
    fn commit(&self, sha: &str) -> Result<Commit> {
        Ok(self.commits(None, &[sha.to_string()])?.remove(0))
    }

    fn holds(&self, sha: &str) -> Result<bool> {
        Ok(self.origin.repository()?.find_commit(oid(sha)?).is_ok())
    }
}

/// A remote and its mirror, with the verbs of a person who pushes to the remote.
struct Scene {
    folder: TempDir,
    remote: Repository,
    mirror: Mirror,
}

impl Scene {
    fn new() -> Scene {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("remote.git");
        let mut options = RepositoryInitOptions::new();
        let remote = Repository::init_opts(&path, options.bare(true).initial_head("main")).unwrap();
        let mirror = Mirror::open(folder.path().join("data/git/lua.git"), path.to_str().unwrap()).unwrap();
        Scene { folder, remote, mirror }
    }

    /// A commit with one file named after it, on no branch yet.
    fn commit(&self, message: &str, parents: &[&str]) -> String {
        let found: Vec<_> =
            parents.iter().map(|p| self.remote.find_commit(p.parse().unwrap()).unwrap()).collect();
        let base = found.first().map(|parent| parent.tree().unwrap());
        let mut tree = self.remote.treebuilder(base.as_ref()).unwrap();
        let blob = self.remote.blob(message.as_bytes()).unwrap();
        let name: Vec<u8> = message.bytes().take_while(|b| *b != b'\n').collect();
        tree.insert(name, blob, 0o100_644).unwrap();
        self.commit_tree(message, tree.write().unwrap(), &found.iter().collect::<Vec<_>>())
    }

    fn commit_tree(&self, message: &str, tree: Oid, parents: &[&git2::Commit<'_>]) -> String {
        let author = Signature::new("Ada", "ada@example.org", &Time::new(1_700_000_000, 60)).unwrap();
        let tree = self.remote.find_tree(tree).unwrap();
        self.remote.commit(None, &author, &author, message, &tree, parents).unwrap().to_string()
    }

    /// A line of commits, the last one at the branch's tip.
    fn push(&self, branch: &str, onto: Option<&str>, messages: &str) -> Vec<String> {
        let mut parent: Option<String> = onto.map(str::to_string);
        let mut shas = Vec::new();
        for message in messages.split_whitespace() {
            let sha = self.commit(message, &parent.as_deref().into_iter().collect::<Vec<_>>());
            parent = Some(sha.clone());
            shas.push(sha);
        }
        self.set(branch, shas.last().expect("a commit"));
        shas
    }

    fn set(&self, branch: &str, sha: &str) {
        self.remote.reference(&format!("refs/heads/{branch}"), sha.parse().unwrap(), true, "").unwrap();
    }

    fn delete(&self, branch: &str) {
        self.remote.find_reference(&format!("refs/heads/{branch}")).unwrap().delete().unwrap();
    }

    /// A look and a fetch, as a poll does them.
    async fn poll(&self) -> Tips {
        let tips = self.mirror.tips(SOON).await.unwrap();
        self.mirror.fetch(SOON, watch::Sender::default()).await.unwrap();
        tips
    }

    /// The titles from the base, or from one of the known changes, to the tip.
    fn chain(&self, tip: &str, base: Option<&str>, known: &[String]) -> String {
        let position = |(sha, number): (&String, i64)| Position { number, sha: sha.clone(), gone: false };
        let known = KnownBranch::Watched(known.iter().zip(1..).map(position).collect());
        match self.mirror.history_of(tip, base, &known).unwrap() {
            RemoteBranch::Absent => "absent".to_string(),
            RemoteBranch::Apart { tip } => format!(".. {}", self.mirror.commit(&tip).unwrap().title),
            RemoteBranch::Joined(shas) => {
                let commits = self.mirror.commits(None, &shas).unwrap();
                commits.iter().map(|c| c.title.as_str()).collect::<Vec<_>>().join(" ")
            }
        }
    }

    /// A mirror of the same remote at another URL.
    fn mirror_of(&self, url: &str) -> Mirror {
        Mirror::open(self.folder.path().join("other.git"), url).unwrap()
    }
}

fn error_of(result: Result<impl Sized>) -> String {
    format!("{:#}", result.err().expect("an error"))
}

#[tokio::test]
async fn an_empty_repository_has_no_tips_and_is_no_error() {
    let scene = Scene::new();
    assert_eq!(scene.poll().await, Tips::default());
}

#[tokio::test]
async fn a_new_branch_is_seen_and_read_from_its_base() {
    let scene = Scene::new();
    let shas = scene.push("main", None, "a b c d");
    let tips = scene.poll().await;
    assert_eq!(tips.default_branch.as_deref(), Some("main"));
    assert_eq!(tips.branches["main"], shas[3]);
    assert_eq!(scene.chain(&shas[3], Some(&shas[1]), &[]), "b c d");
    assert_eq!(scene.chain(&shas[3], None, &[]), ".. d");
    assert_eq!(scene.chain(&shas[3], Some(&shas[0]), &shas[..3]), "c d");
}

#[tokio::test]
async fn a_remote_whose_head_names_no_branch_has_its_branches_all_the_same() {
    let scene = Scene::new();
    let shas = scene.push("main", None, "a b");
    scene.remote.set_head_detached(shas[0].parse().unwrap()).unwrap();
    let tips = scene.poll().await;
    assert_eq!((tips.default_branch.as_deref(), tips.branches["main"].as_str()), (None, shas[1].as_str()));
    // A branch that HEAD names and that is not there is not shown by a server.
    scene.remote.set_head("refs/heads/elsewhere").unwrap();
    assert_eq!(scene.poll().await.default_branch, None);
}

#[tokio::test]
async fn a_base_on_a_side_branch_begins_history_where_that_branch_left() {
    let scene = Scene::new();
    let main = scene.push("main", None, "a b c d");
    let side_branch = scene.push("3.14", Some(&main[1]), "x release");
    scene.poll().await;
    assert_eq!(scene.chain(&main[3], Some(&side_branch[1]), &[]), "b c d");
}

#[tokio::test]
async fn what_shares_nothing_with_the_base_stands_apart() {
    let scene = Scene::new();
    let main = scene.push("main", None, "a b");
    let other = scene.push("other", None, "x y");
    scene.poll().await;
    assert_eq!(scene.chain(&other[1], Some(&main[0]), &main), ".. y");
}

#[tokio::test]
async fn a_rewound_change_that_is_kept_survives_the_collector() {
    let scene = Scene::new();
    let before = scene.push("main", None, "a b c");
    scene.poll().await;
    let after = scene.push("main", Some(&before[0]), "x y");
    assert_eq!(scene.poll().await.branches["main"], after[1]);
    assert_eq!(scene.chain(&after[1], None, &before), "a x y");
    scene.mirror.keep(&before[2]).unwrap();

    let path = &scene.mirror.origin.path;
    let collected =
        Command::new("git").arg("-C").arg(path).args(["gc", "--quiet", "--prune=now"]).status().unwrap();
    assert!(collected.success());
    let reopened = Mirror::open(path, scene.mirror.origin.url.as_str()).unwrap();
    assert_eq!(reopened.commit(&before[2]).unwrap().title, "c");
    assert_eq!(reopened.commit(&before[1]).unwrap().title, "b");
}

#[tokio::test]
async fn a_deleted_branch_leaves_its_place_to_others() {
    let scene = Scene::new();
    let shas = scene.push("side", None, "a b");
    scene.poll().await;
    scene.delete("side");
    scene.set("side/one", &shas[0]);
    let tips = scene.poll().await;
    assert_eq!(tips.branches.keys().collect::<Vec<_>>(), ["side/one"]);
    assert_eq!(scene.mirror.resolve("side/one").unwrap(), shas[0]);
    assert!(scene.mirror.holds(&shas[1]).unwrap(), "a fetch removes no object");
}

#[tokio::test]
async fn a_burst_of_500_commits_is_read_in_graph_order() {
    let scene = Scene::new();
    let names: Vec<String> = (0..=500).map(|n| format!("c{n}")).collect();
    let shas = scene.push("main", None, &names.join(" "));
    scene.poll().await;
    assert_eq!(scene.chain(&shas[500], None, &shas[..1]), names.join(" "));
}

#[tokio::test]
async fn a_merge_is_one_change_that_names_what_it_brought() {
    let scene = Scene::new();
    let main = scene.push("main", None, "a b");
    let side_branch = scene.push("side", Some(&main[0]), "x y");
    let merge = scene.commit("merge", &[&main[1], &side_branch[1]]);
    scene.set("main", &merge);
    scene.poll().await;
    assert_eq!(scene.chain(&merge, Some(&main[0]), &[]), "a b merge");
    assert_eq!(scene.mirror.commit(&merge).unwrap().parents, [main[1].clone(), side_branch[1].clone()]);
}

/// Somebody merges the trunk into his own work and pushes that: the trunk's commits are no first parents any more.
#[tokio::test]
async fn a_foxtrot_merge_follows_what_it_contains_and_brings_only_its_own_side() {
    let scene = Scene::new();
    let main = scene.push("main", None, "a b c");
    let own = scene.push("own", Some(&main[0]), "x");
    let merge = scene.commit_tree(
        "merge",
        {
            let own = scene.remote.find_commit(own[0].parse().unwrap()).unwrap();
            let main = scene.remote.find_commit(main[2].parse().unwrap()).unwrap();
            let mut merged = scene.remote.treebuilder(Some(&main.tree().unwrap())).unwrap();
            let blob = own.tree().unwrap().get_name("x").unwrap().id();
            merged.insert("x", blob, 0o100_644).unwrap();
            merged.write().unwrap()
        },
        &[&own[0], &main[2]].map(|sha| scene.remote.find_commit(sha.parse().unwrap()).unwrap()).each_ref(),
    );
    let later = scene.push("main", Some(&merge), "d");
    scene.poll().await;
    assert_eq!(scene.chain(&later[0], Some(&main[0]), &main), "c merge d");
    assert_eq!(scene.chain(&own[0], Some(&main[0]), &main), "a x", "without the merge it is a rewind");
    let shas = [merge.clone(), later[0].clone()];
    let commits = scene.mirror.commits(Some(&main[2]), &shas).unwrap();
    assert_eq!(commits[0].paths.first, ["x"], "what it brings to the branch");
    assert_eq!(commits[1].paths.first, ["d"]);
}

#[tokio::test]
async fn a_commit_is_read_with_its_facts() {
    let scene = Scene::new();
    let shas = scene.push("main", None, "a");
    let sha = scene.commit("b\n\nwhy it is so\n", &[&shas[0]]);
    scene.set("main", &sha);
    scene.poll().await;
    let commit = scene.mirror.commit(&sha).unwrap();
    assert_eq!((commit.author.as_str(), commit.email.as_str()), ("Ada", "ada@example.org"));
    assert_eq!((commit.authored_at_s, commit.committed_at_s), (1_700_000_000, 1_700_000_000));
    assert_eq!((commit.title.as_str(), commit.message.as_str()), ("b", "b\n\nwhy it is so\n"));
    assert_eq!(commit.paths, super::commit::Excerpt { first: vec!["b".to_string()], count: 1 });
}

/// A tree from names and objects.
fn tree(repository: &Repository, entries: &[(&[u8], Oid, i32)]) -> Oid {
    let mut tree = repository.treebuilder(None).unwrap();
    for (name, id, mode) in entries {
        tree.insert(*name, *id, *mode).unwrap();
    }
    tree.write().unwrap()
}

#[test]
fn the_paths_of_a_change_are_those_that_differ_from_its_first_parent() {
    const FILE: i32 = 0o100_644;
    const FOLDER: i32 = 0o040_000;
    let scene = Scene::new();
    let blob = |text: &str| scene.remote.blob(text.as_bytes()).unwrap();
    let (one, two) = (blob("1"), blob("2"));
    let inner = tree(&scene.remote, &[(b"kept", one, FILE), (b"edited", one, FILE), (b"deleted", one, FILE)]);
    let before = [(&b"src"[..], inner, FOLDER), (b"mode", one, FILE), (b"turned", one, FILE)];
    let inner = tree(&scene.remote, &[(b"kept", one, FILE), (b"edited", two, FILE), (b"\xff", one, FILE)]);
    let after = [(&b"src"[..], inner, FOLDER), (b"mode", one, 0o100_755), (b"turned", inner, FOLDER)];

    let parent = scene.commit_tree("before", tree(&scene.remote, &before), &[]);
    let parent = scene.remote.find_commit(parent.parse().unwrap()).unwrap();
    let sha = scene.commit_tree("after", tree(&scene.remote, &after), &[&parent]);
    let commit =
        commit::read(&scene.remote, &scene.remote.find_commit(sha.parse().unwrap()).unwrap(), None).unwrap();
    let expected = [
        "mode",
        "turned",
        "src/deleted",
        "src/edited",
        "src/\u{fffd}",
        "turned/edited",
        "turned/kept",
        "turned/\u{fffd}",
    ];
    assert_eq!(commit.paths.first, expected);
    assert_eq!(commit.paths.count, expected.len());
}

#[test]
fn folders_nested_beyond_counting_are_given_up() {
    let scene = Scene::new();
    let blob = scene.remote.blob(b"x").unwrap();
    let names: Vec<Vec<u8>> = (0..10).map(|n| vec![b'a' + n]).collect();
    let mut bomb = tree(&scene.remote, &[(b"f", blob, 0o100_644)]);
    for _ in 0..12 {
        let entries: Vec<_> = names.iter().map(|name| (name.as_slice(), bomb, 0o040_000)).collect();
        bomb = tree(&scene.remote, &entries);
    }
    let sha = scene.commit_tree("bomb", bomb, &[]);
    let commit =
        commit::read(&scene.remote, &scene.remote.find_commit(sha.parse().unwrap()).unwrap(), None).unwrap();
    assert_eq!((commit.paths.first.len(), commit.paths.count), (1000, 100_000));
}

#[test]
fn hostile_text_is_bounded_and_read_with_losses() {
    let scene = Scene::new();
    let blank = tree(&scene.remote, &[]);
    let mut raw = format!("tree {blank}\nauthor ").into_bytes();
    raw.extend([0xff; 5000]);
    raw.extend(b" <\x1b[31m\xfe> 99999999999 +0000\ncommitter x <y> 1 +0000\n\n\x1b[31m<script>\xff");
    raw.extend([0xf0; 300_000]);
    let sha = scene.remote.odb().unwrap().write(git2::ObjectType::Commit, &raw).unwrap();
    let commit = commit::read(&scene.remote, &scene.remote.find_commit(sha).unwrap(), None).unwrap();
    assert!(
        commit.author.chars().count() <= 200 && commit.author.starts_with('\u{fffd}'),
        "{}",
        commit.author
    );
    assert_eq!(commit.email, "[31m\u{fffd}");
    assert!(commit.title.starts_with("[31m<script>\u{fffd}") && commit.title.chars().count() <= 200);
    assert!(commit.message.len() <= 64 << 10 && commit.message.len() > 60_000, "{}", commit.message.len());
}

#[tokio::test]
async fn a_name_is_resolved_as_a_tag_a_branch_or_an_id() {
    let scene = Scene::new();
    let shas = scene.push("main", None, "a b");
    let target = scene.remote.find_object(shas[0].parse().unwrap(), None).unwrap();
    let tagger = Signature::now("Ada", "ada@example.org").unwrap();
    scene.remote.tag("v5.4.0", &target, &tagger, "5.4", false).unwrap();
    let tips = scene.poll().await;
    assert_eq!(tips.newest_tag(), Some(("v5.4.0", shas[0].as_str())));
    for (name, expected) in [("v5.4.0", 0), ("main", 1), (&shas[0][..10], 0), (&shas[1], 1)] {
        assert_eq!(scene.mirror.resolve(name).unwrap(), shas[expected], "{name}");
    }
    for name in ["v9", "", "HEAD~1", "../x", &"f".repeat(40), "abc", &"x".repeat(100_000)] {
        assert!(error_of(scene.mirror.resolve(name)).contains("has no tag, branch or commit"), "{name}");
    }
}

#[tokio::test]
async fn a_missing_remote_is_reported_in_a_sentence() {
    let scene = Scene::new();
    let path = scene.folder.path().join("nowhere.git");
    let error = error_of(scene.mirror_of(path.to_str().unwrap()).tips(SOON).await);
    assert!(error.starts_with("cannot look at /") && error.contains("there is no such folder"), "{error}");

    std::fs::create_dir(&path).unwrap();
    let error = error_of(scene.mirror_of(path.to_str().unwrap()).tips(SOON).await);
    assert!(
        error.starts_with("cannot look at /") && error.ends_with("is there a git repository?"),
        "{error}"
    );

    let error =
        error_of(scene.mirror_of("gopher://example.org/a").fetch(SOON, watch::Sender::default()).await);
    assert!(error.starts_with("cannot fetch gopher://example.org/a: the master does not speak"), "{error}");
}

#[test]
fn a_commit_that_is_not_there_is_reported_in_a_sentence() {
    let scene = Scene::new();
    assert!(error_of(scene.mirror.commit(&"0".repeat(40))).contains("has no commit 0000"));
    assert!(error_of(scene.mirror.keep("main")).contains("expected 40 hexadecimal digits"));
    assert!(!scene.mirror.holds(&"1".repeat(40)).unwrap());
}

#[test]
fn a_mirror_that_cannot_be_made_is_reported_in_a_sentence() {
    let scene = Scene::new();
    let path = scene.folder.path().join("file");
    std::fs::write(&path, "").unwrap();
    assert!(error_of(Mirror::open(&path, "x")).contains("must be a folder that the master may write"));
}

#[tokio::test]
async fn a_killed_fetch_leaves_no_pack_behind() {
    let scene = Scene::new();
    let path = &scene.mirror.origin.path;
    let unfinished = path.join("objects/pack/pack_git2_0123456789abcdef");
    std::fs::write(&unfinished, "half").unwrap();
    Mirror::open(path, "x").unwrap();
    assert!(!unfinished.exists());
}

/// A commit whose texts are `größere` and `Jörg`, in these bytes, with this header.
fn commit_in(scene: &Scene, header: &str, text: &[u8], name: &[u8]) -> Commit {
    let tree = scene.remote.treebuilder(None).unwrap().write().unwrap();
    let mut raw = format!("tree {tree}\n").into_bytes();
    for role in ["author", "committer"] {
        raw.extend([role.as_bytes(), b" ", name, b" <j@example.org> 1700000000 +0100\n"].concat());
    }
    raw.extend([header.as_bytes(), b"\n", text, b"\n"].concat());
    let sha = scene.remote.odb().unwrap().write(git2::ObjectType::Commit, &raw).unwrap();
    let remote = Mirror::open(scene.remote.path(), "").unwrap();
    remote.commit(&sha.to_string()).unwrap()
}

#[test]
fn a_commit_is_read_in_the_encoding_that_its_header_names() {
    let scene = Scene::new();
    let latin1: (&[u8], &[u8]) = (b"gr\xf6\xdfere", b"J\xf6rg");
    let utf8 = ("größere".as_bytes(), "Jörg".as_bytes());
    let table = [
        ("encoding ISO-8859-1\n", latin1, "größere", "Jörg"),
        ("encoding latin1\n", latin1, "größere", "Jörg"),
        ("encoding UTF-8\n", utf8, "größere", "Jörg"),
        ("", utf8, "größere", "Jörg"),
        ("encoding KOI8-R\n", (b"\xd4\xc5\xd3\xd4", b"\xe1\xce\xce\xc1"), "тест", "Анна"),
        ("encoding ISO-2022-JP\n", (b"\x1b$B$\"\x1b(B", b"Ada"), "あ", "Ada"),
        ("encoding EUC-JP\n", (b"\xa4\xa2", b"Ada"), "あ", "Ada"),
        // Where the name is unknown or cannot be true, what is UTF-8 stays readable.
        ("encoding klingon\n", utf8, "größere", "Jörg"),
        ("encoding UTF-16\n", utf8, "größere", "Jörg"),
        ("encoding \u{fffd}\n", utf8, "größere", "Jörg"),
        ("", latin1, "gr\u{fffd}\u{fffd}ere", "J\u{fffd}rg"),
    ];
    for (header, (text, name), title, author) in table {
        let commit = commit_in(&scene, header, text, name);
        assert_eq!((commit.title.as_str(), commit.author.as_str()), (title, author), "{header}");
        assert_eq!(commit.message, format!("{title}\n"), "{header}");
    }
    // One byte may become three, and the bound is that of the text.
    let long = commit_in(&scene, "encoding ISO-8859-1\n", &vec![0x80; 100_000], &[0xf6; 5000]);
    assert!(long.message.len() <= 64 << 10 && long.title.chars().count() == 200, "{}", long.message.len());
}

/// libgit2 assumes that a lock that is there has an owner, and would refuse to fetch for ever.
#[tokio::test]
async fn a_killed_fetch_leaves_no_lock_behind() {
    let scene = Scene::new();
    scene.push("main", None, "a");
    scene.poll().await;
    let path = &scene.mirror.origin.path;
    for lock in ["refs/remotes/origin/main.lock", "packed-refs.lock", "FETCH_HEAD.lock"] {
        std::fs::write(path.join(lock), "").unwrap();
    }
    scene.push("main", None, "b");
    let mirror = Mirror::open(path, scene.mirror.origin.url.as_str()).unwrap();
    mirror.fetch(SOON, watch::Sender::default()).await.unwrap();
}

#[tokio::test]
async fn a_branch_whose_name_is_not_utf_8_hides_no_other() {
    let scene = Scene::new();
    let shas = scene.push("main", None, "a");
    let refs = scene.remote.path().join("refs/heads");
    let name: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(b"bad\xff".to_vec());
    std::fs::write(refs.join(name), format!("{}\n", shas[0])).unwrap();
    let tips = scene.poll().await;
    assert_eq!(tips.branches.keys().collect::<Vec<_>>(), ["main"]);
    assert!(scene.mirror.holds(&shas[0]).unwrap());
}

#[tokio::test]
async fn a_remote_that_hangs_is_given_up_at_the_deadline_and_not_asked_twice() {
    let scene = Scene::new();
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let mirror = scene.mirror_of(&format!("git://{}/lua.git", hanging.local_addr().unwrap()));
    let short = Duration::from_millis(100);

    let error = error_of(mirror.tips(short).await);
    assert!(error.contains("no end after 0.1 s"), "{error}");
    let error = error_of(mirror.fetch(short, watch::Sender::default()).await);
    assert!(error.contains("given up and still hangs"), "{error}");

    // The server goes away, so the abandoned thread ends and the next look has its turn.
    drop(hanging);
    let error = error_of(mirror.tips(SOON).await);
    assert!(error.starts_with("cannot look at git://127.0.0.1:"), "{error}");
    assert!(!error.contains("still hangs") && !error.contains("no end after"), "{error}");
}

/// A git daemon of our own on a free port, ended with the test.
struct Daemon {
    process: Child,
    port: u16,
}

impl Daemon {
    fn serve(folder: &Path) -> Daemon {
        // Started without `git` in between, so that what is ended is the daemon itself.
        let programs = Command::new("git").arg("--exec-path").output().expect("git is installed").stdout;
        let program = Path::new(std::str::from_utf8(&programs).unwrap().trim()).join("git-daemon");
        // The port is free again before the daemon takes it; another process may be quicker, so try again.
        for _ in 0..20 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let mut process = Command::new(&program)
                .args(["--export-all", "--listen=127.0.0.1", "--reuseaddr"])
                .args([format!("--port={port}"), format!("--base-path={}", folder.display())])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("git has its daemon");
            while process.try_wait().unwrap().is_none() {
                if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Daemon { process, port };
                }
                std::thread::yield_now();
            }
        }
        panic!("git daemon found no free port");
    }

    fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_git_daemon_and_a_file_url_show_the_same_as_a_path() {
    let scene = Scene::new();
    let shas = scene.push("main", None, "a b c");
    let expected = scene.poll().await;
    let daemon = Daemon::serve(scene.folder.path());
    let file = format!("file://{}", scene.remote.path().display());
    for url in [daemon.url("remote.git"), file] {
        let folder = TempDir::new().unwrap();
        let mirror = Mirror::open(folder.path().join("m.git"), url).unwrap();
        assert_eq!(mirror.tips(SOON).await.unwrap(), expected);
        assert!(!mirror.holds(&shas[2]).unwrap(), "a look brings no object");
        mirror.fetch(SOON, watch::Sender::default()).await.unwrap();
        mirror.fetch(SOON, watch::Sender::default()).await.unwrap();
        assert_eq!(mirror.commit(&shas[0]).unwrap().title, "a");
    }
    let error = error_of(scene.mirror_of(&daemon.url("nowhere.git")).tips(SOON).await);
    assert!(error.starts_with("cannot look at git://127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn a_fetch_reports_how_far_it_is() {
    let scene = Scene::new();
    scene.push("main", None, "a");
    let (progress, seen) = watch::channel(FetchProgress::default());
    scene.mirror.fetch(SOON, progress).await.unwrap();
    let last = seen.borrow().clone();
    assert!(last.objects > 0 && last.total_objects == Some(last.objects), "{last:?}");
    assert_eq!(last.total_bytes, None, "git does not say how many bytes there are");
}
