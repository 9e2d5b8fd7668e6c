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

-- Since when a change that the farm finds is news to it. 0 if it was there before the first change of its trunk: what a new
-- farm is told to look at is news. Else the time when it was first given a build to make; null before that.
alter table builder add column since_ms integer;
update builder set since_ms = 0;

-- `RepairedWithin`, and the breakages that a change repaired.
create index breakage_by_fixer on breakage (fixed_by_id) where fixed_by_id is not null;
