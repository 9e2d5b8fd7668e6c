//! The two conversions between counts and real numbers that the standard library leaves to `as`, each in one place.

/// A count as a real number: exact below 2^53, and no count of changes, runs, cases or paths comes near that.
/// There is no `From<usize> for f64`.
#[expect(clippy::cast_precision_loss, reason = "no count comes near 2^53")]
pub(crate) fn real(count: usize) -> f64 {
    count as f64
}

/// The integer part of a real number that is not negative: saturates at `u64::MAX`, and NaN is 0.
/// There is no `TryFrom<f64> for u64`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
pub(crate) fn whole(value: f64) -> u64 {
    value as u64
}

/// A number that is stored in 32 bits, as an index.
pub(crate) fn index(number: u32) -> usize {
    usize::try_from(number).expect("the farm runs on machines of 32 bits and more")
}
