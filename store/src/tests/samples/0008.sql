insert into toolchain_inputs (id, builder_id, state, recipe_sha256, proposed_at_ms, since_ms)
select 1, id, 'current', (select sha256 from recipe limit 1), 1, 2 from builder where kind = 'toolchain' limit 1;
