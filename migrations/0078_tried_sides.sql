-- Whether a project side has come to a verdict is asked of each waiting build, at each round of the dispatcher.
create index build_tried on build (pin_id)
    where outcome in ('passed', 'failed') and reason in ('tip', 'backfill', 'seam');
