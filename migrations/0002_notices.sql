-- How many tests, beside its cases, the run that shows a breakage does not reach, since it ends before them. Counted once
-- its search has ended; null before that.
alter table breakage add column unreached integer;
-- Breakages that were decided before this column was there stay without a count.
update breakage set unreached = 0 where found is not null;

-- `uncounted_breakages`.
create index breakage_uncounted on breakage (unreached) where unreached is null and found is not null;

-- `RepairedWithin`, and the breakages that a change repaired.
create index breakage_by_fixer on breakage (fixed_by_id) where fixed_by_id is not null;
