-- Of how many changes a search's range was when it was widest: history that is made meanwhile narrows it.
alter table search add column changes integer not null default 0;
