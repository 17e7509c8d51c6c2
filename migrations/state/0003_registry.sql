-- The embedded registry: schemas by number, and which of them are the versions of which subject.

PRAGMA user_version = 3;

-- Schemas. Numbers stand in records for ever: a row is never changed, never removed, and its number never given again.
CREATE TABLE registry_schemas (
    id              INTEGER NOT NULL PRIMARY KEY CHECK (id > 0),
    -- AVRO or JSON, as the registry's API calls it.
    schema_type     TEXT NOT NULL,
    schema_text     TEXT NOT NULL,
    -- JSON object of names and texts.
    properties      TEXT NOT NULL,
    -- JSON object of paths and lists of tags.
    tags            TEXT NOT NULL,
    checksum        INTEGER NOT NULL
) STRICT;

-- What holds for all versions of a subject; a subject without a row is held to the default.
CREATE TABLE registry_subjects (
    subject         TEXT NOT NULL PRIMARY KEY,
    -- The registry's name of a level (FULL, BACKWARD_TRANSITIVE); nothing where the default holds.
    compatibility   TEXT,
    -- Why it should not be used any more and what should instead; nothing where it should.
    deprecated      TEXT,
    checksum        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Versions of subjects, oldest 1. A deleted one keeps its place and its number.
CREATE TABLE registry_versions (
    subject         TEXT NOT NULL,
    version         INTEGER NOT NULL CHECK (version > 0),
    schema_id       INTEGER NOT NULL REFERENCES registry_schemas (id),
    deleted         INTEGER NOT NULL CHECK (deleted IN (0, 1)),
    -- Milliseconds since 1970.
    registered_at_ms INTEGER NOT NULL,
    checksum        INTEGER NOT NULL,
    PRIMARY KEY (subject, version)
) STRICT, WITHOUT ROWID;
