-- Builders that cannot fetch what they need, although no change is to blame; until a fetch of theirs succeeds.
create table fetch_failure (
    builder_id integer primary key references builder,
    -- The last build whose fetch step failed in each attempt.
    build_id integer not null references build,
    pin_id integer references pin,
    step text not null,
    -- The last lines that look like errors.
    message text,
    -- Whether a change that was fetched before cannot be fetched any more either.
    is_checked integer not null check (is_checked in (0, 1)),
    since_ms integer not null,
    -- When its project's contacts were informed, or it was known that they need not be.
    notified_at_ms integer
) strict;

-- How far an attempt has fetched what it needs, in a sentence. It says nothing once the first step has started.
alter table attempt add column progress text;
-- How far the fetch of a trunk is that is under way, in a sentence.
alter table trunk add column progress text;
