insert into fetch_failure (builder_id, build_id, step, message, is_checked, since_ms)
select builder_id, id, 'deps', 'no route to host', 1, 5 from build order by id limit 1;
