-- An older version took changes for rewound that the tip contained. 1: what it marked on this branch was examined.
alter table branch add column rewinds_checked integer not null default 0 check (rewinds_checked in (0, 1));
