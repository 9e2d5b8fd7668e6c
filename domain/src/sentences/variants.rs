//! In which variants of its trunk something is broken, in words.

use std::collections::{BTreeMap, BTreeSet};

use super::pieces::listed;

/// What is known of the broken cases in one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VariantState {
    /// They were seen to be good there.
    Good,
    /// Nothing is known, or nothing is certain.
    Unknown,
    /// They are bad there.
    Bad,
}

/// In which variants the cases of some projects are broken; empty where a trunk has the default build only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VariantSpread {
    of_projects: BTreeMap<String, BTreeMap<String, VariantState>>,
}

impl VariantSpread {
    /// Adds what is known of a project in one variant. The worse knowledge counts.
    pub fn add(&mut self, project: &str, variant: &str, state: VariantState) {
        let of_it = self.of_projects.entry(project.to_string()).or_default();
        let known = of_it.entry(variant.to_string()).or_insert(state);
        *known = state.max(*known);
    }

    /// `only in free-threaded`, `on all 2 variants`; none where there is nothing to tell apart. "Only" and "all" are
    /// claims about each variant of each project.
    pub fn words(&self) -> Option<String> {
        let all: BTreeSet<&BTreeMap<String, VariantState>> = self.of_projects.values().collect();
        let is_bad = |(name, state): (&String, &VariantState)| match state {
            VariantState::Bad => Some(name.clone()),
            VariantState::Good | VariantState::Unknown => None,
        };
        let bad: BTreeSet<String> = all.iter().flat_map(|of_it| of_it.iter()).filter_map(is_bad).collect();
        let names = listed(&bad.iter().cloned().collect::<Vec<_>>());
        match (bad.len(), all.first().filter(|_| all.len() == 1)) {
            (0, _) => None,
            (1, Some(same)) if same.len() == 1 => Some(format!("in {names}")),
            (n, Some(same)) if n == same.len() => Some(format!("on all {n} variants")),
            (_, Some(same)) if !same.values().any(|state| *state == VariantState::Unknown) => {
                Some(format!("only in {names}"))
            }
            (1, _) | (_, Some(_)) => Some(format!("in {names}")),
            (n, None) => Some(format!("on {n} variants")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::VariantState::{Bad, Good, Unknown};
    use super::*;

    fn words(known: &[(&str, &str, VariantState)]) -> Option<String> {
        let mut spread = VariantSpread::default();
        for (project, variant, state) in known {
            spread.add(project, variant, *state);
        }
        spread.words()
    }

    #[test]
    fn a_breakage_says_in_which_variants_it_is() {
        for (known, expected) in [
            (&[][..], None),
            (&[("vec", "default", Bad)], Some("in default")),
            (&[("vec", "default", Good), ("vec", "jit", Bad)], Some("only in jit")),
            (&[("vec", "default", Unknown), ("vec", "jit", Bad)], Some("in jit")),
            (&[("vec", "default", Bad), ("vec", "jit", Bad)], Some("on all 2 variants")),
            (
                &[("vec", "default", Good), ("vec", "asan", Bad), ("vec", "jit", Bad)],
                Some("only in asan and jit"),
            ),
            (
                &[("vec", "default", Unknown), ("vec", "asan", Bad), ("vec", "jit", Bad)],
                Some("in asan and jit"),
            ),
            // What another breakage shows outweighs what the first one did not know.
            (
                &[("vec", "jit", Unknown), ("vec", "default", Bad), ("vec", "jit", Bad)],
                Some("on all 2 variants"),
            ),
            // Two projects of which each is broken in another way.
            (
                &[
                    ("ini", "default", Bad),
                    ("ini", "jit", Bad),
                    ("vec", "default", Good),
                    ("vec", "jit", Bad),
                ],
                Some("on 2 variants"),
            ),
            (
                &[
                    ("ini", "default", Good),
                    ("ini", "jit", Bad),
                    ("vec", "default", Good),
                    ("vec", "jit", Bad),
                ],
                Some("only in jit"),
            ),
        ] {
            assert_eq!(words(known).as_deref(), expected, "{known:?}");
        }
    }

    fn knowledge() -> impl Strategy<Value = Vec<(&'static str, &'static str, VariantState)>> {
        let one = (
            prop_oneof![Just("ini"), Just("vec")],
            prop_oneof![Just("asan"), Just("default"), Just("jit")],
            prop_oneof![Just(Good), Just(Unknown), Just(Bad)],
        );
        proptest::collection::vec(one, 0..8)
    }

    proptest! {
        /// Nothing is claimed of a variant of which nothing is known.
        #[test]
        fn only_and_all_are_true_of_every_project(known in knowledge()) {
            let Some(text) = words(&known) else { return Ok(()) };
            let projects: BTreeSet<&str> = known.iter().map(|(project, ..)| *project).collect();
            for of_it in projects {
                let variants: BTreeSet<&str> = known.iter().map(|(_, variant, _)| *variant).collect();
                for variant in variants {
                    let state = known
                        .iter()
                        .filter(|(project, at, _)| *project == of_it && *at == variant)
                        .map(|(.., state)| *state)
                        .max();
                    if text.starts_with("only in ") {
                        let is_named = text.contains(variant);
                        let expected = if is_named { Bad } else { Good };
                        let is_true = state == Some(expected) || state.is_none() && !is_named;
                        prop_assert!(is_true, "{text}: {variant} of {of_it} is {state:?}");
                    }
                    if text.starts_with("on all ") {
                        prop_assert!(state == Some(Bad) || state.is_none());
                    }
                }
            }
        }

        #[test]
        fn the_order_of_what_is_known_does_not_matter(known in knowledge()) {
            let reversed: Vec<_> = known.iter().rev().copied().collect();
            prop_assert_eq!(words(&known), words(&reversed));
        }
    }
}
