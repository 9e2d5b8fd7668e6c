-- New kinds of notices, all of them for the contacts of one project: new-failure, cases that are new and fail from their first
-- run; backlog-fixed and backlog-correction, what became of what a backlog reported. SQLite can only change a CHECK by a new
-- table.
create table notice_next (
    id integer primary key,
    -- project-inputs: they made cases worse; named: a culprit; spread: more projects; fixed; storm: too many culprits at
    -- once; correction: not the culprit after all; first-result: a project's first build has ended; backlog: what old
    -- changes broke; backlog-fixed: that is repaired; backlog-correction: that was not so; new-failure: cases are new, and
    -- fail from their first run
    kind text not null check (kind in
        ('project-inputs', 'named', 'spread', 'fixed', 'storm', 'correction', 'first-result', 'backlog', 'backlog-fixed',
            'backlog-correction', 'new-failure')),
    -- The thread: one culprit change. For a storm, the first culprit that it holds back. For a first result, the change that
    -- the build ran with; for a backlog, the newest one, and so for what became of it; for new failures, the change at which
    -- they were first reported.
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

-- Cases of suites that were never run before and fail from their first run on. When such a case passes, is no longer run, or
-- belongs to a breakage, its row stays as one of the past: it explains why its step failed then. Other rows go, such as those
-- whose history is rewound.
create table new_failure (
    builder_id integer not null references builder,
    case_id integer not null references case_name,
    -- The change at which it was first run.
    change_id integer not null references change,
    -- Whether other project inputs or toolchain inputs begin there.
    with_inputs integer not null check (with_inputs in (0, 1)),
    -- In how many null runs of that change it failed, too.
    reruns integer not null default 0,
    seen_at_ms integer not null,
    -- When so many runs had shown it that it is news.
    confirmed_at_ms integer,
    -- When the contacts of the project were informed, or need not be any more.
    notified_at_ms integer,
    -- Since when it is past.
    ended_at_ms integer,
    primary key (builder_id, case_id)
) strict, without rowid;
create index new_failure_by_change on new_failure (change_id);
create index new_failure_unnotified on new_failure (confirmed_at_ms)
    where confirmed_at_ms is not null and notified_at_ms is null and ended_at_ms is null;

-- What a backlog has reported to the contacts of a project and is still to be followed up: a row goes with the mail that says
-- what became of it, or when the breakage is gone.
create table backlog_claim (
    breakage_id integer primary key references breakage,
    -- The backlog: what follows replies to it.
    notice_id integer not null references notice,
    -- The change that was named last.
    culprit_id integer not null references change
) strict;
create index backlog_claim_by_notice on backlog_claim (notice_id);

-- Backlogs that were sent before: their breakages that are not over yet.
insert into backlog_claim (breakage_id, notice_id, culprit_id)
    select nb.breakage_id, max(n.id), b.culprit_id
    from notice n join notice_breakage nb on nb.notice_id = n.id join breakage b on b.id = nb.breakage_id
    where n.kind = 'backlog' and b.ended_at_ms is null and b.culprit_id is not null
    group by nb.breakage_id;

-- The old breakages that a mail of a culprit's thread mentions in one line. The later mails of the thread do not.
create table notice_mention (
    notice_id integer not null references notice,
    breakage_id integer not null references breakage,
    primary key (breakage_id, notice_id)
) strict, without rowid;
