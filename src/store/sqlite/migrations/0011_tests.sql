-- What is known of tests rather than of jobs.

CREATE TABLE group_runs (       -- which labels run a test group (manifest)
    project INTEGER NOT NULL REFERENCES names (id),
    grp     TEXT NOT NULL,
    label   INTEGER NOT NULL REFERENCES labels (id),
    push    INTEGER NOT NULL,   -- the newest on which it did
    at      INTEGER NOT NULL,   -- when it last did
    PRIMARY KEY (project, grp, label)
) WITHOUT ROWID;

CREATE TABLE test_failures (    -- where a test failed
    project INTEGER NOT NULL REFERENCES names (id),
    test    TEXT NOT NULL,      -- as results name it
    label   INTEGER NOT NULL REFERENCES labels (id),
    push    INTEGER NOT NULL,
    grp     TEXT,
    at      INTEGER NOT NULL,
    PRIMARY KEY (project, test, label, push)
) WITHOUT ROWID;

CREATE TABLE bugs_of_tests (    -- what the bug tracker answered when it was asked about a test
    test TEXT PRIMARY KEY,
    bugs TEXT NOT NULL,         -- JSON
    at   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE cancellations (    -- tasks of ours that nobody needs any longer, to be cancelled at the CI
    id       INTEGER PRIMARY KEY,
    case_id  INTEGER NOT NULL REFERENCES cases (id),
    project  TEXT NOT NULL,
    task     ANY NOT NULL UNIQUE,
    state    TEXT NOT NULL,     -- queued, cancelled, given-up
    detail   TEXT,
    next_try INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX cancellations_due ON cancellations (next_try) WHERE state = 'queued';
