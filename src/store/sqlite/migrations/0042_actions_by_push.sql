-- Whether a run may be one of ours is asked for every run that an action made.
CREATE INDEX actions_by_push ON actions (project, push);
