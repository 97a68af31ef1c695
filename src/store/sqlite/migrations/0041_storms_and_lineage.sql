-- The storm guard looks at what was opened lately in a project.
CREATE INDEX cases_by_project ON cases (project, opened_at);
-- Whether a run may be one of ours is asked for every run that an action made.
CREATE INDEX actions_by_push ON actions (project, push);
