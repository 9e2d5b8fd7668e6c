insert into proof (breakage_id, worker_id, passes_before, failures_before, passes_with, failures_with)
select (select min(id) from breakage), (select min(id) from worker), 3, 0, 0, 3;
insert into unstable_suite (project_id, builder_id, case_id, seen_at_ms, notified_at_ms)
select (select min(id) from project), (select min(id) from builder), (select min(id) from case_name), 1000, null;
