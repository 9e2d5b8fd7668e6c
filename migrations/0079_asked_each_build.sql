-- What each build asks, whatever a builder's past: its flaky cases, and whether a fetch worked since.
create index breakage_flaky on breakage (builder_id, found_at_ms) where found = 'flaky';
create index step_fetched on step (ended_at_ms) where kind = 'fetch';
