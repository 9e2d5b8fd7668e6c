-- What is no longer kept, and since when: the row outlives its file, and pages say so.
alter table step add column log_pruned_at_ms integer;
alter table artifact add column pruned_at_ms integer;
-- SQLite takes a partial index only where the query says the same words.
create index step_kept on step (attempt_id, position) where log_pruned_at_ms is null and log_stored_bytes > 0;
