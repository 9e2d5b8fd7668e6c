-- How many results in a row of a worker on probation agreed with others'.
alter table worker add column agreements integer not null default 0;
