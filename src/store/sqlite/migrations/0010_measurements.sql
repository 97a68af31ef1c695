-- What runs measured. Names of series are those within a label (suite, test, options), so that labels share them.
CREATE TABLE series (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    summary INTEGER NOT NULL      -- 1: stands for a suite as a whole
);

CREATE TABLE measurements (
    run    INTEGER NOT NULL REFERENCES runs (id),
    series INTEGER NOT NULL REFERENCES series (id),
    value  REAL NOT NULL,
    PRIMARY KEY (run, series)
) WITHOUT ROWID;

CREATE TABLE label_series (       -- which labels measure a series, and for which push they did last
    series INTEGER NOT NULL REFERENCES series (id),
    label  INTEGER NOT NULL REFERENCES labels (id),
    push   INTEGER NOT NULL,
    PRIMARY KEY (series, label)
) WITHOUT ROWID;
CREATE INDEX label_series_by_label ON label_series (label);

-- 1: its results were read, whether it has any or not.
ALTER TABLE runs ADD COLUMN measured INTEGER NOT NULL DEFAULT 0;

CREATE TRIGGER measurements_go_with_their_run AFTER DELETE ON runs BEGIN
    DELETE FROM measurements WHERE run = OLD.id;
END;
