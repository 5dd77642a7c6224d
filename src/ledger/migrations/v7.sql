-- What budgets count for a request whose cost is not known and may not be nothing; NULL once it has
-- a cost.
ALTER TABLE requests ADD COLUMN assumed_cost_nanousd INTEGER;

-- 0 for what cannot be billed: listing, retrieving, managing. Rules are not asked for such requests and
-- do not count them. Of requests of earlier versions nobody knows; they count.
ALTER TABLE requests ADD COLUMN billable INTEGER NOT NULL DEFAULT 1;

-- The most that a request may have used of which a budget held something and whose usage may still come:
-- nobody saw its end, or it is told later. All NULL of others. Where nobody can say how much it may
-- have been, worst_unbounded is 1 and what is not known is NULL.
ALTER TABLE requests ADD COLUMN worst_unbounded INTEGER;
ALTER TABLE requests ADD COLUMN worst_cost_nanousd INTEGER;
ALTER TABLE requests ADD COLUMN worst_input_tokens INTEGER;
ALTER TABLE requests ADD COLUMN worst_output_tokens INTEGER;
CREATE INDEX requests_worst ON requests (started_at) WHERE worst_unbounded IS NOT NULL;

-- What rules see of requests, summed by the minutes they ended and started in. Not of those that
-- Tollgate turned away itself (blocked, refused, no_channel), nor of what cannot be billed. A request
-- that only brings the usage of an earlier one (deferral is settled) counts in `settled` and with its
-- cost and tokens, and in nothing else. In the key, '' stands for none. A cost that is not known is the assumed one. The distributions are bytes of Tollgate's own, merged by it.
CREATE TABLE window_minutely (
    ended_minute INTEGER NOT NULL,
    started_minute INTEGER NOT NULL,
    channel TEXT NOT NULL,
    requested_model TEXT NOT NULL,
    served_model TEXT NOT NULL,
    api TEXT NOT NULL,
    key TEXT NOT NULL,
    requests INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    cost_nanousd INTEGER,
    total_tokens INTEGER,
    input_tokens INTEGER,
    output_tokens INTEGER,
    latency_us BLOB NOT NULL,
    ttft_us BLOB NOT NULL,
    pace_milli BLOB NOT NULL,
    PRIMARY KEY (ended_minute, started_minute, channel, requested_model, served_model, api, key)
) STRICT, WITHOUT ROWID;

-- Each change of an alert, in the order of recording: the last one of a rule and labels is what it
-- is. Numbers are never used twice. `labels` is a JSON object in the order of its names, `actions` a
-- JSON list. Values and limits are whole numbers of the finest part of their unit: nano-dollars,
-- millionths of a ratio, microseconds, thousandths of tokens a second.
CREATE TABLE alert_events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    rule TEXT NOT NULL,
    labels TEXT NOT NULL,
    state TEXT NOT NULL,
    severity TEXT,
    mode TEXT NOT NULL,
    active_since INTEGER,
    fired_at INTEGER,
    cleared_since INTEGER,
    value INTEGER,
    value_unit TEXT,
    limit_value INTEGER,
    limit_unit TEXT,
    window_end INTEGER,
    actions TEXT NOT NULL,
    critical_since INTEGER,
    critical_cleared_since INTEGER,
    -- 0 where it is kept for the sake of a restart only.
    told INTEGER NOT NULL
) STRICT;

-- The last one of each alert.
CREATE INDEX alert_events_alert ON alert_events (rule, labels, sequence);

-- One rule's, the newest first.
CREATE INDEX alert_events_rule ON alert_events (rule, sequence);

-- Where a range of time begins and ends; what has expired.
CREATE INDEX alert_events_at ON alert_events (at);

-- What each alert is now.
CREATE VIEW alert_states AS SELECT rule, labels, state, severity, mode, at, active_since, fired_at,
    cleared_since, value, value_unit, limit_value, limit_unit, window_end, actions
FROM alert_events WHERE sequence IN (SELECT max(sequence) FROM alert_events GROUP BY rule, labels);

-- Times in which alerts tell nobody. `matchers` is a JSON list; ended_at is set when one is ended
-- before its time.
CREATE TABLE silences (
    id TEXT PRIMARY KEY,
    matchers TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    comment TEXT NOT NULL,
    ended_at INTEGER
) STRICT, WITHOUT ROWID;
