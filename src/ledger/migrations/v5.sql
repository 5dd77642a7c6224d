-- Each change of an owner's hold on a channel's gate. In the order of recording, which is the
-- journal's: the last one of a channel and owner is what holds. Numbers are never used twice.
CREATE TABLE channel_events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    channel TEXT NOT NULL,
    owner TEXT NOT NULL,
    hold TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    until INTEGER,
    who TEXT,
    note TEXT
) STRICT;

-- The last one of each channel and owner.
CREATE INDEX channel_events_owner ON channel_events (channel, owner, sequence);

-- One channel's, the newest first.
CREATE INDEX channel_events_channel ON channel_events (channel, sequence);

-- Where a range of time begins and ends; what has expired.
CREATE INDEX channel_events_at ON channel_events (at);
