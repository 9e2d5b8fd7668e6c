-- Where another change took a case of an open breakage over: at this history build it goes on failing, for another reason.
create table case_takeover (
    build_id integer not null references build on delete cascade,
    case_id integer not null references case_name,
    -- The signature of the message with which it failed until then.
    was text not null,
    primary key (build_id, case_id)
) strict, without rowid;

create index case_takeover_by_case on case_takeover (case_id);
