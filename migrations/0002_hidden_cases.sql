-- 1 if it failed already when it stopped being run: another breakage is about its failure.
alter table breakage_case add column hidden integer not null default 0 check (hidden in (0, 1));
