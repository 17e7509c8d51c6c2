-- Which releases have had this state, and until when each connector was known to be carried.

PRAGMA user_version = 6;

-- Releases that opened this state, one after the other. A release reads this table of states that later ones wrote, to say whose they are: it
-- keeps its name and these columns in every later layout.
CREATE TABLE releases (
    -- Grows by one with each release that opens the state after another one.
    id              INTEGER NOT NULL PRIMARY KEY,
    -- As `tailrace --version` prints it.
    version         TEXT NOT NULL,
    -- The layout that it brought the state to: user_version.
    layout          INTEGER NOT NULL,
    -- When it opened the state first, milliseconds since 1970.
    opened_at_ms    INTEGER NOT NULL,
    checksum        INTEGER NOT NULL
) STRICT;

-- How long a connector was away is counted from here.
CREATE TABLE carried_until (
    connector       TEXT NOT NULL PRIMARY KEY,
    -- Milliseconds since 1970.
    at_ms           INTEGER NOT NULL,
    -- 1 where its end was seen; 0 where it went on, and may have gone on a little longer.
    ended           INTEGER NOT NULL CHECK (ended IN (0, 1)),
    checksum        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
