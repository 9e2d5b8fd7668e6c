//! One commit as it is recorded. A commit may contain anything that its author writes into it: text is bounded and read in
//! the commit's own encoding, with losses, and the walk over its files counts its steps.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, Result, bail};
use encoding_rs::{Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE};
use git2::{ObjectType, Oid, Repository};

const MAX_MESSAGE_BYTES: usize = 64 << 10;
const MAX_TITLE_CHARS: usize = 200;
const MAX_NAME_CHARS: usize = 200;
/// A longer path is cut, and nothing below it is read.
const MAX_PATH_BYTES: usize = 1024;
const MAX_PARENTS: usize = 64;
const MAX_PATHS: usize = 1000;
/// Beyond this, nothing is counted: a page prints "and many more".
const MAX_COUNT: usize = 100_000;
/// Folders opened, or waiting to be, for one commit. A few kilobytes of git objects can contain 10^10 of them.
const MAX_FOLDERS: usize = 20_000;

/// A commit, with what pages and path filters need. Every text is bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    pub sha: String,
    /// The first one is the branch; at most 64.
    pub parents: Vec<String>,
    pub author: String,
    pub email: String,
    /// By its author's clock: to be shown, never to order by.
    pub authored_at_s: i64,
    pub committed_at_s: i64,
    /// The message's first line.
    pub title: String,
    /// The whole of it, title included; at most 64 KiB.
    pub message: String,
    /// Files that differ from those of the change before it (all files of a first commit), in git's order.
    pub paths: Excerpt<String>,
}

/// The first items of a list that may be long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt<T> {
    pub first: Vec<T>,
    /// How many there are in all; counting ends at 100,000.
    pub count: usize,
}

impl<T> Excerpt<T> {
    fn new() -> Excerpt<T> {
        Excerpt { first: Vec::new(), count: 0 }
    }

    fn add(&mut self, room: usize, item: impl FnOnce() -> Result<T>) -> Result<()> {
        if self.first.len() < room {
            self.first.push(item()?);
        }
        self.count += 1;
        Ok(())
    }
}

/// `before` is the change before it on its branch, which for a foxtrot merge is not its first parent; without one, that is
/// what it is compared with.
pub fn read(
    repository: &Repository,
    commit: &git2::Commit<'_>,
    before: Option<&git2::Commit<'_>>,
) -> Result<Commit> {
    let before = before.map(git2::Commit::tree_id).or_else(|| commit.parents().next().map(|p| p.tree_id()));
    let encoding = encoding(commit);
    let message = bounded(encoding, commit.message_bytes(), MAX_MESSAGE_BYTES);
    let author = commit.author();
    Ok(Commit {
        sha: commit.id().to_string(),
        parents: commit.parent_ids().take(MAX_PARENTS).map(|sha| sha.to_string()).collect(),
        author: line(encoding, author.name_bytes(), MAX_NAME_CHARS),
        email: line(encoding, author.email_bytes(), MAX_NAME_CHARS),
        authored_at_s: author.when().seconds(),
        committed_at_s: commit.time().seconds(),
        title: one_line(message.trim_start().lines().next().unwrap_or(""), MAX_TITLE_CHARS),
        paths: touched(repository, before, commit.tree_id())
            .with_context(|| format!("reading the files of {}", commit.id()))?,
        message,
    })
}

/// The commits that `tip` contains and `base` does not.
pub fn ahead(repository: &Repository, tip: Oid, base: Oid, most: usize) -> Result<HashSet<Oid>> {
    let mut walk = repository.revwalk()?;
    walk.push(tip)?;
    walk.hide(base).with_context(|| format!("the base {base} is not in the mirror"))?;
    let mut ahead = HashSet::new();
    for sha in walk {
        if ahead.len() == most {
            bail!("more than {most} commits lie between the base {base} and {tip}: choose a younger base");
        }
        ahead.insert(sha?);
    }
    Ok(ahead)
}

/// Compares two trees by hand, because libgit2 lists every difference before it shows the first.
fn touched(repository: &Repository, before: Option<Oid>, after: Oid) -> Result<Excerpt<String>> {
    let mut touched = Excerpt::new();
    let mut folders = vec![(Vec::new(), before, Some(after))];
    let mut opened = 0;
    while let Some((folder, before, after)) = folders.pop() {
        opened += 1;
        if opened > MAX_FOLDERS || folders.len() > MAX_FOLDERS || touched.count >= MAX_COUNT {
            // How many more there are is not known, only that there are many.
            touched.count = MAX_COUNT;
            break;
        }
        let mut inner = Vec::new();
        for (name, change) in differences(repository, before, after)? {
            let mut path: Vec<u8> = folder.clone();
            path.extend(&name);
            let too_long = path.len() > MAX_PATH_BYTES;
            if change.file || too_long {
                touched.add(MAX_PATHS, || Ok(bounded(UTF_8, &path, MAX_PATH_BYTES)))?;
            }
            if change.folders != (None, None) && !too_long {
                path.push(b'/');
                inner.push((path, change.folders.0, change.folders.1));
            }
        }
        folders.extend(inner.into_iter().rev());
    }
    Ok(touched)
}

/// How one name in a folder differs between two commits. It may have been a file before and a folder after.
#[derive(Default)]
struct Difference {
    file: bool,
    folders: (Option<Oid>, Option<Oid>),
}

fn differences(
    repository: &Repository,
    before: Option<Oid>,
    after: Option<Oid>,
) -> Result<BTreeMap<Vec<u8>, Difference>> {
    let entries = |tree: Option<Oid>| -> Result<BTreeMap<Vec<u8>, (Oid, i32, bool)>> {
        let Some(tree) = tree else { return Ok(BTreeMap::new()) };
        let tree = repository.find_tree(tree)?;
        let entry = |e: git2::TreeEntry<'_>| {
            (e.name_bytes().to_vec(), (e.id(), e.filemode_raw(), e.kind() == Some(ObjectType::Tree)))
        };
        Ok(tree.iter().map(entry).collect())
    };
    let (mut before, mut after) = (entries(before)?, entries(after)?);
    before.retain(|name, was| match after.get(name) {
        Some(is) if is == was => {
            after.remove(name);
            false
        }
        Some(_) | None => true,
    });
    let mut differences: BTreeMap<Vec<u8>, Difference> = BTreeMap::new();
    for (name, (id, _, is_folder)) in before {
        let difference = differences.entry(name).or_default();
        difference.file |= !is_folder;
        difference.folders.0 = is_folder.then_some(id);
    }
    for (name, (id, _, is_folder)) in after {
        let difference = differences.entry(name).or_default();
        difference.file |= !is_folder;
        difference.folders.1 = is_folder.then_some(id);
    }
    Ok(differences)
}

/// In which encoding a commit's texts are written: git writes its name into the header `encoding` where it is not UTF-8. A
/// commit is made of bytes without zeros, so two-byte encodings are as wrong there as unknown names.
fn encoding(commit: &git2::Commit<'_>) -> &'static Encoding {
    let name = commit.message_encoding().ok().flatten();
    let named = name.and_then(|name| Encoding::for_label(name.as_bytes()));
    named.filter(|named| ![REPLACEMENT, UTF_16BE, UTF_16LE].contains(named)).unwrap_or(UTF_8)
}

/// At most so many bytes, also after decoding has made several of one.
fn bounded(encoding: &'static Encoding, bytes: &[u8], most: usize) -> String {
    let (text, _) = encoding.decode_without_bom_handling(&bytes[..bytes.len().min(most)]);
    let mut text = text.into_owned();
    while text.len() > most {
        text.pop();
    }
    text
}

fn line(encoding: &'static Encoding, bytes: &[u8], most_chars: usize) -> String {
    // Four bytes a character at most, so that a name of megabytes is not read whole.
    one_line(&bounded(encoding, bytes, 4 * most_chars), most_chars)
}

fn one_line(text: &str, most_chars: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most_chars).collect()
}
