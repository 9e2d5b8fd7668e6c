-- A row or more for each table of 0001_schema.sql, in each state that its CHECKs allow, with odd texts and nulls among
-- them. Hashes of names and texts are right; the store finds them by these.

insert into trunk (id, name, git, failing_since_ms, failures, failure, polled_at_ms) values
    (1, 'lang', 'https://example.org/lang.git', null, 0, null, 1000),
    (2, 'lost ü', '', 900, 2, 'it''s gone', null);

insert into branch (id, trunk_id, name, state) values
    (1, 1, 'master', 'watched'),
    (2, 1, '3.14', 'gone'),
    (3, 2, 'feature/odd-ü', 'retired');

insert into change (id, trunk_id, sha, author, author_mail, committed_at_ms, title, message, paths,
    found_at_ms) values
    (1, 1, '0000000000000000000000000000000000000001', 'Ada', 'ada@example.org', 100, 'change 1', 'change 1

why', 1,
        100),
    (2, 1, '0000000000000000000000000000000000000002', 'Ada', 'ada@example.org', 200, 'change 2', 'change 2

why', 1,
        200),
    (3, 1, '0000000000000000000000000000000000000003', 'Ada', 'ada@example.org', 300, 'change 3', 'change 3

why', 1,
        300),
    (4, 1, '0000000000000000000000000000000000000004', 'Ada', 'ada@example.org', 400, 'change 4', 'change 4

why', 1,
        400),
    (5, 1, '0000000000000000000000000000000000000005', 'Ada', 'ada@example.org', 500, 'change 5', 'change 5

why', 1,
        500),
    (6, 2, 'ffffffffffffffffffffffffffffffffffffffff', '', '', -1, '', '', 0, 600);

insert into change_path (change_id, path) values
    (1, 'lapi.c'),
    (3, 'path with space/日本.c');

insert into branch_change (branch_id, position, change_id, gone_at_ms, sick_at_ms) values
    (1, 1, 1, null, null),
    (1, 2, 2, null, null),
    (1, 3, 3, null, 900),
    (1, 4, 4, null, null),
    (1, 5, 5, 800, null),
    (1, 6, 5, null, null),
    (2, 1, 1, null, null),
    (3, 1, 6, null, null);

insert into platform (id, label) values
    (1, 'linux-x86_64'),
    (2, 'linux-x86_64-debian12');

insert into project (id, name, trunk_id, git, state, failing_since_ms, failures, failure, polled_at_ms, newest,
    canary, wants) values
    (1, 'good', 1, '/farm/good', 'registered', null, 0, null, 1000, 'r2', 'must-pass', '[]'),
    (2, 'picky', 1, '/farm/picky', 'registered', 900, 1, 'no route', 800, null, null, '["postgresql"]'),
    (3, 'left', 1, '/left', 'retired', null, 0, null, null, null, 'must-fail', '[]');

insert into recipe (sha256, json) values
    (X'59B03A1EC60CCB0536943D890C4ED2004D5DC1D63E0EF155FB79CCA1F8010073',
        '{"env":{},"steps":[{"name":"test","kind":"test","run":"lang ./suite","network":false,"report":"tap","time_ms":null,"silence_ms":null}],"smoke":null,"limits":{"time_ms":1800000,"silence_ms":600000,"memory_bytes":1024,"log_bytes":20971520}}');

insert into pin (id, project_id, branch_id, state, revision, lock_sha256, lock_bytes, locked_at_ms, recipe_sha256,
    needs, proposed_at_ms, worse_since_ms, since_ms, until_ms) values
    (1, 1, 1, 'past', 'r1', null, null, null, (select sha256 from recipe), '[]', 100, null, 150, 700),
    (2, 1, 1, 'current', 'r2', cast(printf('%032d', 7) as blob), 9, 710, (select sha256 from recipe),
        '[["picky", "p1"]]', 690, null, 700, null),
    (3, 2, 1, 'current', 'p1', null, null, null, (select sha256 from recipe), '[]', 100, null, 150, null),
    (4, 2, 1, 'proposed', 'p3', null, null, null, (select sha256 from recipe), '[]', 900, 800, null, null),
    (5, 2, 1, 'dropped', 'p2', null, null, null, (select sha256 from recipe), '[]', 800, 800, null, null);

insert into builder (id, kind, branch_id, platform_id, project_id, state, breakage_basis, cases_to_recheck) values
    (1, 'toolchain', 1, 1, null, 'active', null, '[]'),
    (2, 'suite', 1, 1, 1, 'active', cast(printf('%032d', 9) as blob), '[2]'),
    (3, 'suite', 1, 1, 2, 'active', null, '[]'),
    (4, 'suite', 1, 2, 3, 'retired', null, '[]'),
    (5, 'toolchain', 2, 2, null, 'retired', null, '[]');

insert into baseline (pin_id, builder_id, state, judged_at_ms) values
    (2, 2, 'no-worse', 700),
    (5, 3, 'worse', 850);

insert into baseline_case (pin_id, builder_id, case_id) values
    (5, 3, 2);

insert into worker (id, key, name, state, owner, trust, facts, slots, version, asked_at_ms, approved_at_ms,
    seen_at_ms, connected, agreements) values
    (1, cast(printf('%032d', 1) as blob), 'ada', 'approved', 'Ada', 'maker',
        '{"os":"linux","arch":"x86_64","libc":"gnu","distribution":"debian12","kernel":"6.1.0","cpus":2,"memory_bytes":1024,"sandbox":"bubblewrap","offers":[]}',
        2, '0.1.0', 10, 20, 1000, 1, 0),
    (2, cast(printf('%032d', 2) as blob), 'bob', 'approved', 'Bob', 'counted',
        '{"os":"linux","arch":"x86_64","libc":"gnu","distribution":"debian12","kernel":"6.1.0","cpus":2,"memory_bytes":1024,"sandbox":"bubblewrap","offers":[]}',
        1, '0.1.0', 10, 20, 900, 0, 0),
    (3, cast(printf('%032d', 3) as blob), 'new', 'approved', 'Eve', 'probation',
        '{"os":"linux","arch":"x86_64","libc":"gnu","distribution":"debian12","kernel":"6.1.0","cpus":2,"memory_bytes":1024,"sandbox":"none","offers":["postgresql"]}',
        1, '0.1.0', 10, 20, null, 0, 3),
    (4, cast(printf('%032d', 4) as blob), 'asks', 'pending', null, null,
        '{"os":"linux","arch":"x86_64","libc":"gnu","distribution":"debian12","kernel":"6.1.0","cpus":2,"memory_bytes":1024,"sandbox":"none","offers":["postgresql"]}',
        0, '', 30, null, null, 0, 0),
    (5, cast(printf('%032d', 5) as blob), 'no', 'refused', null, null,
        '{"os":"linux","arch":"x86_64","libc":"gnu","distribution":"debian12","kernel":"6.1.0","cpus":2,"memory_bytes":1024,"sandbox":"none","offers":["postgresql"]}',
        0, '', 30, null, null, 0, 0);

insert into artifact (sha256, bytes, maker_id, only_worker_id, made_at_ms, pruned_at_ms) values
    (cast(printf('%032d', 17) as blob), 112, 1, null, 200, null),
    (cast(printf('%032d', 18) as blob), 121, 2, 2, 400, null),
    (cast(printf('%032d', 19) as blob), 114, 1, null, 300, 900);

insert into environment (sha256, properties) values
    (X'BE8CD09E8D176D51664E9973594409B6E0575CE78D59AAB4A389FF647F507BA7', 'arch=x86_64
distribution=debian12');

insert into case_scope (id, text) values
    (1, ''),
    (2, 'tests/test_a.py::');

insert into case_name (id, hash, scope_id, leaf) values
    (1, -1809080949, 1, 'step:test'),
    (2, 1820476219, 2, 'café "quoted" 100%'),
    (3, -871917983, 2, 'it''s
😀'),
    (4, 1120186595, 1, '');

insert into case_list (id, sha256, cases, case_ids) values
    (1, X'67ABDD721024F0FF4E0B3F4C2FC13BC5BAD42D0B7851D456D88D203D15AAA450', 1, X'28B52FFD200421000001000000'),
    (2, X'0C40FC912BEA3D01B4DBAD07DE4C8CF177AC0C424BC11D622D2239C0E5988986', 2,
        X'28B52FFD20084100000200000003000000');

insert into failure_message (id, hash, text) values
    (1, -1850657227, 'no display'),
    (2, 1120186595, ''),
    (3, 568062290, 'it''s ü
and more');

insert into build (id, builder_id, change_id, pin_id, recipe_sha256, reason, breakage_id, only_worker_id,
    inputs_sha256, artifact_sha256, state, attempts, queued_at_ms, not_before_ms, finished_at_ms, outcome, cause,
    cause_step, same_as_id, attempt_id, case_list_id, verdicts, passes, bads, skips, complete) values
    (1, 1, 1, null, (select sha256 from recipe), 'tip', null, null, cast(printf('%032d', 33) as blob),
        cast(printf('%032d', 17) as blob), 'finished', 1, 201, 0, 301, 'passed', null, null, null, 1, null, null,
        null, null, null, null),
    (2, 2, 1, 1, (select sha256 from recipe), 'tip', null, null, cast(printf('%032d', 34) as blob),
        cast(printf('%032d', 17) as blob), 'finished', 1, 202, 0, 302, 'passed', null, null, null, 2, 2,
        X'28B52FFD20021100005050', 2, 0, 0, 1),
    (3, 2, 3, 1, (select sha256 from recipe), 'backfill', null, null, cast(printf('%032d', 35) as blob),
        cast(printf('%032d', 18) as blob), 'finished', 1, 203, 0, 303, 'failed', 'exit', 'test', null, 3, 2,
        X'28B52FFD20021100005046', 1, 1, 0, 1),
    (4, 2, 4, 1, (select sha256 from recipe), 'tip', null, null, cast(printf('%032d', 35) as blob),
        cast(printf('%032d', 18) as blob), 'finished', 0, 204, 0, 304, 'failed', 'exit', 'test', 3, null, null, null,
        null, null, null, null),
    (5, 2, 1, 2, (select sha256 from recipe), 'baseline', null, null, cast(printf('%032d', 36) as blob),
        cast(printf('%032d', 17) as blob), 'finished', 1, 205, 0, 305, 'passed', null, null, null, 4, 2,
        X'28B52FFD20021100005050', 2, 0, 0, 0),
    (6, 2, 2, 1, (select sha256 from recipe), 'probe', 1, 1, cast(printf('%032d', 37) as blob),
        cast(printf('%032d', 19) as blob), 'finished', 1, 206, 0, 306, 'failed', 'exit', 'test', null, 5, 2,
        X'28B52FFD20021100005045', 1, 1, 0, 1),
    (7, 2, 3, 1, (select sha256 from recipe), 'null', null, 1, null, null, 'finished', 0, 207, 0, 307, 'cancelled',
        null, null, null, null, null, null, null, null, null, null),
    (8, 3, 4, 3, (select sha256 from recipe), 'tip', null, null, null, null, 'finished', 3, 208, 0, 308, 'infra',
        'worker-lost', null, null, null, null, null, null, null, null, null),
    (9, 3, 5, 3, (select sha256 from recipe), 'tip', null, null, null, null, 'finished', 0, 209, 0, 309, 'blocked',
        'toolchain-broken', null, null, null, null, null, null, null, null, null),
    (10, 3, 5, 3, (select sha256 from recipe), 'latest', null, null, null, null, 'queued', 1, 210, 5000, null, null,
        null, null, null, null, null, null, null, null, null, null),
    (11, 1, 5, null, (select sha256 from recipe), 'force', null, null, null, null, 'leased', 1, 211, 0, null, null,
        null, null, null, null, null, null, null, null, null, null),
    (12, 2, 4, 2, (select sha256 from recipe), 'null', null, 1, cast(printf('%032d', 38) as blob),
        cast(printf('%032d', 18) as blob), 'leased', 2, 212, 0, null, null, null, null, null, null, null, null, null,
        null, null, null);

insert into attempt (id, build_id, number, worker_id, state, offered_at_ms, started_at_ms, ended_at_ms,
    lease_until_ms, sequence, environment_sha256, end_reason) values
    (1, 1, 1, 1, 'ended', 201, 202, 301, 400, 4, (select sha256 from environment), null),
    (2, 2, 1, 1, 'ended', 202, 203, 302, 400, 5, (select sha256 from environment), null),
    (3, 3, 1, 2, 'ended', 203, 204, 303, 400, 5, (select sha256 from environment), null),
    (4, 5, 1, 1, 'ended', 205, 206, 305, 400, 5, (select sha256 from environment), null),
    (5, 6, 1, 1, 'ended', 206, 207, 306, 400, 5, (select sha256 from environment), null),
    (6, 8, 1, 2, 'lost', 208, 209, 308, 300, 0, null, 'its worker no longer responds'),
    (7, 8, 2, 1, 'ended', 209, 210, 309, 400, 7, null, '{"what":"no-space","detail":"12 bytes"}'),
    (8, 10, 1, 2, 'declined', 210, null, 310, 400, 0, null, 'paused'),
    (9, 11, 1, 1, 'running', 211, 212, null, 5000, 1, null, null),
    (10, 12, 1, 2, 'lost', 212, 213, 312, 400, 0, (select sha256 from environment),
        'another one took the build over'),
    (11, 12, 2, 1, 'offered', 212, null, null, 5000, 0, null, null);

insert into step (attempt_id, position, name, kind, state, started_at_ms, ended_at_ms, ending, duration_ms, warnings,
    log_bytes, log_lines, log_stored_bytes, log_cut_bytes, log_sealed, log_pruned_at_ms) values
    (1, 0, 'install', 'install', 'ended', 210, 290, '{"how":"exit","code":0}', 80, '[]', 0, 0, 0, 0, 0, null),
    (2, 0, 'fetch', 'fetch', 'ended', 210, 220, '{"how":"exit","code":0}', 10, '[]', 45, 3, 141, 0, 1, 900),
    (2, 1, 'test', 'test', 'ended', 220, 290, '{"how":"exit","code":0}', 70, '["odd ü"]', 58, 4, 154, 7, 1, null),
    (9, 0, 'compile', 'compile', 'running', 220, null, null, null, '[]', 12, 1, 12, 0, 0, null);

insert into late_report (attempt_id, reported_at_ms, outcome, cause, cause_step, case_list_id, verdicts, complete) values
    (6, 400, 'infra', 'worker-lost', null, null, null, null),
    (10, 500, 'failed', 'exit', 'test', 2, X'28B52FFD20021100005046', 1);

insert into transition (case_id, build_id, was, became) values
    (2, 2, null, 'P'),
    (3, 2, null, 'P'),
    (3, 3, 'P', 'F');

insert into case_failure (build_id, case_id, duration_ms, failure_message_id) values
    (3, 3, 12, 1),
    (5, 2, null, 2),
    (6, 3, 3, 3);

insert into unstable_case (builder_id, case_id, since_ms) values
    (2, 4, 700);

insert into mark (id, project_id, kind, cases, branch, platform, issue, until_ms) values
    (1, 1, 'expected-to-fail', 'tests/*', null, null, '#1', 9000),
    (2, 2, 'flaky', '*', 'master', 'linux-x86_64', 'https://example.org/2', 1);

insert into breakage (id, builder_id, good_change_id, bad_change_id, state, opened_at_ms, found, found_at_ms,
    culprit_id, parent_id, search_worker_id, fixed_after_id, fixed_by_id, ended_at_ms, split_from_id,
    again_of_id) values
    (1, 2, 1, 3, 'searching', 310, null, null, null, null, 1, null, null, null, null, null),
    (2, 2, 1, 3, 'fixed', 310, 'named', 400, 3, 2, 1, 4, 5, 500, null, null),
    (3, 3, 1, 5, 'suspected', 310, null, null, null, null, null, null, null, null, 2, null),
    (4, 3, 1, 5, 'named', 310, 'named', 400, 3, 2, null, null, null, null, null, 2),
    (5, 3, 1, 5, 'one-of-k', 310, 'one-of-k', 400, 4, 2, null, null, null, null, null, null),
    (6, 3, 1, 5, 'inconclusive', 310, 'inconclusive', 400, null, null, null, null, null, null, null, null),
    (7, 3, 1, 5, 'flaky', 310, 'flaky', 400, null, null, null, null, null, null, null, null),
    (8, 3, 1, 5, 'environment', 310, 'environment', 400, null, null, null, null, null, null, null, null),
    (9, 3, 1, 5, 'gone', 310, null, null, null, null, null, null, null, 400, null, null);

insert into breakage_case (breakage_id, case_id, not_run) values
    (1, 3, 0),
    (2, 3, 0),
    (3, 2, 1),
    (4, 1, 0),
    (7, 4, 0);

insert into search (breakage_id, looked_at_ms, environment, flaky, intermittent, probes_left, left_out, paused,
    reopened, changes, has_news) values
    (1, 900, 0.1, 0.2, 0.05, 7, '[[2,"unproven"]]', null, 1, 3, 1),
    (3, 900, 0, 0, 0, 0, '[]', 'no-worker', 0, 0, 0);

insert into suspect (breakage_id, change_id, posterior) values
    (1, 2, 0.25),
    (1, 3, 0.4);

insert into probe (build_id, breakage_id, purpose, bits) values
    (6, 1, 'divide', 0.9);

insert into notice (id, kind, change_id, recipients, subject, body, message_id, in_reply_to, state, decided_at_ms,
    tries, next_try_at_ms, sent_at_ms, failure) values
    (1, 'named', 3, 'a@example.org', 'it broke', 'body ü', '<1@example.org>', null, 'sent', 410, 1, 410, 411, null),
    (2, 'correction', 3, 'a@example.org', 'not it', 'body', '<2@example.org>', '<1@example.org>', 'waiting', 420, 1,
        5000, null, '421 later'),
    (3, 'storm', 4, 'ops@example.org', 'many', 'body', '<3@example.org>', null, 'failed', 430, 9, 430, null,
        '550 no'),
    (4, 'spread', 3, 'a@example.org', 'more', 'body', '<4@example.org>', null, 'waiting', 440, 0, 440, null, null),
    (5, 'fixed', 3, 'a@example.org', 'fixed', 'body', '<5@example.org>', null, 'waiting', 450, 0, 450, null, null),
    (6, 'project-inputs', 3, 'a@example.org', 'your inputs', 'body', '<6@example.org>', null, 'waiting', 460, 0, 460, null, null);

insert into notice_breakage (notice_id, breakage_id) values
    (1, 2),
    (2, 2),
    (4, 4);

insert into request (id, at_ms, who, what) values
    (1, 10, 'Bob', 'approve ü');

insert into journal (id, at_ms, topic, subject) values
    (1, 100, 'change', 1),
    (7, 200, 'build', 1);
