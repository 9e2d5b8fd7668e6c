-- Since when a change is known to break so many suites at once that it says more of the change than of each suite.
alter table branch_change add column sick_at_ms integer;
