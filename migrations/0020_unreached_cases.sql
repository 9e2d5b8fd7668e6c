-- Cases of breakages, and cases with transitions, that a history build did not reach: it is no evidence of what they do there.
create table unreached_case (
    build_id integer not null references build on delete cascade,
    case_id integer not null references case_name,
    primary key (build_id, case_id)
) strict, without rowid;

create index unreached_case_by_case on unreached_case (case_id);
