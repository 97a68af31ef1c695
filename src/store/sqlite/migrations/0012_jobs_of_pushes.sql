-- What the jobs of a project are, and what can run on a push.
ALTER TABLE labels ADD COLUMN kind TEXT;      -- NULL: no message told
ALTER TABLE labels ADD COLUMN suite TEXT;

CREATE TABLE task_graphs (
    project INTEGER NOT NULL REFERENCES names (id),
    push    INTEGER NOT NULL,
    at      INTEGER NOT NULL,   -- when it was fetched
    body    BLOB NOT NULL,      -- JSON, deflated: jobs by label
    PRIMARY KEY (project, push)
) WITHOUT ROWID;
