-- 1 if it failed already when it stopped being run: another breakage is about its failure.
alter table breakage_case add column hidden integer not null default 0 check (hidden in (0, 1));
-- 1 if it is good again, with proof, while other cases of the breakage are not.
alter table breakage_case add column repaired integer not null default 0 check (repaired in (0, 1));
