-- Builders that cannot fetch what they need, although no change is to blame; until a fetch of theirs succeeds.
create table fetch_failure (
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
-- For the deletion of a build.
create index fetch_failure_by_build on fetch_failure (build_id);

-- How far an attempt has fetched what it needs, in a sentence. It says nothing once the first step has started.
alter table attempt add column progress text;
-- How far the fetch of a trunk is that is under way, in a sentence.
alter table trunk add column progress text;

-- Builds that are asked for some cases only.
create table selected_run (
    build_id integer primary key references build on delete cascade,
    -- A JSON list of case ids.
    cases text not null,
    -- Whether it ran most of the suite nevertheless.
    ignored integer not null default 0 check (ignored in (0, 1))
) strict;

-- Recipes whose suites do something else with a few cases than with all: their probes run the whole suite.
create table selection_withdrawn (
    project_id integer not null references project,
    recipe_sha256 blob not null references recipe,
    breakage_id integer not null references breakage on delete cascade,
    at_ms integer not null,
    why text not null check (why in ('passes-alone', 'fails-alone', 'unreported', 'ignored')),
    primary key (project_id, recipe_sha256)
) strict, without rowid;
-- For the deletion of a breakage.
create index selection_withdrawn_by_breakage on selection_withdrawn (breakage_id);
