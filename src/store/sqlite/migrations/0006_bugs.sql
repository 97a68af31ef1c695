-- The bugs that a subject is known by, where a source has told.
CREATE TABLE bugs (
    project   TEXT NOT NULL,
    label     TEXT NOT NULL,    -- of the subject: whole label, or series
    signature TEXT NOT NULL,    -- JSON; empty for the job as a whole
    body      TEXT NOT NULL,    -- JSON: all of them; an empty list says that there is none
    PRIMARY KEY (project, label, signature)
) WITHOUT ROWID;
