-- What rules remember between events.
CREATE TABLE held (             -- events that a rule's `debounce` holds back: the latest of each key
    id    INTEGER PRIMARY KEY,
    rule  TEXT NOT NULL,
    key   TEXT NOT NULL,        -- what the rule holds together
    since INTEGER NOT NULL,     -- when the first of them came
    due   INTEGER NOT NULL,     -- when the rule acts, unless another comes
    count INTEGER NOT NULL,
    event TEXT NOT NULL,        -- JSON
    UNIQUE (rule, key)
);
CREATE INDEX held_due ON held (due);

CREATE TABLE ticks (            -- when scheduled rules last ran
    rule TEXT PRIMARY KEY,
    at   INTEGER NOT NULL
) WITHOUT ROWID;
