//! Variants of a trunk: the same changes, made with other arguments and variables. What each of them builds follows from
//! the configuration alone.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Recipe;

/// What the default build is called where variants are configured and none of them gives it a name.
pub const DEFAULT_NAME: &str = "default";
/// The variable that gives the steps a variant's arguments, parted by blanks.
pub const ARGS_VARIABLE: &str = "FARM_ARGS";
/// The variable that gives the steps of toolchains and suites the variant's name.
pub const NAME_VARIABLE: &str = "FARM_VARIANT";

/// A variant as it is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// What the recipe's steps get as [`ARGS_VARIABLE`].
    pub args: Vec<String>,
    /// Variables in addition to the recipe's own, or in place of them.
    pub env: BTreeMap<String, String>,
}

impl Variant {
    /// Whether it is the default build, to which it only gives a name.
    pub fn is_default(&self) -> bool {
        self.args.is_empty() && self.env.is_empty()
    }

    /// The trunk's recipe as this variant runs it.
    pub fn recipe(&self, trunk: &Recipe) -> Recipe {
        let mut recipe = trunk.clone();
        if !self.is_default() {
            recipe.env.extend(self.env.clone());
            recipe.env.insert(NAME_VARIABLE.into(), self.name.clone());
            recipe.env.insert(ARGS_VARIABLE.into(), self.args.join(" "));
        }
        recipe
    }
}

/// One of the builds that a trunk has on each platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariantBuild {
    /// What its builders are known by, whatever it is called: empty for the default build.
    pub key: String,
    /// What it is called; none where there is only the default build.
    pub name: Option<String>,
    /// What its toolchains are made with.
    pub recipe: Recipe,
}

/// The builds of a trunk with these variants, the default one first. It is always there: a variant that is added takes
/// nothing from the history that a farm has.
pub fn builds(trunk: &Recipe, variants: &[Variant]) -> Vec<VariantBuild> {
    let default = variants.iter().find(|variant| variant.is_default());
    let name = default.map_or(DEFAULT_NAME, |variant| variant.name.as_str());
    let first = VariantBuild {
        key: String::new(),
        name: (!variants.is_empty()).then(|| name.to_string()),
        recipe: trunk.clone(),
    };
    let others = variants.iter().filter(|variant| !variant.is_default()).map(|variant| VariantBuild {
        key: variant.name.clone(),
        name: Some(variant.name.clone()),
        recipe: variant.recipe(trunk),
    });
    std::iter::once(first).chain(others).collect()
}

/// Whether a project that has chosen these variants is tested with a build. One that has chosen none is tested with all.
pub fn is_chosen(chosen: Option<&BTreeSet<String>>, build: &VariantBuild) -> bool {
    let name = build.name.as_deref().unwrap_or(DEFAULT_NAME);
    chosen.is_none_or(|chosen| chosen.contains(name))
}

/// A platform, with the variant where one is named: `linux-x86_64 free-threaded`.
pub fn target(platform: &str, variant: Option<&str>) -> String {
    match variant.filter(|variant| !variant.is_empty()) {
        None => platform.to_string(),
        Some(variant) => format!("{platform} {variant}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::project_inputs::inputs_hash;

    fn variables() -> impl Strategy<Value = BTreeMap<String, String>> {
        proptest::collection::btree_map("[A-C]", "[a-c]{0,2}", 0..3)
    }

    fn recipes() -> impl Strategy<Value = Recipe> {
        variables().prop_map(|env| Recipe { env, ..Recipe::default() })
    }

    /// Variants as the configuration allows them: no name twice, and at most one that adds nothing.
    fn all_variants() -> impl Strategy<Value = Vec<Variant>> {
        let contents = (proptest::collection::vec("-[a-c]", 0..3), variables());
        proptest::collection::btree_map("[a-e]{1,3}", contents, 0..5).prop_map(|variants| {
            let all = variants.into_iter().map(|(name, (args, env))| Variant { name, args, env });
            let (default, others): (Vec<_>, Vec<_>) = all.partition(Variant::is_default);
            others.into_iter().chain(default.into_iter().take(1)).collect()
        })
    }

    proptest! {
        #[test]
        fn the_default_build_is_always_there_and_its_recipe_is_the_trunk_s(
            trunk in recipes(),
            variants in all_variants(),
        ) {
            let builds = builds(&trunk, &variants);
            let default: Vec<_> = builds.iter().filter(|build| build.key.is_empty()).collect();
            prop_assert_eq!(default.len(), 1);
            prop_assert_eq!(&default[0].recipe, &trunk);
            prop_assert_eq!(default[0].name.is_none(), variants.is_empty());
            let named = variants.iter().filter(|variant| variant.is_default()).count();
            prop_assert_eq!(builds.len(), 1 + variants.len() - named);
        }

        /// Else the toolchain of one would stand for another's.
        #[test]
        fn no_two_builds_have_the_same_key_name_or_recipe(trunk in recipes(), variants in all_variants()) {
            let builds = builds(&trunk, &variants);
            let keys: BTreeSet<_> = builds.iter().map(|build| &build.key).collect();
            let names: BTreeSet<_> = builds.iter().map(|build| &build.name).collect();
            let recipes: BTreeSet<_> = builds.iter().map(|build| inputs_hash::recipe(&build.recipe)).collect();
            prop_assert_eq!(keys.len(), builds.len());
            prop_assert_eq!(recipes.len(), builds.len());
            // A variant may not be called as the default build is: the configuration refuses that.
            prop_assert_eq!(names.len(), builds.len());
        }

        #[test]
        fn what_is_done_to_one_variant_changes_no_other(
            trunk in recipes(),
            variants in all_variants(),
            args in proptest::collection::vec("-[d-f]", 1..3),
        ) {
            let before = builds(&trunk, &variants);
            for (index, changed) in variants.iter().enumerate().filter(|(_, variant)| !variant.is_default()) {
                let mut others = variants.clone();
                others[index].args = args.clone();
                for (was, is) in before.iter().zip(builds(&trunk, &others)) {
                    prop_assert_eq!(was.recipe != is.recipe, was.key == changed.name);
                    prop_assert_eq!((&was.key, &was.name), (&is.key, &is.name));
                }
                let mut without = variants.clone();
                without.remove(index);
                for build in builds(&trunk, &without) {
                    prop_assert!(before.iter().any(|was| (&was.key, &was.recipe) == (&build.key, &build.recipe)));
                }
            }
        }

        #[test]
        fn the_name_of_the_default_build_is_a_name_only(trunk in recipes(), variants in all_variants()) {
            let mut renamed = variants.clone();
            renamed.retain(|variant| !variant.is_default());
            let is_default = |variant: &&mut Variant| variant.is_default();
            let mut named = variants.clone();
            match named.iter_mut().find(is_default) {
                Some(default) => default.name = "release".into(),
                None => named.push(Variant { name: "release".into(), ..Variant::default() }),
            }
            let keys = |variants: &[Variant]| -> Vec<_> {
                builds(&trunk, variants).into_iter().map(|build| (build.key, build.recipe)).collect()
            };
            prop_assert_eq!(keys(&named), keys(&variants));
            prop_assert_eq!(keys(&renamed), keys(&variants));
        }

        #[test]
        fn a_project_runs_with_what_it_chose(trunk in recipes(), variants in all_variants(), some in any::<u8>()) {
            let builds = builds(&trunk, &variants);
            let names = builds.iter().map(|build| build.name.clone().unwrap_or(DEFAULT_NAME.into()));
            let chosen: BTreeSet<String> =
                names.enumerate().filter(|(index, _)| some >> index & 1 == 1).map(|(_, name)| name).collect();
            for build in &builds {
                prop_assert!(is_chosen(None, build));
            }
            prop_assert_eq!(builds.iter().filter(|build| is_chosen(Some(&chosen), build)).count(), chosen.len());
        }
    }

    #[test]
    fn a_variant_adds_to_the_recipe_and_wins() {
        let env = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let trunk = Recipe { env: env(&[("CFLAGS", "-O2"), ("LC_ALL", "C")]), ..Recipe::default() };
        let debug = Variant {
            name: "debug".into(),
            args: vec!["--with-pydebug".into(), "--with-assertions".into()],
            env: env(&[("CFLAGS", "-Og")]),
        };
        assert_eq!(
            debug.recipe(&trunk).env,
            env(&[
                ("CFLAGS", "-Og"),
                ("FARM_ARGS", "--with-pydebug --with-assertions"),
                ("FARM_VARIANT", "debug"),
                ("LC_ALL", "C"),
            ])
        );
        assert_eq!(target("linux-x86_64", Some("debug")), "linux-x86_64 debug");
        assert_eq!(target("linux-x86_64", None), "linux-x86_64");
        assert_eq!(target("linux-x86_64", Some("")), "linux-x86_64");
    }
}
