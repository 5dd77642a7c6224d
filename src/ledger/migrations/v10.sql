-- In which minutes of an hour somebody had requests, a bit for each minute, by where their usage comes
-- from and of those without a price; how long the longest took, and what the dearest cost. Listings
-- find rows by it. In the key, '' stands for none. It may say more than there is (rows expire, prices
-- change), never less.
CREATE TABLE requests_hourly (
    hour INTEGER NOT NULL,
    channel TEXT NOT NULL,
    model TEXT NOT NULL,
    api TEXT NOT NULL,
    key TEXT NOT NULL,
    longest_us INTEGER,
    dearest_nanousd INTEGER,
    reported_minutes INTEGER NOT NULL,
    partial_minutes INTEGER NOT NULL,
    estimated_minutes INTEGER NOT NULL,
    missing_minutes INTEGER NOT NULL,
    none_minutes INTEGER NOT NULL,
    unpriced_minutes INTEGER NOT NULL,
    PRIMARY KEY (hour, channel, model, api, key)
) STRICT, WITHOUT ROWID;
INSERT INTO requests_hourly SELECT hour, channel, model, api, key, max(longest_us),
    max(dearest_nanousd), sum(reported << minute), sum(partial << minute), sum(estimated << minute),
    sum(missing << minute), sum(none << minute), sum(unpriced << minute)
FROM (
    SELECT started_at / 3600000000 * 3600000000 AS hour, coalesce(channel, '') AS channel,
        coalesce(served_model, requested_model, '') AS model, api, coalesce(key, '') AS key,
        started_at / 60000000 % 60 AS minute, max(total_us) AS longest_us,
        max(cost_nanousd) AS dearest_nanousd,
        max(usage_source = 'reported') AS reported, max(usage_source = 'partial') AS partial,
        max(usage_source = 'estimated') AS estimated, max(usage_source = 'missing') AS missing,
        max(usage_source = 'none') AS none,
        max(cost_nanousd IS NULL AND usage_source IN ('reported', 'partial', 'estimated')) AS unpriced
    FROM requests GROUP BY 1, 2, 3, 4, 5, 6
) GROUP BY 1, 2, 3, 4, 5;

-- With how long they took and what they cost, so that the slowest and the dearest of an hour are found
-- without their rows. The sequence number, so that the order of the index is that of a listing.
DROP INDEX requests_started_at;
CREATE INDEX requests_started_at ON requests (started_at, sequence, total_us, cost_nanousd);

-- What did not end well, with all that a listing chooses by. Few enough to be walked.
CREATE INDEX requests_failed ON requests (started_at, sequence, total_us, cost_nanousd, outcome, status,
    channel, coalesce(served_model, requested_model), api, key)
WHERE outcome <> 'ok' OR status <> 200;

-- A conversation, hour by hour: new entries go near the end, as they would not by its name alone.
CREATE INDEX requests_session ON requests (started_at / 3600000000, session, started_at)
WHERE session IS NOT NULL;
