insert into case_takeover (build_id, case_id, was)
    select build_id, case_id, 'error: cannot greet' from case_failure limit 1;
