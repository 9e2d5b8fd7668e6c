-- What operators and owners decide about a worker, and what the owner hears by mail.

-- active; disabled: the operator lets it do nothing; removed: the farm has forgotten the machine, and only its name stays, for
-- the history of what it built. Only an approved worker is disabled or removed; others are refused or deleted.
alter table worker add column standing text not null default 'active' check (standing in ('active', 'disabled', 'removed'));
-- The owner's mail address. No page shows it.
alter table worker add column mail text;
-- From where it asked to join; null once it is approved.
alter table worker add column join_address text;
-- The key that it asks to have in place of its own; its first digits are the code that the operator approves.
alter table worker add column next_key blob check (length(next_key) = 32);
-- Why its owner has paused it, and until when, if that is known.
alter table worker add column pause_reason text;
alter table worker add column pause_until_ms integer;
-- protocol::WorkerTerms in JSON; null where the owner allows everything.
alter table worker add column terms text;
-- For how long it has been away while the master was up, how many mails said so, and the version that one called old.
alter table worker add column absent_ms integer not null default 0;
alter table worker add column absence_mails integer not null default 0;
alter table worker add column outdated_mailed text;

-- `barred_workers`.
create index worker_barred on worker (id) where standing <> 'active';
-- `next_key` is asked for at each approval.
create unique index worker_next_key on worker (next_key) where next_key is not null;
-- The bounds of what waits for approval.
create index worker_pending on worker (join_address) where state = 'pending';
-- The recent attempts of a worker, for its page.
create index attempt_by_worker on attempt (worker_id);
-- The culprits that a worker found.
create index breakage_found_by on breakage (search_worker_id, found_at_ms) where found = 'named';

-- Mails to the owner of one worker, and to nobody else.
create table owner_notice (
    id integer primary key,
    worker_id integer not null references worker,
    recipient text not null,
    subject text not null,
    body text not null,
    message_id text not null unique,
    state text not null check (state in ('waiting', 'failed')),
    decided_at_ms integer not null,
    tries integer not null default 0,
    next_try_at_ms integer not null,
    failure text
) strict;
create index owner_notice_waiting on owner_notice (next_try_at_ms) where state = 'waiting';
create index owner_notice_by_worker on owner_notice (worker_id);

-- `remove_worker`, `expire_joins`: what refers to a worker is looked up before its row is deleted.
create index proof_by_worker on proof (worker_id);
create index artifact_by_maker on artifact (maker_id);
create index artifact_by_only_worker on artifact (only_worker_id) where only_worker_id is not null;
create index breakage_by_search_worker on breakage (search_worker_id) where search_worker_id is not null;
create index build_by_only_worker on build (only_worker_id) where only_worker_id is not null;
