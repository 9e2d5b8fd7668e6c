-- What a named culprit showed about the classes of its range.

insert into suspicion_record (trunk_id, breakage_id, class, culprits, expected) values
    (1, 1, 'named', 1, 0.6), (1, 1, 'same-module', 0, 0.25), (1, 1, 'same-folder', 0, 0.1),
    (1, 1, 'unrelated', 0, 0.049), (1, 1, 'documents', 0, 0.001);
