-- What is thought of a breakage, for people to see: a search itself goes by evidence alone.
create table search (
    breakage_id integer primary key references breakage on delete cascade,
    looked_at_ms integer not null,
    -- How likely it is bad at the good end too, flaky from ever, and bad only now and then since a change.
    environment real not null,
    flaky real not null,
    intermittent real not null,
    probes_left integer not null,
    -- JSON: workers whose runs do not count, each with the word for why.
    left_out text not null,
    -- Why it does not go on, if it does not.
    rests text check (rests in ('retired', 'rewound', 'nobody', 'in-vain', 'spent')),
    -- How often an answer was taken back because later evidence disagreed.
    reopened integer not null default 0
) strict;

-- How likely each change of a range is the culprit; those of which nothing speaks are left out.
create table suspect (
    breakage_id integer not null references breakage on delete cascade,
    change_id integer not null references change,
    posterior real not null,
    primary key (breakage_id, change_id)
) strict, without rowid;
create index suspect_by_change on suspect (change_id);

-- Why a search asked for a build, and the bits that it was expected to tell.
create table probe (
    build_id integer primary key references build on delete cascade,
    breakage_id integer not null references breakage on delete cascade,
    purpose text not null check (purpose in ('base', 'head', 'confirm', 'divide')),
    bits real not null
) strict;
create index probe_by_breakage on probe (breakage_id);
