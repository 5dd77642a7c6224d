-- Clients' own keys. What a client shows is not here, only its keyed hash (HMAC-SHA-256), whose
-- secret lies beside the database. A key that was revoked keeps its row: that there ever was one is
-- what makes a key required. `grant` is JSON; NULL in expires_at never expires.
CREATE TABLE keys (
    hash BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    grant TEXT NOT NULL,
    made_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A name may be used again once its key is revoked.
CREATE UNIQUE INDEX keys_name ON keys (name) WHERE revoked_at IS NULL;
