insert into fetch_failure (builder_id, build_id, step, message, is_checked, since_ms)
select builder_id, id, 'deps', 'no route to host', 1, 5 from build order by id limit 1;
insert into selected_run (build_id, cases) select min(id), '[1]' from build;
insert into selection_withdrawn (project_id, recipe_sha256, breakage_id, at_ms, why)
select (select min(id) from project), (select min(sha256) from recipe), (select min(id) from breakage), 7, 'unreported';
