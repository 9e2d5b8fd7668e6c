//! A case list: sorted, unique names, one on each line, named by the SHA-256 of exactly these bytes.

use protocol::Sha256;
use sha2::Digest;

use crate::readers::{MAX_CASES, MAX_NAME_BYTES, tidy};

/// The longest case list as text, in bytes.
pub const MAX_CASE_LIST_BYTES: usize = MAX_CASES * (MAX_NAME_BYTES + 1);

/// The names of a build's cases, sorted by their bytes. Builds that ran the same cases share one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseList {
    /// Each name is followed by a newline.
    text: String,
    /// The offset of each name's newline.
    ends: Vec<usize>,
    sha256: Sha256,
}

/// Why a text is refused as a case list; lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCaseList {
    /// The last line has no newline.
    #[error("a case list's last line does not end with a newline; the list may be incomplete")]
    BrokenOff,
    /// This line is not a tidy name.
    #[error(
        "line {0} of a case list is no case name: expected 1 to {MAX_NAME_BYTES} bytes, no control characters, no space at its ends"
    )]
    Name(usize),
    /// This line is not sorted after the line before it.
    #[error("line {0} of a case list does not sort after the line before it: expected sorted, unique names")]
    Order(usize),
    /// There are more than [`MAX_CASES`] lines.
    #[error("a case list has more than {MAX_CASES} names")]
    TooMany,
}

impl CaseList {
    /// From names that are tidy, sorted and unique.
    pub(super) fn from_sorted<'a>(names: impl Iterator<Item = &'a String>) -> CaseList {
        let (mut text, mut ends) = (String::new(), vec![]);
        for name in names {
            text.push_str(name);
            ends.push(text.len());
            text.push('\n');
        }
        let sha256 = Sha256(sha2::Sha256::digest(text.as_bytes()).into());
        CaseList { text, ends, sha256 }
    }

    /// Reads a list that a stranger may have written.
    pub fn from_text(text: String) -> Result<CaseList, BadCaseList> {
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(BadCaseList::BrokenOff);
        }
        let (mut ends, mut start, mut before) = (vec![], 0, "");
        for (at, name) in text.split_terminator('\n').enumerate() {
            if at == MAX_CASES {
                return Err(BadCaseList::TooMany);
            }
            if tidy(name) != name {
                return Err(BadCaseList::Name(at + 1));
            }
            if at > 0 && before >= name {
                return Err(BadCaseList::Order(at + 1));
            }
            before = name;
            ends.push(start + name.len());
            start += name.len() + 1;
        }
        let sha256 = Sha256(sha2::Sha256::digest(text.as_bytes()).into());
        Ok(CaseList { text, ends, sha256 })
    }

    /// One name on each line, as it is hashed.
    pub fn to_text(&self) -> &str {
        &self.text
    }

    /// The hash of [`Self::to_text`], by which the list is known.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// In their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.text.split_terminator('\n')
    }

    /// The name with this index.
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] + 1 };
        Some(&self.text[start..end])
    }

    /// The index of a name, by binary search.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle)?.cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}
