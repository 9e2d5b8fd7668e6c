//! Lengths in memory as numbers that files and messages hold.

/// The length of something in memory.
pub fn to_u64(length: usize) -> u64 {
    u64::try_from(length).expect("no supported machine has addresses of more than 64 bits")
}
