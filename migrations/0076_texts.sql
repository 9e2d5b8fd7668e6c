-- Long texts are found by the first 64 bits of their SHA-256 instead of a second copy of each in an index. Equality is
-- always asked of the text as well: a hash of so few bits may be met by another.

-- A hash that is still null is filled in when the database is opened.
create table new_case_name (
    id integer primary key,
    hash integer,
    name text not null
) strict;
insert into new_case_name (id, name) select id, name from case_name;
drop table case_name;
alter table new_case_name rename to case_name;
create index case_name_by_hash on case_name (hash);

-- What is red for long says the same in each build: it is kept once. Of what was kept before this there is no hash.
create table case_text (
    id integer primary key,
    hash integer,
    text text not null
) strict;
insert into case_text (id, text) select row_number() over (order by build_id, case_id), text from case_note;
create index case_text_by_hash on case_text (hash) where hash is not null;

create table new_case_note (
    build_id integer not null references build,
    case_id integer not null references case_name,
    duration_ms integer,
    text_id integer not null references case_text,
    primary key (build_id, case_id)
) strict, without rowid;
insert into new_case_note
    select build_id, case_id, duration_ms, row_number() over (order by build_id, case_id) from case_note;
drop table case_note;
alter table new_case_note rename to case_note;
