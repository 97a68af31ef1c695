-- What holds requests back, and what they are charged. All of it lies here so that a restart, or a second daemon on the
-- same store, sees the same accounts.

ALTER TABLE actions ADD COLUMN charged INTEGER NOT NULL DEFAULT 0;     -- jobs that count against limits once it is sent
ALTER TABLE actions ADD COLUMN job_ms INTEGER NOT NULL DEFAULT 0;      -- machine time expected of one job
ALTER TABLE actions ADD COLUMN machine_ms INTEGER NOT NULL DEFAULT 0;  -- machine time reserved, then settled
ALTER TABLE actions ADD COLUMN repeat_of INTEGER;                      -- actions.id of the request that it repeats
UPDATE actions SET charged = times WHERE sent_at IS NOT NULL;
CREATE INDEX actions_accepted ON actions (sent_at) WHERE state = 'accepted';

ALTER TABLE pauses ADD COLUMN effect TEXT NOT NULL DEFAULT 'queue';    -- queue or drop

ALTER TABLE labels ADD COLUMN platform TEXT;                           -- as the task told it last
CREATE INDEX runs_pending ON runs (label) WHERE state = 0;

CREATE TABLE rates (             -- a token bucket a backend
    backend TEXT PRIMARY KEY,
    tokens  REAL NOT NULL,
    at      INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE rule_turns (        -- when each rule was last served, by a counter: who waited longest is next
    rule TEXT PRIMARY KEY,
    turn INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE answers (           -- how backends answered lately
    id      INTEGER PRIMARY KEY,
    backend TEXT NOT NULL,
    at      INTEGER NOT NULL,
    word    TEXT NOT NULL        -- answered, failed, refused
);
CREATE INDEX answers_by_backend ON answers (backend, id);

CREATE TABLE trees (             -- whether projects take jobs, as a treestatus service told
    project TEXT PRIMARY KEY,
    status  TEXT NOT NULL,
    reason  TEXT NOT NULL,
    at      INTEGER NOT NULL
) WITHOUT ROWID;
