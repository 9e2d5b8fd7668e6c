-- A project that proves that the farm can still see; null for all others.
alter table project add column canary text check (canary in ('must-pass', 'must-fail'));

-- What a human says of cases, as the configuration has it.
create table mark (
    id integer primary key,
    project_id integer not null references project,
    kind text not null check (kind in ('expected-to-fail', 'flaky')),
    -- A pattern of case names, in which * stands for anything.
    cases text not null,
    branch text,
    platform text,
    issue text not null,
    until_ms integer not null
) strict;
create index mark_by_project on mark (project_id);
