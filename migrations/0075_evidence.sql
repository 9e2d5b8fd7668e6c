-- What a run said of a case stands in its build's packed verdicts. Rows of their own, one a case of each open breakage and
-- run, were the most of the database, and were read again at each build.
drop table evidence;
-- Whether a run told of its range since it was last looked at.
alter table search add column told integer not null default 0 check (told in (0, 1));
