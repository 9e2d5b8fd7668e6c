//! A remote's refs, which can be read without a fetch, and which of its tags is the newest.

use std::collections::BTreeMap;

use domain::release;

/// A remote's branches and tags. Ids are those of commits: a tag with a message of its own is followed to its
/// commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tips {
    /// The branch that the remote's HEAD points to; none in an empty repository, where HEAD is detached, and where the server
    /// does not show it.
    pub default_branch: Option<String>,
    pub branches: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
}

impl Tips {
    /// The tag of the newest release, with its commit.
    pub fn newest_tag(&self) -> Option<(&str, &str)> {
        let newest = release::newest(self.tags.keys().map(String::as_str))?;
        Some((newest, self.tags.get(newest)?))
    }

    /// Adds one ref of the remote; refs that are neither branches nor tags are left out.
    pub(super) fn insert(&mut self, reference: &str, sha: &str) {
        if let Some(branch) = reference.strip_prefix("refs/heads/") {
            self.branches.insert(branch.to_string(), sha.to_string());
        } else if let Some(tag) = reference.strip_prefix("refs/tags/") {
            // The ref of the commit has this ending, and comes after that of the tag's own object.
            let tag = tag.strip_suffix("^{}").unwrap_or(tag);
            self.tags.insert(tag.to_string(), sha.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_with_a_message_is_followed_to_its_commit() {
        let mut tips = Tips::default();
        tips.insert("refs/tags/v1", "aaaa");
        tips.insert("refs/tags/v1^{}", "bbbb");
        assert_eq!(tips.newest_tag(), Some(("v1", "bbbb")));
    }
}
