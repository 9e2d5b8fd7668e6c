insert or ignore into project_start (project_id, branch_id, build_id, ended_at_ms, worked_at_ms, notified_at_ms) values
    (1, 1, 1, 1000, null, null),
    (1, 2, 1, 1000, null, 2000);
insert into notice (id, kind, change_id, recipients, subject, body, message_id, in_reply_to, state, decided_at_ms, tries,
    next_try_at_ms, sent_at_ms, failure) values
    (7, 'first-result', 3, 'a@example.org', 'it works', 'body', '<7@example.org>', null, 'waiting', 470, 0, 470, null, null);
