-- A branch or a tag that the configuration names and that its remote did not have at the last poll.
create table missing_ref (
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

create unique index missing_ref_once on missing_ref (trunk_id, coalesce(project_id, 0), kind, name);
