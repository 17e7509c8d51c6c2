-- Dead letters: events that could not be carried, set aside so that the others go on.

PRAGMA user_version = 2;

CREATE TABLE dead_letters (
    connector       TEXT NOT NULL,
    -- Grows by one with each letter of a connector; the highest is never removed, so that none is given twice.
    id              INTEGER NOT NULL,
    -- The same when the source sends the event again: place in the source, and what the change was.
    identity        TEXT NOT NULL,
    -- core::dead_letter::LetterState: waiting, replay_requested, replayed, dropped.
    state           TEXT NOT NULL,
    attempts        INTEGER NOT NULL,
    -- JSON array: what later events of must wait behind it.
    keys            TEXT NOT NULL,
    -- JSON of core::dead_letter::Letter; without the original once it was replayed or dropped.
    letter          TEXT NOT NULL,
    checksum        INTEGER NOT NULL,
    PRIMARY KEY (connector, id),
    UNIQUE (connector, identity)
) STRICT, WITHOUT ROWID;
