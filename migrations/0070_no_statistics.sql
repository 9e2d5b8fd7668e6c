-- Statistics of a young farm's small tables make SQLite scan them when they have grown: each query is written for its index.
drop table if exists sqlite_stat1;
drop table if exists sqlite_stat4;
