-- Which labels open cases are about besides that of their subject, so that an event about one of them finds its case.
CREATE TABLE case_targets (
    case_id INTEGER NOT NULL REFERENCES cases (id),
    project TEXT NOT NULL,
    label   TEXT NOT NULL,      -- whole
    PRIMARY KEY (project, label, case_id)
) WITHOUT ROWID;
CREATE INDEX case_targets_by_case ON case_targets (case_id);
