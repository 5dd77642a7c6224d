-- What was told to whom, in the order of recording. While `result` is NULL it is still to be sent; from
-- then on settled_at and attempts are there too. settled_by is the notification that was sent in the
-- place of one that was merged or replaced. What is large comes last: lists do not read it. Numbers are
-- never used twice.
CREATE TABLE notifications (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    receiver TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    group_key TEXT NOT NULL,
    title TEXT NOT NULL,
    deadline INTEGER NOT NULL,
    settled_at INTEGER,
    result TEXT,
    attempts INTEGER,
    reference TEXT,
    settled_by TEXT,
    error TEXT,
    content TEXT NOT NULL,
    told TEXT NOT NULL
) STRICT;

-- One by its id: whose fate it is, and that none is there twice.
CREATE UNIQUE INDEX notifications_id ON notifications (id);

-- What is still to be sent.
CREATE INDEX notifications_open ON notifications (sequence) WHERE result IS NULL;

-- The last one of each conversation.
CREATE INDEX notifications_group ON notifications (receiver, group_key, sequence);

-- One receiver's, the newest first.
CREATE INDEX notifications_receiver ON notifications (receiver, sequence);

-- Where a range of time begins and ends; what has expired.
CREATE INDEX notifications_at ON notifications (at);

-- What was answered or commanded from chats, in the order of recording. `nonce` makes a signed answer
-- work once and is to be remembered until expires_at; its 64 bits are stored as a signed number.
CREATE TABLE chat_answers (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    receiver TEXT NOT NULL,
    who TEXT NOT NULL,
    asked TEXT NOT NULL,
    subject TEXT NOT NULL,
    done INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    nonce INTEGER,
    expires_at INTEGER
) STRICT;

-- What is to be remembered.
CREATE INDEX chat_answers_nonce ON chat_answers (expires_at, nonce) WHERE nonce IS NOT NULL;

-- One receiver's, the newest first.
CREATE INDEX chat_answers_receiver ON chat_answers (receiver, sequence);

-- Where a range of time begins and ends; what has expired.
CREATE INDEX chat_answers_at ON chat_answers (at);
