-- Where pushes touch files: the nearer to a failing test, the likelier a push is to have broken it.
-- JSON list of folders, in order; NULL: nobody has told; []: told, and it says nothing (a merge, too many folders, no names).
ALTER TABLE pushes ADD COLUMN places TEXT;
