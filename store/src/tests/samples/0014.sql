insert into new_failure (builder_id, case_id, change_id, with_inputs, reruns, seen_at_ms, confirmed_at_ms, notified_at_ms)
select (select min(id) from builder), (select min(id) from case_name), 3, 0, 1, 1000, 2000, null;
insert into backlog_claim (breakage_id, notice_id, culprit_id)
select (select min(id) from breakage), (select min(id) from notice), 3;
insert into notice_mention (notice_id, breakage_id)
select (select min(id) from notice), (select min(id) from breakage);
insert into notice (id, kind, change_id, recipients, subject, body, message_id, in_reply_to, state, decided_at_ms, tries,
    next_try_at_ms, sent_at_ms, failure) values
    (8, 'new-failure', 3, 'a@example.org', 'a case is new', 'body', '<8@example.org>', null, 'waiting', 480, 0, 480, null, null);
