//! What a step sees, may write and may reach.

use super::*;

#[test]
fn a_recipe_sees_its_own_variables_and_nothing_of_the_machine() {
    for sandbox in sandboxes() {
        let mut trial = Trial::suite(&sandbox, vec![step("env | sort; lua")]);
        trial.job.plan.recipe.env =
            [("MYCFLAGS", "-std=c99"), ("FARM_OUT", "/elsewhere"), ("LD_PRELOAD", "")]
                .map(|(name, value)| (name.into(), value.into()))
                .into();
        trial.job.plan.cases = vec!["one".into(), "two".into()];
        let seen = trial.run();
        // A shell adds a few of its own.
        let names = seen.log.lines().filter_map(|line| Some(line.split_once('=')?.0));
        let names: Vec<&str> = names.filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name)).collect();
        let expected = "FARM_CASES FARM_CPUS FARM_OUT FARM_PREFIX FARM_REVISION FARM_SOURCE HOME LANG LD_PRELOAD \
                        MYCFLAGS PATH SOURCE_DATE_EPOCH TMPDIR";
        assert_eq!(names.join(" "), expected, "{}", seen.log);
        for line in ["FARM_CPUS=3", "FARM_REVISION=beef", "LANG=C.UTF-8", "MYCFLAGS=-std=c99", "I am lua"] {
            assert!(seen.log.lines().any(|l| l == line), "{line} in {}", seen.log);
        }
        assert!(!seen.log.contains("/elsewhere"));
    }
}

#[test]
fn a_toolchain_recipe_knows_its_change_and_a_suite_its_revision() {
    let run = "echo ${FARM_CHANGE-none} ${FARM_REVISION-none} ${FARM_CASES-none}";
    let log = |trial: Trial| trial.run().log;
    assert_eq!(log(Trial::of(&Sandbox::None, vec![step(run)])), "c0ffee none none\n");
    assert_eq!(log(Trial::suite(&Sandbox::None, vec![step(run)])), "none beef none\n");
}

#[test]
fn in_bubblewrap_the_paths_are_constant() {
    for sandbox in bubblewraps() {
        let run = "pwd; cat hello; echo; echo $FARM_PREFIX $FARM_SOURCE $FARM_OUT $HOME $TMPDIR; \
                   cat $FARM_CASES; ls -A $HOME; \
                   for folder in $FARM_OUT $HOME $TMPDIR .; do echo x > $folder/x || exit; done; echo written";
        let mut trial = Trial::suite(&sandbox, vec![step(run)]);
        trial.job.plan.cases = vec!["one".into(), "two".into()];
        let seen = trial.run();
        assert_eq!(
            seen.log,
            "/trunkfarm/src\nhello\n/trunkfarm/toolchain /trunkfarm/src /trunkfarm/out /trunkfarm/home /tmp\n\
             one\ntwo\nwritten\n"
        );
    }
}

#[test]
fn in_bubblewrap_nothing_but_the_build_can_be_written_or_seen() {
    for sandbox in bubblewraps() {
        let tries = "for path in / /usr /etc /trunkfarm $FARM_PREFIX $FARM_PREFIX/bin; do \
                     touch $path/x 2>/dev/null && echo $path was written; done; \
                     for path in /root /home /var /etc/shadow /etc/ssl/private /sys; do \
                     test -e $path && echo $path was seen; done; \
                     ls /proc | grep -c '^[0-9]' | grep -qx '[1-9]' || echo processes were seen; \
                     id -u";
        let seen = Trial::suite(&sandbox, vec![step(tries)]).run();
        let Sandbox::Bubblewrap { user, .. } = sandbox else { panic!("{sandbox:?}") };
        let expected = match user {
            StepUser::Own => "1000\n",
            StepUser::Root => "0\n",
        };
        assert_eq!(seen.log, expected);
    }
}

#[test]
fn in_bubblewrap_only_a_step_that_says_so_has_the_network() {
    for sandbox in bubblewraps() {
        let interfaces = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort";
        let mut online = step(interfaces);
        online.network = true;
        assert_eq!(Trial::of(&sandbox, vec![step(interfaces)]).run().log, "lo\n");
        // Our own network, whatever there is of it.
        let ours = Trial::of(&Sandbox::None, vec![step(interfaces)]).run().log;
        assert_eq!(Trial::of(&sandbox, vec![online]).run().log, ours);
    }
}

#[test]
fn a_sandbox_that_cannot_be_made_is_the_workers_trouble() {
    for sandbox in bubblewraps() {
        let mut trial = Trial::suite(&sandbox, vec![step("true")]);
        trial.job.toolchain = Some(trial.folder.path().join("gone"));
        let seen = trial.run();
        let Some(InfraFailure::Sandbox { detail }) = seen.ending.infra_failure else {
            panic!("{:?}", seen.ending)
        };
        assert!(detail.contains("gone"), "{detail}");

        let missing = Sandbox::Bubblewrap { program: "/nonexistent/bwrap".into(), user: StepUser::Own };
        let seen = Trial::of(&missing, vec![step("true")]).run();
        assert!(matches!(seen.ending.infra_failure, Some(InfraFailure::Sandbox { .. })));
    }
}

#[test]
fn a_recipe_cannot_reach_bubblewrap_itself() {
    for sandbox in bubblewraps() {
        let mut trial = Trial::of(&sandbox, vec![step("true")]);
        trial.job.plan.recipe.env = [("LD_PRELOAD".to_string(), "/nonexistent/evil.so".to_string())].into();
        let seen = trial.run();
        // The loader complains for each program that it starts with this variable: the step's shell, and no other.
        assert_eq!(seen.log.matches("evil.so").count(), 1, "{}", seen.log);
    }
}

#[test]
fn what_it_needs_and_its_lock_can_be_read_and_not_written_where_there_is_a_sandbox() {
    for sandbox in sandboxes() {
        let run = "cat $FARM_NEEDS/say/hello $FARM_LOCK; echo x 2>/dev/null > $FARM_NEEDS/say/hello && echo written";
        let mut trial = Trial::suite(&sandbox, vec![step(run)]);
        let needs = trial.folder.path().join("needs");
        fs::create_dir_all(needs.join("say")).unwrap();
        fs::write(needs.join("say/hello"), "hello from say\n").unwrap();
        let lock = trial.folder.path().join("locked");
        fs::write(&lock, "six==1.17.0\n").unwrap();
        (trial.job.needs, trial.job.lock) = (Some(needs), Some(lock));
        let written = if sandbox == Sandbox::None { "written\n" } else { "" };
        assert_eq!(trial.run().log, format!("hello from say\nsix==1.17.0\n{written}"));
    }
}
