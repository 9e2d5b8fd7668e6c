//! What a change's page says of the change.

use super::blame::{Blame, RepairClaim};
use super::broken::Broken;

/// What a change has to do with some breakages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeRole {
    /// It is in the stretch of changes that is blamed for them.
    Blamed {
        /// It alone, or one of several.
        blame: Blame,
        /// What is broken.
        broken: Broken,
        /// How many of the breakages are not over, of how many.
        open: (usize, usize),
    },
    /// It is a suspect of a search that goes on, in so many breakages.
    Searched(usize),
    /// It is a suspect of a search that ended without a culprit, in so many breakages.
    Unsolved(usize),
    /// It is in the stretch of changes that repaired them.
    Repaired {
        /// It alone, or one of several.
        repair: RepairClaim,
        /// The names of what was repaired.
        names: Vec<String>,
    },
}

impl ChangeRole {
    /// A sentence about the change, which is called "it"; none where the role says nothing of it.
    fn sentence(&self) -> Option<String> {
        Some(match self {
            ChangeRole::Blamed { blame, broken, open } => {
                let now = match *open {
                    (0, _) => "all of it is over".to_string(),
                    (open, all) if open == all => "not repaired yet".to_string(),
                    (1, all) => format!("1 of {all} breakages is still open"),
                    (open, all) => format!("{open} of {all} breakages are still open"),
                };
                match blame {
                    Blame::Named => format!("It {}; {now}.", broken.deed()),
                    Blame::OneOf(0 | 1) => {
                        format!("It or a change beside it {} (no run tells which); {now}.", broken.deed())
                    }
                    Blame::OneOf(k) => format!(
                        "It is one of the {k} changes of which one {} (no run tells which); {now}.",
                        broken.deed()
                    ),
                    Blame::Suspected
                    | Blame::Searching
                    | Blame::Inconclusive
                    | Blame::Flaky
                    | Blame::Environment
                    | Blame::Unknown => return None,
                }
            }
            ChangeRole::Searched(0) | ChangeRole::Unsolved(0) => return None,
            ChangeRole::Searched(1) => "It is a suspect in 1 breakage whose search goes on.".into(),
            ChangeRole::Searched(n) => format!("It is a suspect in {n} breakages whose search goes on."),
            ChangeRole::Unsolved(1) => "It is a suspect in 1 breakage whose culprit was not found.".into(),
            ChangeRole::Unsolved(n) => {
                format!("It is a suspect in {n} breakages whose culprit was not found.")
            }
            ChangeRole::Repaired { repair, names } => {
                let names = names.join(", ");
                match repair {
                    RepairClaim::By => format!("It repaired {names}."),
                    RepairClaim::Within(0) => format!("It or a change before it repaired {names}."),
                    RepairClaim::Within(k) => {
                        format!("It is one of the {k} changes of which one repaired {names}.")
                    }
                    RepairClaim::ByItself => return None,
                }
            }
        })
    }
}

/// Everything that is known of a change.
pub fn change_sentence(roles: &[ChangeRole]) -> String {
    let sentences: Vec<String> = roles.iter().filter_map(ChangeRole::sentence).collect();
    match sentences.is_empty() {
        true => "No breakage or repair is attributed to it.".into(),
        false => sentences.join(" "),
    }
}
