-- Builds that ask for a project's newest revision, and what a project wants of a worker.

-- A CHECK is no data, so its words may be edited in place; adding a column, below, makes SQLite read them anew.
pragma writable_schema = on;
update sqlite_schema set sql = replace(sql, 'check (reason in (''tip'',', 'check (reason in (''latest'', ''tip'',')
    where type = 'table' and name = 'build';
pragma writable_schema = off;

-- What a worker must offer: JSON, ["postgresql", ...].
alter table project add column wants text not null default '[]';

create index build_latest on build (builder_id) where reason = 'latest';
