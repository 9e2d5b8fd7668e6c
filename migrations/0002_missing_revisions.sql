-- Since when the source of these project inputs has been missing at its repository: the revision was force-pushed away and
-- pruned, or that of a needed project.
alter table pin add column missing_since_ms integer;
