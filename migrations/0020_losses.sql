-- Of a breakage's cases: not run any more. The others fail.
alter table breakage_case add column lost integer not null default 0 check (lost in (0, 1));

-- Cases that were run in one of two runs of identical inputs and not in the other: that they vanish is no loss.
create table unstable_case (
    builder_id integer not null references builder,
    case_id integer not null references case_name,
    since_ms integer not null,
    primary key (builder_id, case_id)
) strict, without rowid;
