-- Which version of each table has been told to those who follow the schemas: published, durable, and behind a checkpoint.

PRAGMA user_version = 4;

CREATE TABLE announced_schemas (
    connector       TEXT NOT NULL,
    table_name      TEXT NOT NULL,
    version         INTEGER NOT NULL,
    checksum        INTEGER NOT NULL,
    PRIMARY KEY (connector, table_name)
) STRICT, WITHOUT ROWID;
