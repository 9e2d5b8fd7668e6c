-- How many tests, beside its cases, the run that shows a breakage does not reach, since it ends before them. Counted once
-- its search has ended; null before that.
alter table breakage add column unreached integer;
-- Breakages that were decided before this column was there stay without a count.
update breakage set unreached = 0 where found is not null;

-- `uncounted_breakages`.
create index breakage_uncounted on breakage (unreached) where unreached is null and found is not null;

-- Why no mail reports a breakage with a culprit. over: it was over when it was found; old: its culprit is older than its
-- builder, and the contacts of the project know it, or there are none.
alter table breakage add column unmailed text check (unmailed in ('over', 'old'));

-- When it was first given a build to make: what is older is no news. Null before that.
alter table builder add column since_ms integer;
update builder set since_ms = 0;

-- `RepairedWithin`, and the breakages that a change repaired.
create index breakage_by_fixer on breakage (fixed_by_id) where fixed_by_id is not null;
