-- The storm guard looks at what was opened lately in a project.
CREATE INDEX cases_by_project ON cases (project, opened_at);
