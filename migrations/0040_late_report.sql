-- What an attempt told after it was taken from its worker: evidence of what that worker saw, never its build's outcome.
create table late_report (
    attempt_id integer primary key references attempt,
    told_at_ms integer not null,
    outcome text not null check (outcome in ('passed', 'failed', 'infra', 'cancelled')),
    cause text,
    -- The name of the step that decided.
    cause_step text,
    case_list_id integer references case_list,
    -- As of a build: zstd of one letter a case, in the list's order.
    verdicts blob,
    complete integer check (complete in (0, 1)),
    check ((case_list_id is null) = (verdicts is null)),
    check ((case_list_id is null) = (complete is null))
) strict;
