-- The schema after all migrations, as SQLite keeps it: for reading and for comparing, never applied.

CREATE TABLE artifact (
    sha256 blob primary key check (length(sha256) = 32),
    bytes integer not null,
    maker_id integer not null references worker,
    -- Set when it was made without a sandbox: its paths are right only on the worker that made it.
    only_worker_id integer references worker,
    made_at_ms integer not null,
    -- Since when the file is no longer kept. The row outlives it, and pages say so.
    pruned_at_ms integer
) strict, without rowid;

CREATE INDEX artifact_by_maker on artifact (maker_id);

CREATE INDEX artifact_by_only_worker on artifact (only_worker_id) where only_worker_id is not null;

CREATE TABLE attempt (
    id integer primary key,
    build_id integer not null references build,
    number integer not null,
    worker_id integer not null references worker,
    -- offered: the worker has not accepted yet; running; ended: it sent its last report; declined; lost: taken from its
    -- worker
    state text not null check (state in ('offered', 'running', 'ended', 'declined', 'lost')),
    offered_at_ms integer not null,
    started_at_ms integer,
    ended_at_ms integer,
    lease_until_ms integer not null,
    -- All events up to this one are stored.
    sequence integer not null default 0,
    environment_sha256 blob references environment,
    -- Why it has no verdict about the change, or why it was declined or lost.
    end_reason text, progress text, cache_epoch integer,
    unique (build_id, number),
    check ((state in ('offered', 'running')) = (ended_at_ms is null))
) strict;

CREATE INDEX attempt_by_worker on attempt (worker_id);

CREATE INDEX attempt_live on attempt (worker_id) where ended_at_ms is null;

CREATE TABLE backlog_claim (
    breakage_id integer primary key references breakage,
    -- The backlog: what follows replies to it.
    notice_id integer not null references notice,
    -- The change that was named last.
    culprit_id integer not null references change
) strict;

CREATE INDEX backlog_claim_by_notice on backlog_claim (notice_id);

CREATE TABLE baseline (
    pin_id integer not null references pin,
    builder_id integer not null references builder,
    state text not null check (state in ('no-worse', 'worse')),
    judged_at_ms integer not null,
    primary key (pin_id, builder_id)
) strict, without rowid;

CREATE TABLE baseline_case (
    pin_id integer not null,
    builder_id integer not null,
    case_id integer not null references case_name,
    primary key (pin_id, builder_id, case_id),
    foreign key (pin_id, builder_id) references baseline
) strict, without rowid;

CREATE TABLE branch (
    id integer primary key,
    trunk_id integer not null references trunk,
    name text not null,
    -- watched: in the configuration and upstream; gone: deleted upstream; retired: no longer in the configuration
    state text not null check (state in ('watched', 'gone', 'retired')), rewinds_checked integer not null default 0 check (rewinds_checked in (0, 1)),
    unique (trunk_id, name)
) strict;

CREATE TABLE branch_change (
    branch_id integer not null references branch,
    position integer not null,
    change_id integer not null references change,
    gone_at_ms integer,
    -- Since when the change is known to break so many suites at once that it says more about the change than about each
    -- suite.
    sick_at_ms integer,
    primary key (branch_id, position)
) strict, without rowid;

CREATE INDEX branch_change_by_change on branch_change (change_id);

CREATE TABLE breakage (
    id integer primary key,
    builder_id integer not null references builder,
    good_change_id integer not null references change,
    bad_change_id integer not null references change,
    state text not null check (state in
        ('suspected', 'searching', 'named', 'one-of-k', 'inconclusive', 'flaky', 'environment', 'fixed', 'gone')),
    opened_at_ms integer not null,
    -- What the search found; it stays when the breakage is fixed.
    found text check (found in ('named', 'one-of-k', 'inconclusive', 'flaky', 'environment')),
    found_at_ms integer,
    -- The culprit; with `one-of-k`, the last of the changes that cannot be told apart.
    culprit_id integer references change,
    -- The change below the culprit (or below the first of k) that was seen to pass.
    parent_id integer references change,
    search_worker_id integer references worker,
    -- It is still bad at the first of these changes, and fixed by the second at the latest.
    fixed_after_id integer references change,
    fixed_by_id integer references change,
    ended_at_ms integer,
    split_from_id integer references breakage,
    again_of_id integer references breakage, unreached integer, unmailed text check (unmailed in ('over', 'old')),
    check ((state in ('fixed', 'gone')) = (ended_at_ms is not null)),
    check (found is null or found in ('flaky', 'environment', 'inconclusive') or culprit_id is not null),
    check ((found is null) = (found_at_ms is null))
) strict;

CREATE INDEX breakage_by_builder on breakage (builder_id, state);

CREATE INDEX breakage_by_culprit on breakage (culprit_id) where culprit_id is not null;

CREATE INDEX breakage_by_fixer on breakage (fixed_by_id) where fixed_by_id is not null;

CREATE INDEX breakage_by_origin on breakage (split_from_id) where split_from_id is not null;

CREATE INDEX breakage_by_search_worker on breakage (search_worker_id) where search_worker_id is not null;

CREATE INDEX breakage_flaky on breakage (builder_id, found_at_ms) where found = 'flaky';

CREATE INDEX breakage_found on breakage (found_at_ms, found) where found_at_ms is not null;

CREATE INDEX breakage_found_by on breakage (search_worker_id, found_at_ms) where found = 'named';

CREATE INDEX breakage_not_over on breakage (builder_id) where ended_at_ms is null;

CREATE INDEX breakage_open on breakage (state) where ended_at_ms is null;

CREATE INDEX breakage_repaired on breakage (ended_at_ms) where state = 'fixed';

CREATE INDEX breakage_uncounted on breakage (unreached) where unreached is null and found is not null;

CREATE TABLE breakage_case (
    breakage_id integer not null references breakage,
    case_id integer not null references case_name,
    -- 1 if it is no longer run, 0 if it fails.
    not_run integer not null default 0 check (not_run in (0, 1)), hidden integer not null default 0 check (hidden in (0, 1)), repaired integer not null default 0 check (repaired in (0, 1)),
    primary key (breakage_id, case_id)
) strict, without rowid;

CREATE INDEX breakage_case_by_case on breakage_case (case_id);

CREATE TABLE build (
    -- Builds that a newer one makes superfluous are deleted; their numbers must not come to mean another build.
    id integer primary key autoincrement,
    builder_id integer not null references builder,
    change_id integer not null references change,
    pin_id integer references pin,
    recipe_sha256 blob not null references recipe,
    -- tip, backfill and baseline make history; probe, null and force are evidence only; latest asks for a project's newest
    -- revision
    reason text not null check (reason in ('latest', 'tip', 'backfill', 'baseline', 'probe', 'null', 'force')),
    -- The breakage whose search enqueued it.
    breakage_id integer references breakage,
    only_worker_id integer references worker,
    -- The hash of all that goes in, known as soon as the toolchain is; see domain::project_inputs.
    inputs_sha256 blob check (length(inputs_sha256) = 32),
    -- The toolchain that it makes (toolchain builder) or uses (suite builder).
    artifact_sha256 blob references artifact,
    state text not null check (state in ('queued', 'leased', 'finished')),
    attempts integer not null default 0,
    queued_at_ms integer not null,
    -- It is not offered before this time, since its last attempt was infra or declined.
    not_before_ms integer not null default 0,
    finished_at_ms integer,
    outcome text check (outcome in ('passed', 'failed', 'infra', 'cancelled', 'blocked')),
    cause text,
    -- The name of the step that decided the outcome.
    cause_step text,
    -- Another build with equal inputs, whose verdicts stand for this one's.
    same_as_id integer references build,
    -- The attempt that gave the outcome.
    attempt_id integer references attempt,
    case_list_id integer references case_list,
    -- zstd of one letter a case, in the list's order.
    verdicts blob,
    passes integer,
    bads integer,
    skips integer,
    -- Whether the run reported all its cases. If it did not, a case that is not in its list is unreached.
    complete integer check (complete in (0, 1)),
    -- Whether it counts in its builder's history, once it has a verdict.
    makes_history integer not null generated always as (reason in ('tip', 'backfill', 'baseline')) virtual,
    -- Whether it is a verdict about the change. An infra failure is none.
    is_verdict integer not null generated always as (coalesce(outcome in ('passed', 'failed'), 0)) virtual, toolchain_inputs_id integer references toolchain_inputs,
    check ((state = 'finished') = (outcome is not null)),
    check ((state = 'finished') = (finished_at_ms is not null)),
    check ((case_list_id is null) = (verdicts is null)),
    check ((case_list_id is null) = (complete is null))
) strict;

CREATE INDEX build_by_breakage on build (breakage_id) where breakage_id is not null;

CREATE INDEX build_by_cell on build (builder_id, change_id);

CREATE INDEX build_by_change on build (change_id);

CREATE INDEX build_by_finish on build (finished_at_ms) where state = 'finished';

CREATE INDEX build_by_inputs on build (inputs_sha256) where inputs_sha256 is not null;

CREATE INDEX build_by_only_worker on build (only_worker_id) where only_worker_id is not null;

CREATE INDEX build_by_pin on build (pin_id, builder_id) where pin_id is not null;

CREATE INDEX build_by_same_as on build (same_as_id) where same_as_id is not null;

CREATE INDEX build_by_toolchain_inputs on build (toolchain_inputs_id, builder_id) where toolchain_inputs_id is not null;

CREATE INDEX build_history on build
    (builder_id, change_id, pin_id, toolchain_inputs_id, reason, outcome, same_as_id, complete, passes, bads)
    where reason in ('tip', 'backfill', 'baseline') and outcome in ('passed', 'failed');

CREATE UNIQUE INDEX build_history_once
    on build (builder_id, change_id, coalesce(pin_id, 0), coalesce(toolchain_inputs_id, 0))
    where makes_history and (outcome is null or outcome not in ('infra', 'cancelled'));

CREATE INDEX build_latest on build (builder_id) where reason = 'latest';

CREATE INDEX build_null on build (builder_id, id) where reason = 'null';

CREATE INDEX build_queued on build (queued_at_ms) where state = 'queued';

CREATE INDEX build_tried on build (pin_id) where makes_history and is_verdict;

CREATE INDEX build_unfinished on build (state) where state <> 'finished';

CREATE TABLE builder (
    id integer primary key,
    kind text not null check (kind in ('toolchain', 'suite')),
    branch_id integer not null references branch,
    platform_id integer not null references platform,
    project_id integer references project,
    state text not null check (state in ('active', 'retired')),
    -- A hash of what its breakages were last evaluated on: its history, and what is left out as noise. If only one
    -- build was added since, the other cases need no new evaluation.
    breakage_basis blob check (length(breakage_basis) = 32),
    -- Cases of breakages that this evaluation changed, so they need another one: a JSON list of their ids.
    cases_to_recheck text not null default '[]', since_ms integer, variant text not null default '', variant_name text,
    check ((kind = 'suite') = (project_id is not null))
) strict;

CREATE INDEX builder_by_place on builder (branch_id, platform_id, project_id);

CREATE UNIQUE INDEX builder_suite on builder (branch_id, platform_id, project_id, variant) where kind = 'suite';

CREATE UNIQUE INDEX builder_toolchain on builder (branch_id, platform_id, variant) where kind = 'toolchain';

CREATE VIEW builder_history as
    select id, builder_id, change_id, pin_id, toolchain_inputs_id, reason, outcome, same_as_id, complete, passes, bads
    from build
    where reason in ('tip', 'backfill', 'baseline') and outcome in ('passed', 'failed');

CREATE TABLE cache_disagreement (
    id integer primary key,
    trunk_id integer not null references trunk,
    -- Null: of the trunk's own recipe.
    project_id integer references project,
    -- The last run without caches that showed it.
    build_id integer not null references build on delete cascade,
    found_at_ms integer not null,
    cases integer not null,
    -- The name of one of the cases.
    example text not null
) strict;

CREATE INDEX cache_disagreement_by_build on cache_disagreement (build_id);

CREATE INDEX cache_disagreement_found on cache_disagreement (found_at_ms);

CREATE INDEX cache_disagreement_of on cache_disagreement (trunk_id, project_id);

CREATE TABLE case_failure (
    build_id integer not null references build,
    case_id integer not null references case_name,
    duration_ms integer,
    failure_message_id integer not null references failure_message,
    primary key (build_id, case_id)
) strict, without rowid;

CREATE TABLE case_list (
    id integer primary key,
    sha256 blob not null unique check (length(sha256) = 32),
    cases integer not null,
    -- zstd of the case ids as little-endian u32, in the list's order.
    case_ids blob not null
) strict;

CREATE TABLE case_name (
    id integer primary key,
    -- Of the whole name, the scope's part included.
    hash integer not null,
    scope_id integer not null references case_scope,
    -- The rest of the name, after the scope.
    leaf text not null
) strict;

CREATE INDEX case_name_by_hash on case_name (hash);

CREATE TABLE case_scope (
    id integer primary key,
    text text not null unique
) strict;

CREATE TABLE case_takeover (
    build_id integer not null references build on delete cascade,
    case_id integer not null references case_name,
    -- The signature of the message with which it failed until then.
    was text not null,
    primary key (build_id, case_id)
) strict, without rowid;

CREATE INDEX case_takeover_by_case on case_takeover (case_id);

CREATE TABLE change (
    id integer primary key,
    trunk_id integer not null references trunk,
    sha text not null check (length(sha) = 40),
    author text not null,
    author_mail text not null,
    committed_at_ms integer not null,
    title text not null,
    message text not null,
    -- How many paths it touches; `change_path` holds the first thousand.
    paths integer not null,
    found_at_ms integer not null,
    unique (trunk_id, sha)
) strict;

CREATE TABLE change_path (
    change_id integer not null references change,
    path text not null,
    primary key (change_id, path)
) strict, without rowid;

CREATE TABLE environment (
    sha256 blob primary key check (length(sha256) = 32),
    properties text not null
) strict, without rowid;

CREATE TABLE failure_message (
    id integer primary key,
    hash integer not null,
    text text not null
) strict;

CREATE INDEX failure_message_by_hash on failure_message (hash);

CREATE TABLE fetch_failure (
    builder_id integer primary key references builder,
    -- The last build whose fetch step failed in each attempt.
    build_id integer not null references build,
    pin_id integer references pin,
    step text not null,
    -- The last lines that look like errors.
    message text,
    -- Whether a change that was fetched before cannot be fetched any more either.
    is_checked integer not null check (is_checked in (0, 1)),
    since_ms integer not null,
    -- When its project's contacts were informed, or it was known that they need not be.
    notified_at_ms integer
) strict;

CREATE INDEX fetch_failure_by_build on fetch_failure (build_id);

CREATE TABLE journal (
    id integer primary key autoincrement,
    at_ms integer not null,
    topic text not null check (topic in ('change', 'build', 'breakage', 'worker', 'notice', 'trunk')),
    subject integer not null
) strict;

CREATE TABLE late_report (
    attempt_id integer primary key references attempt,
    reported_at_ms integer not null,
    outcome text not null check (outcome in ('passed', 'failed', 'infra', 'cancelled')),
    cause text,
    -- The name of the step that decided the outcome.
    cause_step text,
    case_list_id integer references case_list,
    -- As in `build`: zstd of one letter a case, in the list's order.
    verdicts blob,
    complete integer check (complete in (0, 1)),
    -- As in `build`.
    is_verdict integer not null generated always as (outcome in ('passed', 'failed')) virtual,
    check ((case_list_id is null) = (verdicts is null)),
    check ((case_list_id is null) = (complete is null))
) strict;

CREATE TABLE mark (
    id integer primary key,
    project_id integer not null references project,
    kind text not null check (kind in ('expected-to-fail', 'flaky')),
    -- A pattern of case names, in which * stands for anything.
    cases text not null,
    branch text,
    platform text,
    issue text not null,
    until_ms integer not null
, variant text) strict;

CREATE INDEX mark_by_project on mark (project_id);

CREATE TABLE missing_ref (
    id integer primary key,
    trunk_id integer not null references trunk,
    -- The project whose `follow` names it; null if the trunk's `branches` do.
    project_id integer references project,
    -- version: any tag with a version number
    kind text not null check (kind in ('branch', 'tag', 'version')),
    name text not null,
    since_ms integer not null,
    -- The branch that the remote's HEAD names.
    head text,
    -- The names that the remote has, those most like the missing one first: a JSON list of a few; and how many more it has.
    present text not null,
    more integer not null
) strict;

CREATE UNIQUE INDEX missing_ref_once on missing_ref (trunk_id, coalesce(project_id, 0), kind, name);

CREATE VIEW named_case as
    select n.id, n.hash, s.text || n.leaf as name from case_name n join case_scope s on s.id = n.scope_id;

CREATE TABLE new_failure (
    builder_id integer not null references builder,
    case_id integer not null references case_name,
    -- The change at which it was first run.
    change_id integer not null references change,
    -- Whether other project inputs or toolchain inputs begin there.
    with_inputs integer not null check (with_inputs in (0, 1)),
    -- In how many null runs of that change it failed, too.
    reruns integer not null default 0,
    seen_at_ms integer not null,
    -- When so many runs had shown it that it is news.
    confirmed_at_ms integer,
    -- When the contacts of the project were informed, or need not be any more.
    notified_at_ms integer,
    -- Since when it is past.
    ended_at_ms integer,
    primary key (builder_id, case_id)
) strict, without rowid;

CREATE INDEX new_failure_by_change on new_failure (change_id);

CREATE INDEX new_failure_unnotified on new_failure (confirmed_at_ms)
    where confirmed_at_ms is not null and notified_at_ms is null and ended_at_ms is null;

CREATE TABLE "notice" (
    id integer primary key,
    -- project-inputs: they made cases worse; named: a culprit; spread: more projects; fixed; storm: too many culprits at
    -- once; correction: not the culprit after all; first-result: a project's first build has ended; backlog: what old
    -- changes broke; backlog-fixed: that is repaired; backlog-correction: that was not so; new-failure: cases are new, and
    -- fail from their first run
    kind text not null check (kind in
        ('project-inputs', 'named', 'spread', 'fixed', 'storm', 'correction', 'first-result', 'backlog', 'backlog-fixed',
            'backlog-correction', 'new-failure')),
    -- The thread: one culprit change. For a storm, the first culprit that it holds back. For a first result, the change that
    -- the build ran with; for a backlog, the newest one, and so for what became of it; for new failures, the change at which
    -- they were first reported.
    change_id integer not null references change,
    recipients text not null,
    subject text not null,
    body text not null,
    message_id text not null unique,
    in_reply_to text,
    state text not null check (state in ('waiting', 'sent', 'failed')),
    decided_at_ms integer not null,
    tries integer not null default 0,
    next_try_at_ms integer not null,
    sent_at_ms integer,
    failure text,
    check ((state = 'sent') = (sent_at_ms is not null))
) strict;

CREATE INDEX notice_decided on notice (decided_at_ms);

CREATE INDEX notice_thread on notice (change_id);

CREATE INDEX notice_waiting on notice (next_try_at_ms) where state = 'waiting';

CREATE TABLE notice_breakage (
    notice_id integer not null references notice,
    breakage_id integer not null references breakage,
    primary key (notice_id, breakage_id)
) strict, without rowid;

CREATE INDEX notice_breakage_by_breakage on notice_breakage (breakage_id);

CREATE TABLE notice_mention (
    notice_id integer not null references notice,
    breakage_id integer not null references breakage,
    primary key (breakage_id, notice_id)
) strict, without rowid;

CREATE TABLE owner_notice (
    id integer primary key,
    worker_id integer not null references worker,
    recipient text not null,
    subject text not null,
    body text not null,
    message_id text not null unique,
    state text not null check (state in ('waiting', 'failed')),
    decided_at_ms integer not null,
    tries integer not null default 0,
    next_try_at_ms integer not null,
    failure text
) strict;

CREATE INDEX owner_notice_by_worker on owner_notice (worker_id);

CREATE INDEX owner_notice_waiting on owner_notice (next_try_at_ms) where state = 'waiting';

CREATE TABLE pin (
    id integer primary key,
    project_id integer not null references project,
    branch_id integer not null references branch,
    -- proposed: its baseline is not judged yet; current: in use; past: was in use; dropped: a newer one was proposed first
    state text not null check (state in ('proposed', 'current', 'past', 'dropped')),
    revision text not null,
    lock_sha256 blob check (length(lock_sha256) = 32),
    lock_bytes integer,
    locked_at_ms integer,
    recipe_sha256 blob not null references recipe,
    -- The registered projects that it needs, at their revisions: JSON, [["say", "1f3a..."], ...], sorted by name.
    needs text not null default '[]',
    proposed_at_ms integer not null,
    -- Since when it, and the proposals before it, wait because cases got worse.
    worse_since_ms integer,
    since_ms integer,
    until_ms integer, missing_since_ms integer,
    check ((lock_sha256 is null) = (lock_bytes is null)),
    check ((lock_sha256 is null) = (locked_at_ms is null)),
    check ((state in ('current', 'past')) = (since_ms is not null)),
    check ((state = 'past') = (until_ms is not null))
) strict;

CREATE UNIQUE INDEX pin_current on pin (project_id, branch_id) where state = 'current';

CREATE UNIQUE INDEX pin_proposed on pin (project_id, branch_id) where state = 'proposed';

CREATE TABLE platform (
    id integer primary key,
    label text not null unique
) strict;

CREATE TABLE probe (
    build_id integer primary key references build on delete cascade,
    breakage_id integer not null references breakage on delete cascade,
    purpose text not null check (purpose in ('base', 'head', 'confirm', 'divide')),
    bits real not null
) strict;

CREATE INDEX probe_by_breakage on probe (breakage_id);

CREATE TABLE project (
    id integer primary key,
    name text not null unique,
    trunk_id integer not null references trunk,
    git text not null,
    -- registered: in the configuration; retired: no longer there, but its results stay
    state text not null check (state in ('registered', 'retired')),
    -- As in `trunk`.
    failing_since_ms integer,
    failures integer not null default 0,
    failure text,
    polled_at_ms integer,
    -- The newest revision seen upstream; the pin says which one is in use.
    newest text,
    -- Set for a project that proves that the farm can still tell good from bad.
    canary text check (canary in ('must-pass', 'must-fail')),
    -- What a worker must offer: JSON, ["postgresql", ...].
    wants text not null default '[]',
    check ((failing_since_ms is null) = (failures = 0)),
    check ((failing_since_ms is null) = (failure is null))
) strict;

CREATE TABLE project_start (
    project_id integer not null references project,
    branch_id integer not null references branch,
    -- Its first history build there that ended with a result, and when.
    build_id integer not null references build,
    ended_at_ms integer not null,
    -- Since when a build has shown that it works: a case of its own passed, or a suite without cases did. Null: it never has.
    worked_at_ms integer,
    -- When its contacts were informed of the first build.
    notified_at_ms integer,
    primary key (project_id, branch_id)
) strict, without rowid;

CREATE INDEX project_start_by_build on project_start (build_id);

CREATE INDEX project_start_unnotified on project_start (ended_at_ms) where notified_at_ms is null;

CREATE INDEX project_start_unworked on project_start (ended_at_ms) where worked_at_ms is null;

CREATE TABLE proof (
    breakage_id integer not null references breakage on delete cascade,
    worker_id integer not null references worker,
    passes_before integer not null,
    failures_before integer not null,
    passes_with integer not null,
    failures_with integer not null,
    primary key (breakage_id, worker_id)
) strict, without rowid;

CREATE INDEX proof_by_worker on proof (worker_id);

CREATE TABLE recipe (
    sha256 blob primary key check (length(sha256) = 32),
    json text not null
) strict, without rowid;

CREATE TABLE request (
    id integer primary key,
    at_ms integer not null,
    who text not null,
    what text not null
) strict;

CREATE TABLE search (
    breakage_id integer primary key references breakage on delete cascade,
    looked_at_ms integer not null,
    -- How likely it is that the cases are bad at the good end too, were always flaky, or fail only now and then since
    -- a change.
    environment real not null,
    flaky real not null,
    intermittent real not null,
    probes_left integer not null,
    -- JSON: the workers whose runs do not count, each with the word that says why.
    left_out text not null,
    -- Why the search is paused, if it is.
    paused text check (paused in ('retired', 'rewound', 'no-worker', 'no-result', 'budget-spent')),
    -- How often an answer was taken back because later evidence disagreed.
    reopened integer not null default 0,
    -- How many changes its range had when it was widest: history that is made meanwhile narrows it.
    changes integer not null default 0,
    -- Whether a run has ended in its range since the search last examined it.
    has_news integer not null default 0 check (has_news in (0, 1))
) strict;

CREATE INDEX search_with_news on search (breakage_id) where has_news = 1;

CREATE TABLE selected_run (
    build_id integer primary key references build on delete cascade,
    -- A JSON list of case ids.
    cases text not null,
    -- Whether it ran most of the suite nevertheless.
    ignored integer not null default 0 check (ignored in (0, 1))
) strict;

CREATE TABLE selection_withdrawn (
    project_id integer not null references project,
    recipe_sha256 blob not null references recipe,
    breakage_id integer not null references breakage on delete cascade,
    at_ms integer not null,
    why text not null check (why in ('passes-alone', 'fails-alone', 'unreported', 'ignored')),
    primary key (project_id, recipe_sha256)
) strict, without rowid;

CREATE INDEX selection_withdrawn_by_breakage on selection_withdrawn (breakage_id);

CREATE TABLE self_check (
    build_id integer primary key references build on delete cascade,
    breakage_id integer not null references breakage on delete cascade,
    -- parent and culprit: of a named change; flaky: where a case was found flaky; repair: the first good change
    kind text not null check (kind in ('parent', 'culprit', 'flaky', 'repair')),
    asked_at_ms integer not null,
    -- none: the run showed nothing about it. Null until the run has ended.
    result text check (result in ('stood', 'fell', 'none')),
    ended_at_ms integer,
    check ((result is null) = (ended_at_ms is null))
) strict;

CREATE INDEX self_check_by_breakage on self_check (breakage_id, kind);

CREATE INDEX self_check_ended on self_check (ended_at_ms, kind, result) where ended_at_ms is not null;

CREATE INDEX self_check_fallen_repair on self_check (breakage_id) where kind = 'repair' and result = 'fell';

CREATE INDEX self_check_running on self_check (build_id) where result is null;

CREATE TABLE self_check_count (
    kind text not null check (kind in ('parent', 'culprit', 'flaky', 'repair')),
    result text not null check (result in ('stood', 'fell', 'none')),
    checks integer not null,
    primary key (kind, result)
) strict, without rowid;

CREATE TABLE step (
    attempt_id integer not null references attempt,
    position integer not null,
    name text not null,
    kind text not null check (kind in ('fetch', 'compile', 'install', 'test')),
    state text not null check (state in ('running', 'ended')),
    started_at_ms integer not null,
    ended_at_ms integer,
    -- How it ended, as protocol::StepEnd in JSON, and how long it took by the worker's clock.
    ending text,
    duration_ms integer,
    -- What was odd about its report: a JSON list of sentences.
    warnings text not null default '[]',
    -- Its log: how much of the file data/logs/... is committed. See store::files::log.
    log_bytes integer not null default 0,
    log_lines integer not null default 0,
    log_stored_bytes integer not null default 0,
    log_cut_bytes integer not null default 0,
    log_sealed integer not null default 0 check (log_sealed in (0, 1)),
    -- Since when the log is no longer kept. The row outlives its file, and pages say so.
    log_pruned_at_ms integer,
    primary key (attempt_id, position),
    check ((state = 'ended') = (ended_at_ms is not null)),
    check ((state = 'ended') = (ending is not null))
) strict, without rowid;

CREATE INDEX step_fetched on step (ended_at_ms) where kind = 'fetch';

CREATE INDEX step_kept on step (attempt_id, position) where log_pruned_at_ms is null and log_stored_bytes > 0;

CREATE TABLE suspect (
    breakage_id integer not null references breakage on delete cascade,
    change_id integer not null references change,
    posterior real not null,
    primary key (breakage_id, change_id)
) strict, without rowid;

CREATE INDEX suspect_by_change on suspect (change_id);

CREATE TABLE suspicion_record (
    trunk_id integer not null references trunk on delete cascade,
    breakage_id integer not null references breakage on delete cascade,
    class text not null check (class in ('documents', 'unrelated', 'same-folder', 'same-module', 'named')),
    -- 1 if the culprit is in the class, else 0.
    culprits integer not null,
    -- The probability of that by the weights before anything was learnt.
    expected real not null,
    primary key (trunk_id, breakage_id, class)
) strict, without rowid;

CREATE INDEX suspicion_record_by_breakage on suspicion_record (breakage_id);

CREATE TABLE toolchain_inputs (
    id integer primary key,
    builder_id integer not null references builder,
    -- proposed: its baseline is not judged yet; current: in use; past: was in use; dropped: never in use, since others
    -- were proposed first, or since a toolchain was made apart from those in use
    state text not null check (state in ('proposed', 'current', 'past', 'dropped')),
    recipe_sha256 blob not null references recipe,
    -- The properties of the maker's environment that count, one a line; null until the first toolchain is made.
    environment text,
    proposed_at_ms integer not null,
    -- Since when it, and the proposals before it, wait because the old good change cannot be built with it.
    worse_since_ms integer,
    since_ms integer,
    until_ms integer,
    check ((state in ('current', 'past')) = (since_ms is not null)),
    check ((state = 'past') = (until_ms is not null))
) strict;

CREATE INDEX toolchain_inputs_by_builder on toolchain_inputs (builder_id, since_ms) where since_ms is not null;

CREATE UNIQUE INDEX toolchain_inputs_current on toolchain_inputs (builder_id) where state = 'current';

CREATE UNIQUE INDEX toolchain_inputs_proposed on toolchain_inputs (builder_id) where state = 'proposed';

CREATE TABLE transition (
    case_id integer not null references case_name,
    build_id integer not null references build,
    was text check (was in ('P', 'x', 'S', 'X', 'U', 'M', 'F', 'E')),
    became text not null check (became in ('P', 'x', 'S', 'X', 'U', 'M', 'F', 'E')),
    primary key (case_id, build_id)
) strict, without rowid;

CREATE INDEX transition_by_build on transition (build_id);

CREATE TABLE trunk (
    id integer primary key,
    name text not null unique,
    git text not null,
    -- Null while polls succeed; otherwise since when they fail, how often in a row, and why.
    failing_since_ms integer,
    failures integer not null default 0,
    failure text,
    polled_at_ms integer, progress text,
    check ((failing_since_ms is null) = (failures = 0)),
    check ((failing_since_ms is null) = (failure is null))
) strict;

CREATE TABLE unreached_case (
    build_id integer not null references build on delete cascade,
    case_id integer not null references case_name,
    primary key (build_id, case_id)
) strict, without rowid;

CREATE INDEX unreached_case_by_case on unreached_case (case_id);

CREATE TABLE unstable_case (
    builder_id integer not null references builder,
    case_id integer not null references case_name,
    seen_at_ms integer not null,
    primary key (builder_id, case_id)
) strict, without rowid;

CREATE TABLE unstable_suite (
    project_id integer primary key references project,
    -- Where it was seen first, and one of the names.
    builder_id integer not null references builder,
    case_id integer not null references case_name,
    seen_at_ms integer not null,
    -- When the contacts were informed, or need not be any more.
    notified_at_ms integer
) strict;

CREATE INDEX unstable_suite_unnotified on unstable_suite (project_id) where notified_at_ms is null;

CREATE TABLE worker (
    id integer primary key,
    key blob not null unique check (length(key) = 32),
    name text not null unique,
    -- pending: asked to join; approved: may work; refused: the operator refused it
    state text not null check (state in ('pending', 'approved', 'refused')),
    owner text,
    trust text check (trust in ('probation', 'counted', 'maker')),
    facts text not null,
    slots integer not null default 0,
    version text not null default '',
    asked_at_ms integer not null,
    approved_at_ms integer,
    -- When it last sent something, and whether it has an open session (the master closes all when it starts).
    seen_at_ms integer,
    connected integer not null default 0 check (connected in (0, 1)),
    -- How many results in a row agreed with those of others, while it is on probation.
    agreements integer not null default 0, environment_sha256 blob references environment, standing text not null default 'active' check (standing in ('active', 'disabled', 'removed')), mail text, join_address text, next_key blob check (length(next_key) = 32), pause_reason text, pause_until_ms integer, terms text, absent_ms integer not null default 0, absence_mails integer not null default 0, outdated_mailed text,
    check ((state = 'approved') = (owner is not null)),
    check ((state = 'approved') = (trust is not null))
) strict;

CREATE INDEX worker_barred on worker (id) where standing <> 'active';

CREATE UNIQUE INDEX worker_next_key on worker (next_key) where next_key is not null;

CREATE INDEX worker_pending on worker (join_address) where state = 'pending';
