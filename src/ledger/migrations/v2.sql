-- What is billed besides tokens, the provider's id of what was made, Tollgate's own count where a
-- provider stated none, and what of a billed answer its client received.

ALTER TABLE requests ADD COLUMN web_searches INTEGER;
ALTER TABLE requests ADD COLUMN file_searches INTEGER;
ALTER TABLE requests ADD COLUMN images INTEGER;
ALTER TABLE requests ADD COLUMN audio_ms INTEGER;
ALTER TABLE requests ADD COLUMN characters INTEGER;
ALTER TABLE requests ADD COLUMN cache_write_1h_tokens INTEGER;
ALTER TABLE requests ADD COLUMN other_tools INTEGER;
ALTER TABLE requests ADD COLUMN response_id TEXT;
ALTER TABLE requests ADD COLUMN deferral TEXT;
ALTER TABLE requests ADD COLUMN estimated_input_tokens INTEGER;
ALTER TABLE requests ADD COLUMN estimated_output_tokens INTEGER;
ALTER TABLE requests ADD COLUMN estimated_cost_nanousd INTEGER;
ALTER TABLE requests ADD COLUMN delivered_output_tokens INTEGER;
ALTER TABLE requests ADD COLUMN upstream_bytes INTEGER;

ALTER TABLE usage_minutely ADD COLUMN partial_requests INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_minutely ADD COLUMN estimated_requests INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_minutely ADD COLUMN web_searches INTEGER;
ALTER TABLE usage_minutely ADD COLUMN file_searches INTEGER;
ALTER TABLE usage_minutely ADD COLUMN images INTEGER;
ALTER TABLE usage_minutely ADD COLUMN audio_ms INTEGER;
ALTER TABLE usage_minutely ADD COLUMN characters INTEGER;
ALTER TABLE usage_minutely ADD COLUMN cache_write_1h_tokens INTEGER;
ALTER TABLE usage_minutely ADD COLUMN other_tools INTEGER;
ALTER TABLE usage_minutely ADD COLUMN estimated_cost_nanousd INTEGER;
