-- Requests of cases that have ended are looked for too, for a while.
CREATE INDEX cases_by_end ON cases (closed_at) WHERE closed_at IS NOT NULL;
