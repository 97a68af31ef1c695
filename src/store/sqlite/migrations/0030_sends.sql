-- When requests went out, whatever became of them: what the CI turns away is not charged to any budget, but counts for the
-- rate of requests.
CREATE TABLE sends (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL
);
CREATE INDEX sends_at ON sends (at);
INSERT INTO sends (at) SELECT sent_at FROM actions WHERE sent_at IS NOT NULL;
