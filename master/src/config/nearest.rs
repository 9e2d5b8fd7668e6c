//! "did you mean": the valid word that a typing mistake turned into the one that was found.

/// Keys of earlier versions, and what they are called now.
const RENAMED: [(&str, &str); 1] = [("keep", "retention")];

/// The nearest candidate, if it is near enough to be meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A mistake keeps most of the word; and the cost grows with the square of a hostile one.
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

/// `; did you mean ...?`, or nothing. A candidate may also be the new name of a renamed key.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let renamed = RENAMED.iter().find(|(old, new)| *old == word && candidates.contains(new));
    let meant = renamed.map(|(_, new)| *new).or_else(|| nearest(word, candidates));
    meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default()
}

/// The candidates that are most like a word, the nearest first: at most `most` of them. Where there are very many, only
/// those of about its length are compared letter by letter.
pub fn nearest_first<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    most: usize,
) -> Vec<&'a str> {
    const MAX_COMPARED: usize = 1000;
    const MAX_BYTES: usize = 64;
    let mut candidates: Vec<&str> = candidates.into_iter().collect();
    if candidates.len() > MAX_COMPARED {
        candidates.sort_by_key(|candidate| (candidate.len().abs_diff(word.len()), *candidate));
        candidates.truncate(MAX_COMPARED);
    }
    let is_long = |text: &str| text.len() > MAX_BYTES;
    candidates.sort_by_cached_key(|candidate| {
        let far = usize::MAX;
        (if is_long(word) || is_long(candidate) { far } else { distance(word, candidate) }, *candidate)
    });
    candidates.truncate(most);
    candidates
}

/// How many letters must be inserted, deleted, replaced or swapped with their neighbour: the optimal string alignment distance
/// of Damerau and Levenshtein.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut two_above: Vec<usize> = vec![];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(two_above[j - 2] + 1);
            }
            row.push(best);
        }
        two_above = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_has_distance_one() {
        for (mistake, meant) in [("polll", "poll"), ("pol", "poll"), ("pool", "poll"), ("plol", "poll")] {
            assert_eq!(distance(mistake, meant), 1, "{mistake}");
        }
        assert_eq!(distance("", "poll"), 4);
        assert_eq!(distance("poll", "poll"), 0);
    }

    #[test]
    fn only_a_near_word_is_suggested() {
        let keys = ["git", "branches", "base", "poll"];
        assert_eq!(nearest("branch", keys), Some("branches"));
        assert_eq!(nearest("gti", keys), Some("git"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest(&"poll".repeat(100), keys), None);
    }

    #[test]
    fn the_names_that_are_there_are_listed_by_likeness() {
        let branches = ["develop", "main", "maint", "master-next", "v1"];
        assert_eq!(nearest_first("mian", branches, 3), ["main", "maint", "v1"]);
        assert_eq!(nearest_first("master", branches, 1), ["main"]);
        assert_eq!(nearest_first("x", [], 3), [""; 0]);
        let long = "m".repeat(10_000);
        assert_eq!(nearest_first("main", [long.as_str(), "main2"], 2), ["main2", long.as_str()]);
        let many: Vec<String> = (0..5000).map(|n| format!("feature/{n}")).collect();
        let many = many.iter().map(String::as_str).chain(["main"]);
        assert_eq!(nearest_first("mian", many, 1), ["main"]);
    }

    #[test]
    fn the_old_name_of_a_key_suggests_the_new_one() {
        assert_eq!(did_you_mean("keep", ["mail", "retention"]), "; did you mean `retention`?");
        assert_eq!(did_you_mean("keep", ["mail"]), "", "this table never had such a key");
    }
}
