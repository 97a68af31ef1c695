-- Whether a run may be one of ours is asked for every run that an action made.
CREATE INDEX actions_by_push ON actions (project, push);
-- Requests whose jobs are missing are found by their open cases.
DROP INDEX actions_accepted;
