-- A search counts what it has cost since it was last split, so the breakages that left another one are looked up by it.
create index breakage_by_origin on breakage (split_from_id) where split_from_id is not null;
