-- Toolchain inputs: everything in a toolchain that is not the change. Builds of before have none, which counts as one
-- set of inputs like any other.

-- The inputs of the toolchains of one builder: its trunk's recipe, and the environment in which they are made. New ones
-- are proposed, tested with an old change (the baseline), and then taken into use or dropped.
create table toolchain_inputs (
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
-- `live_toolchain_inputs` and `take_toolchain_inputs`; a builder has one set of inputs in use.
create unique index toolchain_inputs_current on toolchain_inputs (builder_id) where state = 'current';
-- `live_toolchain_inputs` and `propose_toolchain_inputs`; a builder has one set of inputs proposed.
create unique index toolchain_inputs_proposed on toolchain_inputs (builder_id) where state = 'proposed';
-- `toolchain_switches`: pages show where the inputs of a builder changed.
create index toolchain_inputs_by_builder on toolchain_inputs (builder_id, since_ms) where since_ms is not null;

-- Under which inputs a toolchain was made, or the toolchain that a suite used. A build that makes history has those that
-- are or were in use.
alter table build add column toolchain_inputs_id integer references toolchain_inputs;
-- `toolchain_baseline`, `toolchain_cells` and `switch_rows`.
create index build_by_toolchain_inputs on build (toolchain_inputs_id, builder_id) where toolchain_inputs_id is not null;

-- In which environment the worker ran its last attempt.
alter table worker add column environment_sha256 blob references environment;

drop index build_history_once;
-- `enqueue_build`: a cell makes history once for each set of inputs.
create unique index build_history_once
    on build (builder_id, change_id, coalesce(pin_id, 0), coalesce(toolchain_inputs_id, 0))
    where makes_history and (outcome is null or outcome not in ('infra', 'cancelled'));

drop view builder_history;
drop index build_history;
-- As before, with the toolchain inputs.
create view builder_history as
    select id, builder_id, change_id, pin_id, toolchain_inputs_id, reason, outcome, same_as_id, complete, passes, bads
    from build
    where reason in ('tip', 'backfill', 'baseline') and outcome in ('passed', 'failed');
-- `builder_timeline`, by the view.
create index build_history on build
    (builder_id, change_id, pin_id, toolchain_inputs_id, reason, outcome, same_as_id, complete, passes, bads)
    where reason in ('tip', 'backfill', 'baseline') and outcome in ('passed', 'failed');
