-- Builds that the CI makes along with the jobs that are asked for: charged when they are asked for, settled by what came.
CREATE TABLE label_builds (     -- the builds that a label waited for, as the definition of a run of it told last
    label INTEGER NOT NULL REFERENCES labels (id),
    build INTEGER NOT NULL REFERENCES labels (id),
    PRIMARY KEY (label, build)
) WITHOUT ROWID;

ALTER TABLE actions ADD COLUMN builds TEXT;                         -- JSON: labels of builds that were not there; NULL: none
ALTER TABLE actions ADD COLUMN build_ms INTEGER NOT NULL DEFAULT 0; -- machine time expected of all of them
