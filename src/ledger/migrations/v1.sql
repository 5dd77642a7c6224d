-- STRICT: a value of the wrong type is an error and not a surprise for a reader.

CREATE TABLE requests (
    -- Counts rows in the order they were recorded; `meta` keeps the last one given, so that none
    -- comes twice (a follower's place stays valid after old rows expire).
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    channel TEXT,
    key TEXT,
    api TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    requested_model TEXT,
    served_model TEXT,
    service_tier TEXT,
    stream INTEGER,
    status INTEGER,
    outcome TEXT NOT NULL,
    error_source TEXT,
    error_code TEXT,
    error_message TEXT,
    attempts INTEGER,
    input_tokens INTEGER,
    input_cached_tokens INTEGER,
    input_cache_write_tokens INTEGER,
    output_tokens INTEGER,
    reasoning_tokens INTEGER,
    input_audio_tokens INTEGER,
    output_audio_tokens INTEGER,
    input_image_tokens INTEGER,
    output_image_tokens INTEGER,
    total_tokens INTEGER,
    usage_source TEXT NOT NULL,
    cost_nanousd INTEGER,
    price_version TEXT,
    read_request_us INTEGER,
    admit_us INTEGER,
    connect_us INTEGER,
    wait_us INTEGER,
    first_byte_us INTEGER,
    first_token_us INTEGER,
    stream_us INTEGER,
    total_us INTEGER,
    overhead_us INTEGER,
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER,
    upstream_request_id TEXT,
    session TEXT,
    end_user TEXT,
    tags TEXT,
    source TEXT NOT NULL
) STRICT;

-- One request by its id; also what keeps a request from having two rows. Ids are UUIDv7, so new
-- ones go to the index's end.
CREATE UNIQUE INDEX requests_id ON requests (id);

-- Ranges of time, the newest first, and what has expired. New entries go near the end. Filters by
-- channel, model, key and the like walk this index: an index each would cost every request more
-- than it saves the rare listing.
CREATE INDEX requests_started_at ON requests (started_at);

-- Without a rowid the table is the index it is read by.
CREATE TABLE attempts (
    request_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    channel TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER,
    error_code TEXT,
    connect_us INTEGER,
    wait_us INTEGER,
    PRIMARY KEY (request_id, n)
) STRICT, WITHOUT ROWID;

-- Sums over the requests that started in a minute. In the key, '' stands for none: NULLs are
-- distinct in a key. A sum is NULL while no request stated anything to add up. The key leads with
-- the minute: every question has a range of time.
CREATE TABLE usage_minutely (
    minute INTEGER NOT NULL,
    channel TEXT NOT NULL,
    model TEXT NOT NULL,
    api TEXT NOT NULL,
    key TEXT NOT NULL,
    requests INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    ok_requests INTEGER NOT NULL,
    upstream_error_requests INTEGER NOT NULL,
    rate_limited_requests INTEGER NOT NULL,
    quota_exhausted_requests INTEGER NOT NULL,
    timeout_requests INTEGER NOT NULL,
    connect_error_requests INTEGER NOT NULL,
    client_closed_requests INTEGER NOT NULL,
    blocked_requests INTEGER NOT NULL,
    refused_requests INTEGER NOT NULL,
    no_channel_requests INTEGER NOT NULL,
    interrupted_requests INTEGER NOT NULL,
    internal_requests INTEGER NOT NULL,
    unpriced_requests INTEGER NOT NULL,
    missing_usage_requests INTEGER NOT NULL,
    input_tokens INTEGER,
    input_cached_tokens INTEGER,
    input_cache_write_tokens INTEGER,
    output_tokens INTEGER,
    reasoning_tokens INTEGER,
    input_audio_tokens INTEGER,
    output_audio_tokens INTEGER,
    input_image_tokens INTEGER,
    output_image_tokens INTEGER,
    total_tokens INTEGER,
    cost_nanousd INTEGER,
    total_us_sum INTEGER NOT NULL,
    total_us_count INTEGER NOT NULL,
    first_token_us_sum INTEGER NOT NULL,
    first_token_us_count INTEGER NOT NULL,
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    PRIMARY KEY (minute, channel, model, api, key)
) STRICT, WITHOUT ROWID;

-- Up to where each journal stream is in the tables above, and from where it has to be read again
-- at a start to know the requests that were open there.
CREATE TABLE journal_streams (
    stream TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    resume_from INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Requests that have been open for so long that the journal before them shall not be kept.
CREATE TABLE admissions (
    id TEXT PRIMARY KEY,
    stream TEXT NOT NULL,
    payload BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta (name, value) VALUES ('last_sequence', 0);
