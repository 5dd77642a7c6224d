-- Costs that a later price changed, with what they were. A row goes with its request.
CREATE TABLE repricings (
    request_id TEXT NOT NULL,
    run INTEGER NOT NULL,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    old_cost_nanousd INTEGER,
    new_cost_nanousd INTEGER NOT NULL,
    old_price_version TEXT,
    new_price_version TEXT NOT NULL,
    PRIMARY KEY (request_id, run)
) STRICT, WITHOUT ROWID;

-- Each time that history was priced anew and something changed. Kept for ever, as the roll-ups are
-- that it changed. Without finished_at it was cut off, or is at work.
CREATE TABLE repricing_runs (
    run INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    model TEXT,
    requests INTEGER NOT NULL,
    newly_priced INTEGER NOT NULL,
    difference_nanousd INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
