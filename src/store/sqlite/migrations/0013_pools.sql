-- Which worker pool runs a label, as its messages told last, and how many jobs wait in pools, as the CI told.
ALTER TABLE labels ADD COLUMN pool INTEGER REFERENCES names (id);   -- NULL: no message told

CREATE TABLE pool_counts (
    pool    TEXT PRIMARY KEY,
    pending INTEGER,            -- NULL: the CI could not tell
    at      INTEGER NOT NULL    -- when it was asked
) WITHOUT ROWID;
