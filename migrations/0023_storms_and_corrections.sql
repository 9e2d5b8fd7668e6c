-- Two more kinds of notice: a storm, which says that more has broken than one wants mail of, and a correction.
create table new_notice (
    id integer primary key,
    -- named: a culprit; spread: more projects; fixed; storm: too many culprits at once; correction: not it after all
    kind text not null check (kind in ('named', 'spread', 'fixed', 'storm', 'correction')),
    -- The thread: one culprit change. Of a storm, the first culprit that it keeps back.
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
insert into new_notice
    select id, kind, change_id, recipients, subject, body, message_id, in_reply_to, state, decided_at_ms, tries,
        next_try_at_ms, sent_at_ms, failure
    from notice;
drop table notice;
alter table new_notice rename to notice;
create index notice_waiting on notice (next_try_at_ms) where state = 'waiting';
create index notice_thread on notice (change_id);
create index notice_decided on notice (decided_at_ms);
