-- Repetitions of old answers by idle workers: null runs that show whether an answer still stands.
create table self_check (
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

-- `checks_of`, and for the deletion of a breakage.
create index self_check_by_breakage on self_check (breakage_id, kind);
-- `self_checks_since`.
create index self_check_ended on self_check (ended_at_ms, kind, result) where ended_at_ms is not null;
-- `end_mute_self_checks`.
create index self_check_running on self_check (build_id) where result is null;

-- How often each result was ever recorded, so that nobody has to count all rows.
create table self_check_count (
    kind text not null check (kind in ('parent', 'culprit', 'flaky', 'repair')),
    result text not null check (result in ('stood', 'fell', 'none')),
    checks integer not null,
    primary key (kind, result)
) strict, without rowid;

-- `answers_to_check`: repairs, by when they were found.
create index breakage_repaired on breakage (ended_at_ms) where state = 'fixed';
-- `searches_ended_since`.
create index breakage_found on breakage (found_at_ms, found) where found_at_ms is not null;
