-- A hash of what a builder's breakages were last judged by (its history, and what is left out as noise). Where only one
-- build came to that since, the other cases need no second look.
alter table builder add column settled blob check (length(settled) = 32);
-- Cases of breakages that changed by that, as a JSON list of numbers: these need one.
alter table builder add column unsettled text not null default '[]';

-- A builder's history is asked for at each of its builds: so it is read in one piece, without the builds themselves.
create index build_history on build
    (builder_id, change_id, pin_id, reason, outcome, same_as_id, complete, passes, bads)
    where outcome in ('passed', 'failed') and reason in ('tip', 'backfill', 'seam');
create index breakage_not_over on breakage (builder_id) where ended_at_ms is null;
