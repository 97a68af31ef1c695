-- The books. Times are milliseconds since 1970-01-01T00:00:00Z. Task ids that are slug ids are 16-byte blobs, others text.

CREATE TABLE names (            -- interned backends and projects
    id   INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,         -- 'backend' or 'project'
    name TEXT NOT NULL,
    UNIQUE (kind, name)
);

CREATE TABLE labels (           -- a job label in a project, with what does not change between its runs
    id       INTEGER PRIMARY KEY,
    project  INTEGER NOT NULL REFERENCES names (id),
    label    TEXT NOT NULL,
    series   TEXT NOT NULL,     -- the label without its chunk number
    UNIQUE (project, label)
);
CREATE INDEX labels_by_series ON labels (project, series);

CREATE TABLE pushes (
    project  INTEGER NOT NULL REFERENCES names (id),
    push     INTEGER NOT NULL,
    revision TEXT,
    at       INTEGER,
    grp      ANY,               -- task group (decision task)
    backs_out TEXT,             -- JSON array of the hashes that this push backs out
    PRIMARY KEY (project, push)
) WITHOUT ROWID;
CREATE INDEX pushes_by_revision ON pushes (project, revision);

CREATE TABLE task_groups (      -- which push a task group belongs to
    grp      ANY PRIMARY KEY,
    project  INTEGER NOT NULL REFERENCES names (id),
    push     INTEGER,
    revision TEXT
) WITHOUT ROWID;

CREATE TABLE runs (
    backend    INTEGER NOT NULL,
    task       ANY NOT NULL,
    run        INTEGER NOT NULL,
    label      INTEGER NOT NULL REFERENCES labels (id),
    push       INTEGER NOT NULL,
    state      INTEGER NOT NULL,  -- 0 pending, 1 running, 2 passed, 3 failed, 4 infra, 5 cancelled
    caused_by  INTEGER NOT NULL,  -- 0 unknown, 1 push, 2 person, 3 sheriffd
    at         INTEGER NOT NULL,
    action     INTEGER,           -- actions.id, for runs of ours
    duration   INTEGER,           -- milliseconds on a machine
    detail     TEXT,              -- JSON: signatures and groups, once known
    PRIMARY KEY (task, run, backend)
) WITHOUT ROWID;
CREATE INDEX runs_by_label ON runs (label, push);
CREATE INDEX runs_by_action ON runs (action) WHERE action IS NOT NULL;

CREATE TABLE cases (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind      TEXT NOT NULL,
    rule      TEXT NOT NULL,
    project   TEXT NOT NULL,
    label     TEXT NOT NULL,     -- of the subject: whole label, or series
    signature TEXT,              -- JSON
    push      INTEGER NOT NULL,  -- the push that opened it
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    wake_at   INTEGER,
    verdict   TEXT,              -- the word; NULL while open
    throttle_key TEXT NOT NULL,  -- what the rule's throttle counts together
    body      TEXT NOT NULL      -- JSON: the whole case
);
CREATE INDEX cases_open ON cases (project, label) WHERE verdict IS NULL;
CREATE INDEX cases_by_rule ON cases (rule, opened_at);
CREATE INDEX cases_by_subject ON cases (project, label, id);
CREATE INDEX cases_waking ON cases (wake_at) WHERE verdict IS NULL AND wake_at IS NOT NULL;

CREATE TABLE actions (          -- the outbox, and the account of what was asked for
    id         INTEGER PRIMARY KEY,
    case_id    INTEGER NOT NULL REFERENCES cases (id),
    step       INTEGER NOT NULL,
    slot       INTEGER NOT NULL,
    state      TEXT NOT NULL,    -- queued, sending, accepted, in-doubt, refused, shadow, dropped, overdue
    reason     TEXT,             -- why it is where it is
    detail     TEXT,
    rule       TEXT NOT NULL,
    budget     TEXT,
    backend    TEXT NOT NULL,
    project    TEXT NOT NULL,
    platform   TEXT NOT NULL,
    label      TEXT NOT NULL,
    push       INTEGER NOT NULL,
    times      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    sent_at    INTEGER,          -- the moment it began to count against limits
    lease      INTEGER,          -- until when a dispatcher may work on it
    attempts   INTEGER NOT NULL DEFAULT 0,
    receipt    ANY,              -- the CI's task that creates the jobs
    settled_at INTEGER,
    request    TEXT NOT NULL,    -- JSON
    UNIQUE (case_id, step, slot)
);
CREATE INDEX actions_due ON actions (not_before, id) WHERE state IN ('queued', 'sending', 'in-doubt');
CREATE INDEX actions_sent ON actions (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX actions_by_receipt ON actions (receipt) WHERE receipt IS NOT NULL;

CREATE TABLE inbox (            -- events that wait for facts
    id       INTEGER PRIMARY KEY,
    what     TEXT NOT NULL,      -- the identity of the event: a repeat replaces nothing
    event    TEXT NOT NULL,      -- JSON
    lack     TEXT NOT NULL,      -- task, failures
    since    INTEGER NOT NULL,
    next_try INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    applied  INTEGER NOT NULL DEFAULT 0,  -- the deadline passed, and it was applied without the facts
    UNIQUE (what)
);
CREATE INDEX inbox_due ON inbox (next_try);

CREATE TABLE requests_seen (    -- people's requests, so that a repeat becomes one
    digest BLOB PRIMARY KEY,
    at     INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE dead_letters (
    id          INTEGER PRIMARY KEY,
    at          INTEGER NOT NULL,
    exchange    TEXT NOT NULL,
    routing_key TEXT NOT NULL,
    cc          TEXT NOT NULL,   -- JSON array
    reason      TEXT NOT NULL,
    detail      TEXT NOT NULL,
    size        INTEGER NOT NULL,
    body        BLOB NOT NULL    -- the first bytes, bounded
);

CREATE TABLE decisions (        -- what each rule made of an event that its index let through
    id     INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    event  TEXT NOT NULL,        -- task/run, or another identity of the event
    rule   TEXT NOT NULL,
    result TEXT NOT NULL,        -- opened, joined, or a reason
    case_id INTEGER,
    detail TEXT NOT NULL         -- JSON: the trace
);
CREATE INDEX decisions_by_event ON decisions (event);

CREATE TABLE pauses (
    id      INTEGER PRIMARY KEY,
    scope   TEXT NOT NULL,       -- all, rule, project, platform, backend
    name    TEXT NOT NULL,
    reason  TEXT NOT NULL,
    owner   TEXT NOT NULL,
    since   INTEGER NOT NULL,
    expires INTEGER,
    UNIQUE (scope, name)
);

CREATE TABLE notices (          -- verdicts that somebody is to be told of
    id       INTEGER PRIMARY KEY,
    case_id  INTEGER NOT NULL UNIQUE REFERENCES cases (id),
    next_try INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE settings (         -- small facts of the daemon itself: bindings made, times seen
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
