-- The runs that stood behind an answer that blames a change, by worker: what page and mail print.
create table proof (
    breakage_id integer not null references breakage on delete cascade,
    worker_id integer not null references worker,
    passes_before integer not null,
    failures_before integer not null,
    passes_with integer not null,
    failures_with integer not null,
    primary key (breakage_id, worker_id)
) strict, without rowid;

-- `fallen_repairs`: what happened at the first good change of each other repair need not be read again.
create index self_check_fallen_repair on self_check (breakage_id) where kind = 'repair' and result = 'fell';

-- Of the cases of a builder that come and go, those that did so last are kept. 1000: MAX_UNSTABLE.
alter table unstable_case rename column since_ms to seen_at_ms;
delete from unstable_case where (builder_id, case_id) in (
    select builder_id, case_id from (select builder_id, case_id,
        row_number() over (partition by builder_id order by seen_at_ms desc, case_id desc) as place from unstable_case)
    where place > 1000);

-- Projects whose suite names its failures differently in runs of identical inputs. Their contacts are informed once.
create table unstable_suite (
    project_id integer primary key references project,
    -- Where it was seen first, and one of the names.
    builder_id integer not null references builder,
    case_id integer not null references case_name,
    seen_at_ms integer not null,
    -- When the contacts were informed, or need not be any more.
    notified_at_ms integer
) strict;
create index unstable_suite_unnotified on unstable_suite (project_id) where notified_at_ms is null;
