-- Declared caches: which attempts had them, and where a run without them showed something else.

-- The newest `cache_disagreement` of the trunk when the attempt was offered, 0 if there was none. Null: it went without caches.
alter table attempt add column cache_epoch integer;

create table cache_disagreement (
    id integer primary key,
    trunk_id integer not null references trunk,
    -- Null: of the trunk's own recipe.
    project_id integer references project,
    -- The last run without caches that showed it.
    build_id integer not null references build on delete cascade,
    found_at_ms integer not null,
    cases integer not null,
    -- The name of one of the cases.
    example text not null
) strict;

-- `cache_epochs`.
create index cache_disagreement_of on cache_disagreement (trunk_id, project_id);
-- `cache_disagreements`.
create index cache_disagreement_found on cache_disagreement (found_at_ms);
-- For the deletion of a build.
create index cache_disagreement_by_build on cache_disagreement (build_id);
