insert into missing_ref (id, trunk_id, project_id, kind, name, since_ms, head, present, more) values
    (1, 1, null, 'branch', 'next', 1000, 'main', '["main"]', 0),
    (2, 1, 1, 'tag', 'v2', 1000, null, '["v1"]', 3);
