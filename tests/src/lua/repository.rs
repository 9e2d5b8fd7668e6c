//! Writes commits into a bare repository. Author, dates and content determine a commit's id, and all are fixed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use git2::{Index, IndexEntry, IndexTime, RepositoryInitOptions, Signature, Time};

const BRANCH: &str = "refs/heads/master";
/// 2026-01-05 08:00 UTC; each commit is six hours later than the one before.
const FIRST_COMMIT_S: i64 = 1_767_600_000;
const BETWEEN_COMMITS_S: i64 = 6 * 3600;

pub(super) struct Repository {
    git: git2::Repository,
}

impl Repository {
    pub(super) fn new(at: &Path) -> anyhow::Result<Repository> {
        let mut options = RepositoryInitOptions::new();
        options.bare(true).no_reinit(true).initial_head("master").external_template(false);
        let git = git2::Repository::init_opts(at, &options)
            .with_context(|| format!("creating a repository at {}", at.display()))?;
        Ok(Repository { git })
    }

    /// Commits exactly these files on top of the branch. Returns the commit's id.
    pub(super) fn commit(&self, files: &BTreeMap<String, Vec<u8>>, message: &str) -> anyhow::Result<String> {
        let mut index = Index::new()?;
        for (path, content) in files {
            index.add(&self.entry(path, content)?)?;
        }
        let tree = self.git.find_tree(index.write_tree_to(&self.git)?)?;
        let parent = match self.git.refname_to_id(BRANCH) {
            Ok(id) => Some(self.git.find_commit(id)?),
            Err(e) if e.code() == git2::ErrorCode::NotFound => None,
            Err(e) => return Err(e).context("finding the branch"),
        };
        let at = parent.as_ref().map_or(FIRST_COMMIT_S, |p| p.time().seconds() + BETWEEN_COMMITS_S);
        let author = Signature::new("Lua canaries", "lua@example.org", &Time::new(at, 0))?;
        let parents: Vec<_> = parent.iter().collect();
        Ok(self.git.commit(Some(BRANCH), &author, &author, message, &tree, &parents)?.to_string())
    }

    fn entry(&self, path: &str, content: &[u8]) -> anyhow::Result<IndexEntry> {
        let never = IndexTime::new(0, 0);
        Ok(IndexEntry {
            ctime: never,
            mtime: never,
            dev: 0,
            ino: 0,
            mode: 0o100_644,
            uid: 0,
            gid: 0,
            file_size: 0,
            id: self.git.blob(content)?,
            flags: 0,
            flags_extended: 0,
            path: path.into(),
        })
    }
}
