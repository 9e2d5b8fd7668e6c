//! What a toolchain's build leaves.

use super::*;

#[test]
fn a_toolchain_is_the_same_wherever_it_was_built() {
    let install = "mkdir -p $FARM_PREFIX/bin; cp hello $FARM_PREFIX/bin/; chmod +x $FARM_PREFIX/bin/hello; \
                   echo $FARM_SOURCE > $FARM_PREFIX/where; ln -s $FARM_PREFIX/bin/hello $FARM_PREFIX/bin/hi";
    for sandbox in bubblewraps() {
        let built = |smoke: &str| {
            let mut trial =
                Trial::of(&sandbox, vec![RecipeStep { kind: StepKind::Install, ..step(install) }]);
            trial.job.plan.recipe.smoke = Some(smoke.into());
            trial.run()
        };
        let (one, other) = (built("test -x $FARM_PREFIX/bin/hi"), built("test -x $FARM_PREFIX/bin/hi"));
        assert_eq!(one.ends, [exit(0), exit(0)], "{}", one.log);
        let (one, other) = (one.ending.artifact.unwrap(), other.ending.artifact.unwrap());
        assert_ne!(one.path, other.path);
        assert_eq!((one.sha256, one.bytes), (other.sha256, other.bytes));

        let smoked = built("exit 9");
        assert_eq!(smoked.ends, [exit(0), exit(9)]);
        assert!(smoked.ending.artifact.is_none());
    }
}

#[test]
fn what_can_be_no_toolchain_is_told() {
    let steps = vec![step("ln -s /usr/bin/env $FARM_PREFIX/env")];
    let seen = Trial::of(&Sandbox::None, steps).run();
    let Some(InfraFailure::Toolchain { detail }) = seen.ending.infra_failure else {
        panic!("{:?}", seen.ending)
    };
    assert!(detail.starts_with("the link `env` points to `/usr/bin/env`"), "{detail}");
}
