//! Random numbers that can be repeated: every test that uses them prints its seed, and takes a seed from `FARM_SEED`.

/// A splitmix64 generator (Steele, Lea, Flood 2014).
pub struct Dice {
    state: u64,
}

impl Dice {
    /// Prints the seed, so that a failure can be repeated.
    pub fn new(what: &str) -> Dice {
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let given = std::env::var("FARM_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| now().expect("it is after 1970").as_nanos() as u64);
        println!("{what}: FARM_SEED={seed}");
        Dice { state: seed }
    }

    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to but not including `sides`.
    pub fn below(&mut self, sides: u64) -> u64 {
        self.next_u64() % sides
    }
}
