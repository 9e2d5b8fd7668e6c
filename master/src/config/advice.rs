//! What a valid configuration should have in addition.

use domain::schedule::canary::Canary;

use super::settings::Config;

impl Config {
    /// A sentence for each piece of advice.
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
                    "no project of trunk {trunk} has {missing}: without canaries nobody notices when the farm misses failures there"
                ));
            }
        }
        advice
    }
}
