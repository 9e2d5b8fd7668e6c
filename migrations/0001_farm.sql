-- Everything the farm remembers but log bytes and archives, which are files named by rows here.
-- Times are UTC milliseconds (`..._at_ms`). Each machine has one `state` column, and CHECKs tie the others to it.

create table trunk (
    id integer primary key,
    name text not null unique,
    git text not null,
    -- Null while polls succeed; else since when they fail, how often in a row, and why.
    failing_since_ms integer,
    failures integer not null default 0,
    failure text,
    polled_at_ms integer,
    check ((failing_since_ms is null) = (failures = 0)),
    check ((failing_since_ms is null) = (failure is null))
) strict;

create table branch (
    id integer primary key,
    trunk_id integer not null references trunk,
    name text not null,
    -- watched: in the configuration and there; gone: deleted upstream; retired: no longer in the configuration
    state text not null check (state in ('watched', 'gone', 'retired')),
    unique (trunk_id, name)
) strict;

create table change (
    id integer primary key,
    trunk_id integer not null references trunk,
    sha text not null check (length(sha) = 40),
    author text not null,
    author_mail text not null,
    committed_at_ms integer not null,
    title text not null,
    message text not null,
    -- How many paths it touches; `change_path` keeps the first thousand.
    paths integer not null,
    found_at_ms integer not null,
    unique (trunk_id, sha)
) strict;

create table change_path (
    change_id integer not null references change,
    path text not null,
    primary key (change_id, path)
) strict, without rowid;

-- First-parent order. Positions rise and are never used twice: after a rewind the branch goes on behind the gone ones.
create table branch_change (
    branch_id integer not null references branch,
    position integer not null,
    change_id integer not null references change,
    gone_at_ms integer,
    primary key (branch_id, position)
) strict, without rowid;
create index branch_change_by_change on branch_change (change_id);

create table platform (
    id integer primary key,
    label text not null unique
) strict;

create table project (
    id integer primary key,
    name text not null unique,
    trunk_id integer not null references trunk,
    git text not null,
    -- registered: in the configuration; retired: no longer, its results stay
    state text not null check (state in ('registered', 'retired')),
    failing_since_ms integer,
    failures integer not null default 0,
    failure text,
    polled_at_ms integer,
    -- The newest revision seen; the pin says which one is in use.
    newest text,
    check ((failing_since_ms is null) = (failures = 0)),
    check ((failing_since_ms is null) = (failure is null))
) strict;

-- A recipe as it was when a build used it, named by the SHA-256 of its JSON.
create table recipe (
    sha256 blob primary key check (length(sha256) = 32),
    json text not null
) strict, without rowid;

-- The project side in use for a project and branch: one is current, the others are history.
create table pin (
    id integer primary key,
    project_id integer not null references project,
    branch_id integer not null references branch,
    revision text not null,
    lock_sha256 blob check (length(lock_sha256) = 32),
    recipe_sha256 blob not null references recipe,
    since_ms integer not null,
    until_ms integer
) strict;
create unique index pin_current on pin (project_id, branch_id) where until_ms is null;

create table builder (
    id integer primary key,
    kind text not null check (kind in ('toolchain', 'suite')),
    branch_id integer not null references branch,
    platform_id integer not null references platform,
    project_id integer references project,
    state text not null check (state in ('active', 'retired')),
    check ((kind = 'suite') = (project_id is not null))
) strict;
create unique index builder_suite on builder (branch_id, platform_id, project_id) where kind = 'suite';
create unique index builder_toolchain on builder (branch_id, platform_id) where kind = 'toolchain';

create table worker (
    id integer primary key,
    key blob not null unique check (length(key) = 32),
    name text not null unique,
    -- pending: asked to join; approved: may work; refused: the operator said no
    state text not null check (state in ('pending', 'approved', 'refused')),
    owner text,
    trust text check (trust in ('probation', 'counted', 'maker')),
    facts text not null,
    slots integer not null default 0,
    version text not null default '',
    asked_at_ms integer not null,
    approved_at_ms integer,
    -- When it was last heard, and whether a session of it is open (all are closed when the master starts).
    seen_at_ms integer,
    connected integer not null default 0 check (connected in (0, 1)),
    check ((state = 'approved') = (owner is not null)),
    check ((state = 'approved') = (trust is not null))
) strict;

-- A packed toolchain. The file lies at data/objects/artifact/SHA256.
create table artifact (
    sha256 blob primary key check (length(sha256) = 32),
    bytes integer not null,
    maker_id integer not null references worker,
    -- Set when it was made without a sandbox: its paths are true on its maker only.
    only_worker_id integer references worker,
    made_at_ms integer not null
) strict, without rowid;

create table case_name (
    id integer primary key,
    name text not null unique
) strict;

-- The cases that a run told of, in order of their names; many builds share one list.
create table case_list (
    id integer primary key,
    sha256 blob not null unique check (length(sha256) = 32),
    cases integer not null,
    -- zstd of the case ids as little-endian u32, in the list's order
    case_ids blob not null
) strict;

create table build (
    -- Covered builds are deleted; their numbers must not come to mean another build.
    id integer primary key autoincrement,
    builder_id integer not null references builder,
    change_id integer not null references change,
    pin_id integer references pin,
    recipe_sha256 blob not null references recipe,
    -- tip, backfill and seam make history; probe, null and force are evidence only
    reason text not null check (reason in ('tip', 'backfill', 'seam', 'probe', 'null', 'force')),
    -- Which breakage's search asked for it.
    breakage_id integer references breakage,
    only_worker_id integer references worker,
    -- What goes in, known as soon as the toolchain is; see domain::inputs.
    inputs_sha256 blob check (length(inputs_sha256) = 32),
    -- The toolchain it makes (toolchain builder) or uses (suite builder).
    artifact_sha256 blob references artifact,
    state text not null check (state in ('queued', 'leased', 'finished')),
    attempts integer not null default 0,
    queued_at_ms integer not null,
    -- Not offered before this time: the last attempt was infra or declined.
    not_before_ms integer not null default 0,
    finished_at_ms integer,
    outcome text check (outcome in ('passed', 'failed', 'infra', 'cancelled', 'blocked')),
    cause text,
    -- The name of the step that decided.
    cause_step text,
    -- Another build with equal inputs whose verdicts stand for this one's.
    same_as_id integer references build,
    -- The attempt that gave the outcome.
    attempt_id integer references attempt,
    case_list_id integer references case_list,
    -- zstd of one letter a case, in the list's order
    verdicts blob,
    passes integer, bads integer, skips integer,
    -- Whether the run told of all its cases. If not, what is not in its list is unreached.
    complete integer check (complete in (0, 1)),
    check ((state = 'finished') = (outcome is not null)),
    check ((state = 'finished') = (finished_at_ms is not null)),
    check ((case_list_id is null) = (verdicts is null)),
    check ((case_list_id is null) = (complete is null))
) strict;
create index build_by_cell on build (builder_id, change_id);
create index build_by_change on build (change_id);
-- SQLite takes a partial index only where the query says the same words.
create index build_queued on build (queued_at_ms) where state = 'queued';
create index build_unfinished on build (state) where state <> 'finished';
create index build_by_same_as on build (same_as_id) where same_as_id is not null;
create index build_by_inputs on build (inputs_sha256) where inputs_sha256 is not null;
create index build_by_breakage on build (breakage_id) where breakage_id is not null;
create index build_by_finish on build (finished_at_ms) where state = 'finished';
-- A cell makes history once.
create unique index build_cover on build (builder_id, change_id, coalesce(pin_id, 0))
    where reason in ('tip', 'backfill', 'seam') and (outcome is null or outcome not in ('infra', 'cancelled'));

create table attempt (
    id integer primary key,
    build_id integer not null references build,
    number integer not null,
    worker_id integer not null references worker,
    -- offered: the worker has not said yes; running; ended: it told its last; declined; lost: taken from its worker
    state text not null check (state in ('offered', 'running', 'ended', 'declined', 'lost')),
    offered_at_ms integer not null,
    started_at_ms integer,
    ended_at_ms integer,
    lease_until_ms integer not null,
    -- All events up to this one are kept.
    sequence integer not null default 0,
    environment_sha256 blob references environment,
    -- Why it says nothing about the change, or was declined or lost.
    trouble text,
    unique (build_id, number),
    check ((state in ('offered', 'running')) = (ended_at_ms is null))
) strict;
create index attempt_live on attempt (worker_id) where ended_at_ms is null;

create table environment (
    sha256 blob primary key check (length(sha256) = 32),
    words text not null
) strict, without rowid;

create table step (
    attempt_id integer not null references attempt,
    position integer not null,
    name text not null,
    kind text not null check (kind in ('fetch', 'compile', 'install', 'test')),
    state text not null check (state in ('running', 'ended')),
    started_at_ms integer not null,
    ended_at_ms integer,
    -- How it ended, as protocol::StepEnd in JSON, and its measure by the worker's clock.
    ending text,
    duration_ms integer,
    -- What was odd about its report: JSON array of sentences.
    warnings text not null default '[]',
    -- Its log: what of the file data/logs/... is committed. See store::log.
    log_bytes integer not null default 0,
    log_lines integer not null default 0,
    log_stored_bytes integer not null default 0,
    log_cut_bytes integer not null default 0,
    log_sealed integer not null default 0 check (log_sealed in (0, 1)),
    primary key (attempt_id, position),
    check ((state = 'ended') = (ended_at_ms is not null)),
    check ((state = 'ended') = (ending is not null))
) strict, without rowid;

-- What differs from the previous cover build of the builder in change order. Only these are rows.
create table transition (
    case_id integer not null references case_name,
    build_id integer not null references build,
    was text,
    became text not null,
    primary key (case_id, build_id)
) strict, without rowid;
create index transition_by_build on transition (build_id);

-- What a case that did not pass said.
create table case_note (
    build_id integer not null references build,
    case_id integer not null references case_name,
    duration_ms integer,
    text text not null,
    primary key (build_id, case_id)
) strict, without rowid;

-- The cases of one builder that went bad between the same good and bad end.
create table breakage (
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
    -- The culprit, and with `one-of-k` the last of the changes that cannot be told apart.
    culprit_id integer references change,
    -- The change below the culprit (or below the first of k) that was seen to pass.
    parent_id integer references change,
    search_worker_id integer references worker,
    -- Fixed after this change (still bad there), by this one at the latest.
    fixed_after_id integer references change,
    fixed_by_id integer references change,
    ended_at_ms integer,
    split_from_id integer references breakage,
    again_of_id integer references breakage,
    check ((state in ('fixed', 'gone')) = (ended_at_ms is not null)),
    check (found is null or found in ('flaky', 'environment', 'inconclusive') or culprit_id is not null),
    check ((found is null) = (found_at_ms is null))
) strict;
create index breakage_by_builder on breakage (builder_id, state);
create index breakage_by_culprit on breakage (culprit_id) where culprit_id is not null;
create index breakage_open on breakage (state) where ended_at_ms is null;

create table breakage_case (
    breakage_id integer not null references breakage,
    case_id integer not null references case_name,
    primary key (breakage_id, case_id)
) strict, without rowid;
create index breakage_case_by_case on breakage_case (case_id);

-- One row: case, change, artifact, worker, environment, verdict. Kept for cases of a breakage.
create table evidence (
    build_id integer not null references build,
    case_id integer not null references case_name,
    verdict text not null,
    change_id integer not null references change,
    artifact_sha256 blob,
    worker_id integer not null references worker,
    environment_sha256 blob,
    primary key (build_id, case_id)
) strict, without rowid;
create index evidence_by_case on evidence (case_id, change_id);

-- The outbox and what left it.
create table notice (
    id integer primary key,
    -- named: a culprit; spread: more projects; fixed
    kind text not null check (kind in ('named', 'spread', 'fixed')),
    -- The thread: one culprit change.
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
create index notice_waiting on notice (next_try_at_ms) where state = 'waiting';
create index notice_thread on notice (change_id);

-- Which breakages a notice spoke of.
create table notice_breakage (
    notice_id integer not null references notice,
    breakage_id integer not null references breakage,
    primary key (notice_id, breakage_id)
) strict, without rowid;

-- What a person asked for.
create table request (
    id integer primary key,
    at_ms integer not null,
    who text not null,
    what text not null
) strict;

-- Numbered live events, replayed to browsers from the last one they saw.
create table journal (
    id integer primary key autoincrement,
    at_ms integer not null,
    topic text not null check (topic in ('change', 'build', 'breakage', 'worker', 'notice', 'trunk')),
    subject integer not null
) strict;
