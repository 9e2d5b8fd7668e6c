-- The null runs of a builder are read when a search ends without a change to blame.
create index build_null on build (builder_id, id) where reason = 'null';
