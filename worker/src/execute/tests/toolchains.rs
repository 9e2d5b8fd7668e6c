//! The result of a build that makes a toolchain.

use super::*;

#[test]
fn a_toolchain_is_the_same_wherever_it_is_built() {
    let install = "mkdir -p $FARM_PREFIX/bin; cp hello $FARM_PREFIX/bin/; chmod +x $FARM_PREFIX/bin/hello; \
                   echo $FARM_SOURCE > $FARM_PREFIX/where; ln -s $FARM_PREFIX/bin/hello $FARM_PREFIX/bin/hi";
    for sandbox in bubblewraps() {
        let built = |smoke: &str| {
            let mut build =
                TestBuild::toolchain(&sandbox, vec![RecipeStep { kind: StepKind::Install, ..step(install) }]);
            build.job.plan.recipe.smoke = Some(smoke.into());
            build.run()
        };
        let (one, other) = (built("test -x $FARM_PREFIX/bin/hi"), built("test -x $FARM_PREFIX/bin/hi"));
        assert_eq!(one.ends, [exit(0), exit(0)], "{}", one.log);
        let (one, other) = (one.result.artifact.unwrap(), other.result.artifact.unwrap());
        assert_ne!(one.path, other.path);
        assert_eq!((one.sha256, one.bytes), (other.sha256, other.bytes));

        let smoked = built("exit 9");
        assert_eq!(smoked.ends, [exit(0), exit(9)]);
        assert!(smoked.result.artifact.is_none());
    }
}

#[test]
fn a_tree_that_cannot_be_a_toolchain_is_reported() {
    let steps = vec![step("ln -s /usr/bin/env $FARM_PREFIX/env")];
    let received = TestBuild::toolchain(&Sandbox::None, steps).run();
    assert_eq!(received.ends.last(), Some(&StepEnd::RefusedTree), "{:?}", received.result);
    assert!(received.result.infra_failure.is_none(), "it is the recipe's doing");
    assert!(received.log.contains("the link `env` points to `/usr/bin/env`"), "{}", received.log);
}
