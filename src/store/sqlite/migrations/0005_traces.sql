-- Why things happened, found from the case too; and a sample of the events that no rule's `match` let through.
CREATE INDEX decisions_by_case ON decisions (case_id) WHERE case_id IS NOT NULL;
CREATE INDEX decisions_by_time ON decisions (at);

CREATE TABLE samples (
    id    INTEGER PRIMARY KEY,
    at    INTEGER NOT NULL,
    event TEXT NOT NULL,        -- task/run, or another identity of the event
    body  TEXT NOT NULL         -- JSON: the event
);
CREATE INDEX samples_by_event ON samples (event);
CREATE INDEX samples_by_time ON samples (at);
