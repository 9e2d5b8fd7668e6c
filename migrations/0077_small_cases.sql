-- Most of a case's name is the name of its file and class, which many cases share: it is kept once. Hashes are 32 bits
-- long: equality is asked all the same, and of a million names some hundred share theirs with another.

create table case_scope (
    id integer primary key,
    text text not null unique
) strict;
insert into case_scope (id, text) values (1, '');

-- The names of an older database get their scope and hash when it is opened.
create table new_case_name (
    id integer primary key,
    hash integer,
    scope_id integer not null references case_scope,
    -- What is behind the scope.
    leaf text not null
) strict;
insert into new_case_name (id, scope_id, leaf) select id, 1, name from case_name;
drop table case_name;
alter table new_case_name rename to case_name;
create index case_name_by_hash on case_name (hash);

create view named_case as
    select n.id, n.hash, s.text || n.leaf as name from case_name n join case_scope s on s.id = n.scope_id;

-- Texts of an older database are not shared with newer ones.
update case_text set hash = null;

-- One letter a verdict, as in `build.verdicts`.
create table new_transition (
    case_id integer not null references case_name,
    build_id integer not null references build,
    was text check (was in ('P', 'x', 'S', 'X', 'U', 'M', 'F', 'E')),
    became text not null check (became in ('P', 'x', 'S', 'X', 'U', 'M', 'F', 'E')),
    primary key (case_id, build_id)
) strict, without rowid;
with letter (word, letter) as (values
    ('pass', 'P'), ('xfail', 'x'), ('skip', 'S'), ('xpass', 'X'),
    ('unreached', 'U'), ('missing', 'M'), ('fail', 'F'), ('error', 'E'))
insert into new_transition
    select t.case_id, t.build_id, (select letter from letter where word = t.was), l.letter
    from transition t join letter l on l.word = t.became;
drop table transition;
alter table new_transition rename to transition;
create index transition_by_build on transition (build_id);
