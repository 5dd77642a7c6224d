-- Usage that is told later than its making, by the provider's id: which request's row carries it.
-- `opened_by` is NULL for what was not seen being made.
CREATE TABLE deferred_usage (
    response_id TEXT PRIMARY KEY,
    api TEXT NOT NULL,
    opened_by TEXT,
    opened_at INTEGER NOT NULL,
    settled_by TEXT
) STRICT, WITHOUT ROWID;

-- What was opened last is what is asked for; what was opened first expires.
CREATE INDEX deferred_usage_opened_at ON deferred_usage (opened_at);

-- When it was made, microseconds since 1970, where that is known: what it costs is by the prices of
-- then. NULL: by those of started_at.
ALTER TABLE requests ADD COLUMN priced_at INTEGER;
