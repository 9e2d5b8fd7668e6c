//! The verdicts of a build, one letter for each case in the order of its case list: small, and readable in a dump.

use protocol::Verdict;
use serde::{Deserialize, Serialize};

use crate::readers::MAX_CASES;

/// One verdict for each case of a list, at most [`MAX_CASES`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Verdicts {
    letters: String,
}

/// Why a text is refused as [`Verdicts`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLetter {
    /// A letter that stands for no verdict.
    #[error("`{letter}` at {at} is no verdict: expected one of P x S X U M F E")]
    Unknown {
        /// Its index in the text, in characters.
        at: usize,
        /// The letter.
        letter: char,
    },
    /// More than [`MAX_CASES`] letters; so many bytes.
    #[error("{0} verdicts are too many: expected at most {MAX_CASES}")]
    TooMany(usize),
}

/// How many cases have each verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictCounts {
    /// [`Verdict::Pass`]
    pub pass: u32,
    /// [`Verdict::Xfail`]
    pub xfail: u32,
    /// [`Verdict::Skip`]
    pub skip: u32,
    /// [`Verdict::Xpass`]
    pub xpass: u32,
    /// [`Verdict::Unreached`]
    pub unreached: u32,
    /// [`Verdict::Missing`]
    pub missing: u32,
    /// [`Verdict::Fail`]
    pub fail: u32,
    /// [`Verdict::Error`]
    pub error: u32,
}

/// The letter of a verdict. Letters are stored for ever; none may change its meaning.
pub fn letter(verdict: Verdict) -> char {
    match verdict {
        Verdict::Pass => 'P',
        Verdict::Xfail => 'x',
        Verdict::Skip => 'S',
        Verdict::Xpass => 'X',
        Verdict::Unreached => 'U',
        Verdict::Missing => 'M',
        Verdict::Fail => 'F',
        Verdict::Error => 'E',
    }
}

/// The verdict of a letter: the inverse of [`letter`]. None for any other byte.
pub fn verdict(letter: u8) -> Option<Verdict> {
    Some(match letter {
        b'P' => Verdict::Pass,
        b'x' => Verdict::Xfail,
        b'S' => Verdict::Skip,
        b'X' => Verdict::Xpass,
        b'U' => Verdict::Unreached,
        b'M' => Verdict::Missing,
        b'F' => Verdict::Fail,
        b'E' => Verdict::Error,
        _ => return None,
    })
}

impl Verdicts {
    /// Reads letters, for example from the store or an upload.
    pub fn from_letters(letters: impl Into<String>) -> Result<Verdicts, BadLetter> {
        let letters = letters.into();
        if letters.len() > MAX_CASES {
            return Err(BadLetter::TooMany(letters.len()));
        }
        let known = |c: char| u8::try_from(c).ok().and_then(verdict).is_some();
        match letters.chars().enumerate().find(|&(_, c)| !known(c)) {
            Some((at, letter)) => Err(BadLetter::Unknown { at, letter }),
            None => Ok(Verdicts { letters }),
        }
    }

    /// The letters, in the order of the case list.
    pub fn as_letters(&self) -> &str {
        &self.letters
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// The verdict of the case with this index in the list.
    pub fn get(&self, index: usize) -> Option<Verdict> {
        self.letters.as_bytes().get(index).copied().and_then(verdict)
    }

    /// In the order of the case list.
    pub fn iter(&self) -> impl Iterator<Item = Verdict> {
        self.letters.bytes().filter_map(verdict)
    }

    /// How many cases have each verdict.
    pub fn counts(&self) -> VerdictCounts {
        let mut counts = VerdictCounts::default();
        for verdict in self.iter() {
            *match verdict {
                Verdict::Pass => &mut counts.pass,
                Verdict::Xfail => &mut counts.xfail,
                Verdict::Skip => &mut counts.skip,
                Verdict::Xpass => &mut counts.xpass,
                Verdict::Unreached => &mut counts.unreached,
                Verdict::Missing => &mut counts.missing,
                Verdict::Fail => &mut counts.fail,
                Verdict::Error => &mut counts.error,
            } += 1;
        }
        counts
    }
}

impl VerdictCounts {
    /// How many cases failed, whichever way.
    pub fn bad(&self) -> u32 {
        self.fail + self.error
    }

    /// How many cases ran: those whose own code was executed.
    pub fn ran(&self) -> u32 {
        self.pass + self.xfail + self.xpass + self.bad()
    }

    /// How many cases there are.
    pub fn total(&self) -> u32 {
        self.ran() + self.skip + self.unreached + self.missing
    }
}

impl FromIterator<Verdict> for Verdicts {
    fn from_iter<I: IntoIterator<Item = Verdict>>(verdicts: I) -> Verdicts {
        Verdicts { letters: verdicts.into_iter().map(letter).collect() }
    }
}

impl From<Verdicts> for String {
    fn from(verdicts: Verdicts) -> String {
        verdicts.letters
    }
}

impl TryFrom<String> for Verdicts {
    type Error = BadLetter;

    fn try_from(letters: String) -> Result<Verdicts, BadLetter> {
        Verdicts::from_letters(letters)
    }
}
