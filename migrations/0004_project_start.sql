-- New kinds of notices: first-result, to a project's contacts when its first build on a branch has ended, and backlog, what
-- old changes broke in a project that the farm began to test after them. SQLite can only change a CHECK by a new table.
create table notice_next (
    id integer primary key,
    -- project-inputs: they made cases worse; named: a culprit; spread: more projects; fixed; storm: too many culprits at
    -- once; correction: not the culprit after all; first-result: a project's first build has ended; backlog: what old
    -- changes broke
    kind text not null check (kind in
        ('project-inputs', 'named', 'spread', 'fixed', 'storm', 'correction', 'first-result', 'backlog')),
    -- The thread: one culprit change. For a storm, the first culprit that it holds back. For a first result, the change that
    -- the build ran with; for a backlog, the newest one.
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
insert into notice_next select id, kind, change_id, recipients, subject, body, message_id, in_reply_to, state, decided_at_ms,
    tries, next_try_at_ms, sent_at_ms, failure from notice;
drop table notice;
alter table notice_next rename to notice;
create index notice_waiting on notice (next_try_at_ms) where state = 'waiting';
create index notice_thread on notice (change_id);
create index notice_decided on notice (decided_at_ms);

-- How a project began on a branch.
create table project_start (
    project_id integer not null references project,
    branch_id integer not null references branch,
    -- Its first history build there that ended with a result, and when.
    build_id integer not null references build,
    ended_at_ms integer not null,
    -- Since when a build has shown that it works: a case of its own passed, or a suite without cases did. Null: it never has.
    worked_at_ms integer,
    -- When its contacts were informed of the first build.
    notified_at_ms integer,
    primary key (project_id, branch_id)
) strict, without rowid;

-- For the foreign key.
create index project_start_by_build on project_start (build_id);
create index project_start_unnotified on project_start (ended_at_ms) where notified_at_ms is null;
create index project_start_unworked on project_start (ended_at_ms) where worked_at_ms is null;

-- The contacts of a project that is registered already get no mail about its beginning.
insert into project_start (project_id, branch_id, build_id, ended_at_ms, worked_at_ms, notified_at_ms)
    select r.project_id, r.branch_id, min(b.id), min(b.finished_at_ms),
        min(case when b.outcome = 'passed' or coalesce(b.passes, 0) > (select count(*) from step s
            where s.attempt_id = b.attempt_id and s.ending ->> 'how' = 'exit' and s.ending ->> 'code' = 0)
            then b.finished_at_ms end),
        min(b.finished_at_ms)
    from build b join builder r on r.id = b.builder_id
    where r.project_id is not null and b.makes_history and b.outcome in ('passed', 'failed', 'infra')
    group by r.project_id, r.branch_id;
