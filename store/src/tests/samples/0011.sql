insert into self_check (build_id, breakage_id, kind, asked_at_ms, result, ended_at_ms)
select (select min(id) from build), (select min(id) from breakage), 'culprit', 1, 'stood', 2;
insert into self_check_count (kind, result, checks) values ('culprit', 'stood', 1);
