insert into owner_notice (id, worker_id, recipient, subject, body, message_id, state, decided_at_ms, tries, next_try_at_ms,
    failure)
select 1, min(id), 'ada@example.org', 'it is away', 'body', '<owner.1@example.org>', 'waiting', 500, 0, 500, null from worker;
