-- A new project side is proposed, repeated on an old change (the seam), and then taken into use, or not.

-- What is told of a project side is one more kind of notice. A CHECK is no data, so its words may be edited in place;
-- renaming a table, below, makes SQLite read them anew.
pragma writable_schema = on;
update sqlite_schema set sql = replace(sql, 'check (kind in (''named'',', 'check (kind in (''side'', ''named'',')
    where type = 'table' and name = 'notice';
pragma writable_schema = off;

create table new_pin (
    id integer primary key,
    project_id integer not null references project,
    branch_id integer not null references branch,
    -- proposed: its seam is still to be seen; current: in use; past: was in use; dropped: another came before it
    state text not null check (state in ('proposed', 'current', 'past', 'dropped')),
    revision text not null,
    lock_sha256 blob check (length(lock_sha256) = 32),
    lock_bytes integer,
    locked_at_ms integer,
    recipe_sha256 blob not null references recipe,
    -- The registered projects that it needs, at their revisions: JSON, [["say", "1f3a..."], ...], by name.
    needs text not null default '[]',
    proposed_at_ms integer not null,
    -- Since when it, and proposals before it, wait because cases got worse.
    worse_since_ms integer,
    since_ms integer,
    until_ms integer,
    check ((lock_sha256 is null) = (lock_bytes is null)),
    check ((lock_sha256 is null) = (locked_at_ms is null)),
    check ((state in ('current', 'past')) = (since_ms is not null)),
    check ((state = 'past') = (until_ms is not null))
) strict;
insert into new_pin (id, project_id, branch_id, state, revision, recipe_sha256, proposed_at_ms, since_ms, until_ms)
    select id, project_id, branch_id, iif(until_ms is null, 'current', 'past'), revision, recipe_sha256, since_ms,
        since_ms, until_ms
    from pin;
drop table pin;
alter table new_pin rename to pin;
create unique index pin_current on pin (project_id, branch_id) where state = 'current';
create unique index pin_proposed on pin (project_id, branch_id) where state = 'proposed';

create index build_by_pin on build (pin_id, builder_id) where pin_id is not null;

-- What a builder's seam said of a project side.
create table seam (
    pin_id integer not null references pin,
    builder_id integer not null references builder,
    state text not null check (state in ('no-worse', 'worse')),
    judged_at_ms integer not null,
    primary key (pin_id, builder_id)
) strict, without rowid;

-- Cases that a project side made worse: the project's own doing, told to its contacts only.
create table seam_case (
    pin_id integer not null,
    builder_id integer not null,
    case_id integer not null references case_name,
    primary key (pin_id, builder_id, case_id),
    foreign key (pin_id, builder_id) references seam
) strict, without rowid;
