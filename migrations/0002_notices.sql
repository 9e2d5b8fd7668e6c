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

-- A kind of notice was added: backlog, what old changes broke in a project that the farm began to test after them.
create table new_notice (
    id integer primary key,
    kind text not null check (kind in ('project-inputs', 'named', 'spread', 'fixed', 'storm', 'correction', 'backlog')),
    -- The thread: one culprit change. For a storm, the first culprit that it holds back; for a backlog, the newest one.
    change_id integer not null references change,
    recipients text not null,
    subject text not null,
    body text not null,
    message_id text not null unique,
    in_reply_to text,
    state text not null check (state in ('waiting', 'sent', 'failed')),
    decided_at_ms integer not null,
    tries integer not null default 0,
    next_try_at_ms integer not null,
    sent_at_ms integer,
    failure text,
    check ((state = 'sent') = (sent_at_ms is not null))
) strict;
insert into new_notice select * from notice;
drop table notice;
alter table new_notice rename to notice;
-- `next_notice` and `mail_failing`.
create index notice_waiting on notice (next_try_at_ms) where state = 'waiting';
-- `thread` and `waiting_notices`.
create index notice_thread on notice (change_id);
-- `notices_to`.
create index notice_decided on notice (decided_at_ms);

-- `RepairedWithin`, and the breakages that a change repaired.
create index breakage_by_fixer on breakage (fixed_by_id) where fixed_by_id is not null;
