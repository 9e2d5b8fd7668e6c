//! "did you mean": the known word that a slip of the fingers turned into the one that stands there.

/// The nearest candidate, when it is near enough to be meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A slip keeps most of the word; and a hostile word must not cost its square.
    const MAX_BYTES: usize = 64;
    if word.len() > MAX_BYTES {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// `; did you mean ...?`, or nothing.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default()
}

/// How many letters must be put in, left out, replaced or swapped with their neighbour
/// (Damerau and Levenshtein's optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = vec![];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_one_step_away() {
        for (slip, meant) in [("polll", "poll"), ("pol", "poll"), ("pool", "poll"), ("plol", "poll")] {
            assert_eq!(distance(slip, meant), 1, "{slip}");
        }
        assert_eq!(distance("", "poll"), 4);
        assert_eq!(distance("poll", "poll"), 0);
    }

    #[test]
    fn only_what_is_near_is_meant() {
        let known = ["git", "branches", "base", "poll"];
        assert_eq!(nearest("branch", known), Some("branches"));
        assert_eq!(nearest("gti", known), Some("git"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest(&"poll".repeat(100), known), None);
    }
}
