//! What a good configuration lacks all the same.

use domain::schedule::canary::Canary;

use super::Config;

impl Config {
    /// A sentence each.
    pub fn advice(&self) -> Vec<String> {
        let lacks = |trunk: &str, canary: Canary| {
            !self.projects.iter().any(|project| project.trunk == trunk && project.canary == Some(canary))
        };
        let mut advice = Vec::new();
        for trunk in &self.trunks {
            let missing =
                [Canary::MustPass, Canary::MustFail].into_iter().filter(|canary| lacks(&trunk.name, *canary));
            let missing: Vec<String> = missing.map(|canary| format!("`canary = \"{canary}\"`")).collect();
            if !missing.is_empty() {
                let (trunk, missing) = (&trunk.name, missing.join(" or "));
                advice.push(format!(
                    "no project of trunk {trunk} has {missing}: were the farm to go blind there, nobody would hear of it"
                ));
            }
        }
        advice
    }
}
