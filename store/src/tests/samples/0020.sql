insert into unreached_case (build_id, case_id) select (select min(id) from build), (select min(id) from case_name);
