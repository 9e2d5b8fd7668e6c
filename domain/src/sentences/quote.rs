//! Which run's failure message is quoted.

/// A run in which a builder failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotableRun {
    /// The position of its change.
    pub position: i64,
}

/// The runs whose failure messages may be quoted, the best first: those at the culprit, then those at the earliest change
/// behind it; without a culprit, those at the earliest change. What was printed at a change before the culprit is not the
/// culprit's doing, and at the tip another culprit may have changed it.
pub fn quote_order(runs: &[QuotableRun], culprit: Option<i64>) -> Vec<usize> {
    let mut order: Vec<usize> =
        (0..runs.len()).filter(|&at| culprit.is_none_or(|culprit| runs[at].position >= culprit)).collect();
    // The order of the runs of one change stays.
    order.sort_by_key(|&at| runs[at].position);
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_culprits_own_run_is_quoted_and_never_one_before_it(
            positions in prop::collection::vec(1_i64..40, 0..20),
            culprit in prop::option::of(1_i64..40),
        ) {
            let runs: Vec<QuotableRun> = positions.iter().map(|&position| QuotableRun { position }).collect();
            let order = quote_order(&runs, culprit);
            let quoted: Vec<i64> = order.iter().map(|&at| runs[at].position).collect();
            prop_assert!(quoted.is_sorted());
            match culprit {
                Some(culprit) => {
                    prop_assert!(quoted.iter().all(|&at| at >= culprit));
                    prop_assert_eq!(quoted.first() == Some(&culprit), positions.contains(&culprit));
                }
                None => prop_assert_eq!(quoted.first(), positions.iter().min()),
            }
        }
    }
}
