-- What the culprits that were named on a trunk show about the classes of suspicion of the changes in their ranges. A row
-- whose breakage is not named any more does not count.
create table suspicion_record (
    trunk_id integer not null references trunk on delete cascade,
    breakage_id integer not null references breakage on delete cascade,
    class text not null check (class in ('documents', 'unrelated', 'same-folder', 'same-module', 'named')),
    -- 1 if the culprit is in the class, else 0.
    culprits integer not null,
    -- The probability of that by the weights before anything was learnt.
    expected real not null,
    primary key (trunk_id, breakage_id, class)
) strict, without rowid;

-- For the deletion of a breakage.
create index suspicion_record_by_breakage on suspicion_record (breakage_id);
