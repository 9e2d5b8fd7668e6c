//! What a step can see, write and reach.

use super::*;

#[test]
fn a_recipe_sees_its_own_variables_and_none_of_the_machines() {
    for sandbox in sandboxes() {
        let mut build = TestBuild::suite(&sandbox, vec![step("env | sort; lua")]);
        build.job.plan.recipe.env =
            [("MYCFLAGS", "-std=c99"), ("FARM_OUT", "/elsewhere"), ("LD_PRELOAD", "")]
                .map(|(name, value)| (name.into(), value.into()))
                .into();
        build.job.plan.cases = vec!["one".into(), "two".into()];
        let received = build.run();
        // The shell itself adds some variables.
        let names = received.log.lines().filter_map(|line| Some(line.split_once('=')?.0));
        let names: Vec<&str> = names.filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name)).collect();
        let expected = "FARM_CASES FARM_CPUS FARM_OUT FARM_PREFIX FARM_REVISION FARM_SOURCE HOME LANG LD_PRELOAD \
                        MYCFLAGS PATH SOURCE_DATE_EPOCH TMPDIR";
        assert_eq!(names.join(" "), expected, "{}", received.log);
        for line in ["FARM_CPUS=3", "FARM_REVISION=beef", "LANG=C.UTF-8", "MYCFLAGS=-std=c99", "I am lua"] {
            assert!(received.log.lines().any(|l| l == line), "{line} in {}", received.log);
        }
        assert!(!received.log.contains("/elsewhere"));
    }
}

#[test]
fn a_toolchain_recipe_gets_its_change_and_a_suite_its_revision() {
    let run = "echo ${FARM_CHANGE-none} ${FARM_REVISION-none} ${FARM_CASES-none}";
    let log = |build: TestBuild| build.run().log;
    assert_eq!(log(TestBuild::toolchain(&Sandbox::None, vec![step(run)])), "c0ffee none none\n");
    assert_eq!(log(TestBuild::suite(&Sandbox::None, vec![step(run)])), "none beef none\n");
}

#[test]
fn in_bubblewrap_the_paths_are_constant() {
    for sandbox in bubblewraps() {
        let run = "pwd; cat hello; echo; echo $FARM_PREFIX $FARM_SOURCE $FARM_OUT $HOME $TMPDIR; \
                   cat $FARM_CASES; ls -A $HOME; \
                   for folder in $FARM_OUT $HOME $TMPDIR .; do echo x > $folder/x || exit; done; echo written";
        let mut build = TestBuild::suite(&sandbox, vec![step(run)]);
        build.job.plan.cases = vec!["one".into(), "two".into()];
        let received = build.run();
        assert_eq!(
            received.log,
            "/trunkfarm/src\nhello\n/trunkfarm/toolchain /trunkfarm/src /trunkfarm/out /trunkfarm/home /tmp\n\
             one\ntwo\nwritten\n"
        );
    }
}

#[test]
fn in_bubblewrap_only_the_build_can_be_written_or_seen() {
    for sandbox in bubblewraps() {
        let tries = "for path in / /usr /etc /trunkfarm $FARM_PREFIX $FARM_PREFIX/bin; do \
                     touch $path/x 2>/dev/null && echo $path was written; done; \
                     for path in /root /home /var /etc/shadow /etc/ssl/private /sys; do \
                     test -e $path && echo $path was received; done; \
                     ls /proc | grep -c '^[0-9]' | grep -qx '[1-9]' || echo processes were received; \
                     id -u";
        let received = TestBuild::suite(&sandbox, vec![step(tries)]).run();
        let Sandbox::Bubblewrap { user, .. } = sandbox else { panic!("{sandbox:?}") };
        let expected = match user {
            StepUser::Own => "1000\n",
            StepUser::Root => "0\n",
        };
        assert_eq!(received.log, expected);
    }
}

#[test]
fn in_bubblewrap_only_a_step_that_declares_it_has_the_network() {
    for sandbox in bubblewraps() {
        let interfaces = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort";
        let mut online = step(interfaces);
        online.network = true;
        assert_eq!(TestBuild::toolchain(&sandbox, vec![step(interfaces)]).run().log, "lo\n");
        // The machine's own network, whatever that is.
        let ours = TestBuild::toolchain(&Sandbox::None, vec![step(interfaces)]).run().log;
        assert_eq!(TestBuild::toolchain(&sandbox, vec![online]).run().log, ours);
    }
}

#[test]
fn a_sandbox_that_cannot_be_created_is_an_infra_failure() {
    for sandbox in bubblewraps() {
        let mut build = TestBuild::suite(&sandbox, vec![step("true")]);
        build.job.inputs.toolchain = Some(build.folder.path().join("gone"));
        let received = build.run();
        let Some(InfraFailure::Sandbox { detail }) = received.result.infra_failure else {
            panic!("{:?}", received.result)
        };
        assert!(detail.contains("gone"), "{detail}");

        let Sandbox::Bubblewrap { user, walls, .. } = sandbox else { panic!("{sandbox:?}") };
        let missing = Sandbox::Bubblewrap { program: "/nonexistent/bwrap".into(), user, walls };
        let received = TestBuild::toolchain(&missing, vec![step("true")]).run();
        assert!(matches!(received.result.infra_failure, Some(InfraFailure::Sandbox { .. })));
    }
}

#[test]
fn a_recipe_cannot_reach_bubblewrap_itself() {
    for sandbox in bubblewraps() {
        let mut build = TestBuild::toolchain(&sandbox, vec![step("true")]);
        build.job.plan.recipe.env = [("LD_PRELOAD".to_string(), "/nonexistent/evil.so".to_string())].into();
        let received = build.run();
        // The loader prints an error for each program that it starts with this variable: for the shell that sets the limits, and
        // for the step's.
        assert_eq!(received.log.matches("evil.so").count(), 2, "{}", received.log);
    }
}

#[test]
fn needs_and_lock_can_be_read_and_in_a_sandbox_not_written() {
    for sandbox in sandboxes() {
        let run = "cat $FARM_NEEDS/say/hello $FARM_LOCK; echo x 2>/dev/null > $FARM_NEEDS/say/hello && echo written";
        let mut build = TestBuild::suite(&sandbox, vec![step(run)]);
        let needs = build.folder.path().join("needs");
        fs::create_dir_all(needs.join("say")).unwrap();
        fs::write(needs.join("say/hello"), "hello from say\n").unwrap();
        let lock = build.folder.path().join("locked");
        fs::write(&lock, "six==1.17.0\n").unwrap();
        (build.job.inputs.needs, build.job.inputs.lock) = (Some(needs), Some(lock));
        let written = if sandbox == Sandbox::None { "written\n" } else { "" };
        assert_eq!(build.run().log, format!("hello from say\nsix==1.17.0\n{written}"));
    }
}
