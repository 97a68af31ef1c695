-- One failure on several labels is one search: it is found by what failed.
CREATE INDEX cases_by_signature ON cases (project, signature, id) WHERE signature IS NOT NULL;
