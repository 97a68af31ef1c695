-- Runs lie in the order in which they were first heard of, and are found by their identity through an index. Task ids are
-- random: with the rows themselves in the order of the ids, each message about a run changed another page; now the
-- later messages about a run change a page that those of its time share.
CREATE TABLE runs_by_arrival (
    id         INTEGER PRIMARY KEY,
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
    UNIQUE (task, run, backend)
);
INSERT INTO runs_by_arrival (backend, task, run, label, push, state, caused_by, at, action, duration, detail)
SELECT backend, task, run, label, push, state, caused_by, at, action, duration, detail FROM runs ORDER BY at;
DROP TABLE runs;
ALTER TABLE runs_by_arrival RENAME TO runs;
CREATE INDEX runs_by_label ON runs (label, push);
CREATE INDEX runs_by_action ON runs (action) WHERE action IS NOT NULL;
