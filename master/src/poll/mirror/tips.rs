//! A remote's refs, which can be read without a fetch, and which of its tags is the newest.

use std::cmp::Ordering;
use std::collections::BTreeMap;

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
    /// The tag of the highest version, with its commit. Versions decide, not dates: a fix release of an old
    /// series is younger than the new series, and not newer. A tag without a number is no version; one with a word after
    /// its number (`2.0-rc1`, `3.15.0a1`) counts only where there is no other.
    pub fn newest_tag(&self) -> Option<(&str, &str)> {
        let (name, sha) = self.tags.iter().max_by(|(a, _), (b, _)| by_version(a, b))?;
        has_number(name).then_some((name, sha))
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

fn has_number(tag: &str) -> bool {
    tag.bytes().any(|b| b.is_ascii_digit())
}

fn by_version(a: &str, b: &str) -> Ordering {
    let ((a_release, a_word), (b_release, b_word)) = (parts(a), parts(b));
    has_number(a)
        .cmp(&has_number(b))
        .then_with(|| a_word.is_empty().cmp(&b_word.is_empty()))
        .then_with(|| numbers(a_release).cmp(&numbers(b_release)))
        .then_with(|| letters(a_word).cmp(letters(b_word)))
        .then_with(|| numbers(a_word).cmp(&numbers(b_word)))
        .then_with(|| a.cmp(b))
}

/// The numbers of a tag, and the word after them with all that follows: `v2.0-rc1` is `2.0-` and `rc1`.
/// A final version has no such word.
fn parts(tag: &str) -> (&str, &str) {
    let version = tag.trim_start_matches(|c: char| !c.is_ascii_digit());
    version.split_at(version.find(char::is_alphabetic).unwrap_or(version.len()))
}

/// `a`, `b`, `rc` happen to be in alphabetical order.
fn letters(word: &str) -> impl Iterator<Item = char> {
    word.chars().take_while(|c| c.is_alphabetic()).flat_map(char::to_lowercase)
}

/// The numbers in a tag. Each is compared by its length first, so that one of a thousand digits needs no arithmetic.
fn numbers(tag: &str) -> Vec<(usize, &str)> {
    tag.split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.trim_start_matches('0'))
        .map(|digits| (digits.len(), digits))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest(tags: &str) -> Option<String> {
        let mut tips = Tips::default();
        tags.split_whitespace().for_each(|tag| tips.insert(&format!("refs/tags/{tag}"), "0"));
        tips.newest_tag().map(|(tag, _)| tag.to_string())
    }

    #[test]
    fn the_newest_tag_is_the_highest_version() {
        let table = [
            ("v1.9 v1.10", "v1.10"),
            ("1.2 1.2.1 1.1.9", "1.2.1"),
            ("v2.0.0-rc1 v1.9.0", "v1.9.0"),
            ("2.0rc1 2.0b7 2.0rc", "2.0rc1"),
            ("3.15.0a2 3.14.0rc3", "3.15.0a2"),
            ("latest v0.1", "v0.1"),
            ("release_5_4 release_5_10", "release_5_10"),
            ("v00000000000000000000000000002 v1", "v00000000000000000000000000002"),
            ("v99999999999999999999999999999999 v3", "v99999999999999999999999999999999"),
        ];
        for (tags, expected) in table {
            assert_eq!(newest(tags).as_deref(), Some(expected), "{tags}");
        }
    }

    #[test]
    fn without_a_version_no_tag_is_the_newest() {
        assert_eq!(newest(""), None);
        assert_eq!(newest("stable nightly"), None);
    }

    #[test]
    fn a_tag_with_a_message_is_followed_to_its_commit() {
        let mut tips = Tips::default();
        tips.insert("refs/tags/v1", "aaaa");
        tips.insert("refs/tags/v1^{}", "bbbb");
        assert_eq!(tips.newest_tag(), Some(("v1", "bbbb")));
    }
}
