insert into cache_disagreement (trunk_id, project_id, build_id, found_at_ms, cases, example)
select (select min(id) from trunk), null, (select min(id) from build), 2, 1, 'a';
