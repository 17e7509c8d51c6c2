-- As Tailrace 0.1.0 left it; written by `tests/run golden`, never edited.
PRAGMA application_id = 1414679635;
PRAGMA user_version = 6;
BEGIN;
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO "_sqlx_migrations" VALUES (1, 'state', '2026-11-23 05:29:16', 1, X'AD1FFD58AB26270594E7642F592D2A59B826D390D7B3F04C572EFD8C669E2936D02D2713410C3BCE78725AFC6065A32B', 963715);
INSERT INTO "_sqlx_migrations" VALUES (2, 'dead letters', '2026-11-23 05:29:16', 1, X'079E30CA785668B570286043AB23A1F6F9F5A25FB5FEA5B988048BE7480225EEBD9C4572E02DA8FFED2F4B169ACFFE2A', 1272595);
INSERT INTO "_sqlx_migrations" VALUES (3, 'registry', '2026-11-23 05:29:16', 1, X'9A5BB2E586301B40DA77F9824A54C7F43DE2EDB1094F19C918E65B82E9D0F96E742574E8520D5EF8370B3DED5609E396', 362420);
INSERT INTO "_sqlx_migrations" VALUES (4, 'announced schemas', '2026-11-23 05:29:16', 1, X'89858B7B839262B67C5FA1EE9C7BD2F8A9199643866FB1FB604977E895BAC8BE2AD479EE664E0F8790FC0CE6581424F2', 1398062);
INSERT INTO "_sqlx_migrations" VALUES (5, 'people', '2026-11-23 05:29:16', 1, X'4E0DB891A69116D3F6682E45CA2A9D0033A2F3D99D7A704870E060800601C89E12583E612ED233BA52D96B93C49180F8', 2184063);
INSERT INTO "_sqlx_migrations" VALUES (6, 'releases', '2026-11-23 05:29:16', 1, X'B7D358FA35D2A0197125ED28D18C82B4C7CF3AA4B984BD3E3D0ECE5AD274FFCC52DE5E9892D1FF398B7696460B65FE9A', 791539);
CREATE TABLE store (
    id              INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    -- 32 hexadecimal digits, made at random; a copy that is adopted gets new ones.
    instance_id     TEXT NOT NULL,
    -- Inode number of this file, its 64 bits read as signed.
    home_inode      INTEGER NOT NULL,
    -- Birth time of this file, microseconds since 1970, where the file system has one.
    home_created_us INTEGER,
    -- The last epoch given to a connector; never given twice, even after a connector was forgotten.
    epoch           INTEGER NOT NULL,
    checksum        INTEGER NOT NULL
) STRICT;
INSERT INTO "store" VALUES (1, '3639622abdf54646bf0ee4cb21a18d9f', 10316068, 1795411756267701, 11, 2862641240);
CREATE TABLE connectors (
    name            TEXT NOT NULL PRIMARY KEY,
    -- Whoever opened it last; writes of an older epoch are refused.
    epoch           INTEGER NOT NULL,
    -- Where the newest checkpoint is, and its sequence; 0 where there is none yet. Written with the checkpoint, so
    -- that a lost row of `checkpoints` cannot look like a first start.
    newest_slot     INTEGER NOT NULL CHECK (newest_slot IN (0, 1)),
    newest_sequence INTEGER NOT NULL,
    checksum        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "connectors" VALUES ('lines', 11, 0, 0, 4191321628);
INSERT INTO "connectors" VALUES ('mariadb-log', 8, 1, 3, 480490559);
INSERT INTO "connectors" VALUES ('mariadb-polled', 9, 1, 3, 932131673);
INSERT INTO "connectors" VALUES ('mirror', 10, 0, 0, 802373687);
INSERT INTO "connectors" VALUES ('mysql-log', 6, 1, 3, 2585885911);
INSERT INTO "connectors" VALUES ('mysql-polled', 7, 1, 3, 273943087);
INSERT INTO "connectors" VALUES ('postgres-log', 4, 1, 3, 3021520254);
INSERT INTO "connectors" VALUES ('postgres-polled', 5, 1, 3, 3101415371);
INSERT INTO "connectors" VALUES ('shop-changes', 1, 1, 1, 3503164544);
INSERT INTO "connectors" VALUES ('shop-outbox', 2, 1, 1, 3729221519);
INSERT INTO "connectors" VALUES ('shop-polled', 3, 0, 2, 3273215154);
CREATE TABLE checkpoints (
    connector       TEXT NOT NULL,
    slot            INTEGER NOT NULL CHECK (slot IN (0, 1)),
    sequence        INTEGER NOT NULL,
    -- JSON of core::position::Progress.
    progress        TEXT NOT NULL,
    -- Milliseconds since 1970.
    saved_at_ms     INTEGER NOT NULL,
    checksum        INTEGER NOT NULL,
    PRIMARY KEY (connector, slot)
) STRICT, WITHOUT ROWID;
INSERT INTO "checkpoints" VALUES ('mariadb-log', 0, 2, '{"position":"binlog.000001:1554;started=1795411756;mariadb_gtids=0-1-6"}', 1795411757606, 2528951969);
INSERT INTO "checkpoints" VALUES ('mariadb-log', 1, 3, '{"position":"binlog.000001:2232;started=1795411756;mariadb_gtids=0-1-9"}', 1795411757736, 3219382767);
INSERT INTO "checkpoints" VALUES ('mariadb-polled', 0, 2, '{"position":"{\"shop3.audit\":{\"id\":1,\"load_end\":1}}"}', 1795411756906, 614648851);
INSERT INTO "checkpoints" VALUES ('mariadb-polled', 1, 3, '{"position":"{\"shop3.audit\":{\"id\":2,\"load_end\":1}}"}', 1795411757677, 3233270245);
INSERT INTO "checkpoints" VALUES ('mysql-log', 0, 2, '{"position":"binlog.000001:1720;started=1795411755;mysql_gtids=d1b39f94-e6fe-11f1-a2c8-02fc00000001:1-6"}', 1795411757548, 1612645716);
INSERT INTO "checkpoints" VALUES ('mysql-log', 1, 3, '{"position":"binlog.000001:2562;started=1795411755;mysql_gtids=d1b39f94-e6fe-11f1-a2c8-02fc00000001:1-9"}', 1795411757743, 1281929648);
INSERT INTO "checkpoints" VALUES ('mysql-polled', 0, 2, '{"position":"{\"shop2.audit\":{\"id\":1,\"load_end\":1}}"}', 1795411756937, 1382128457);
INSERT INTO "checkpoints" VALUES ('mysql-polled', 1, 3, '{"position":"{\"shop2.audit\":{\"id\":2,\"load_end\":1}}"}', 1795411757593, 2469471063);
INSERT INTO "checkpoints" VALUES ('postgres-log', 0, 2, '{"position":"0/18FEC60"}', 1795411757512, 1744935339);
INSERT INTO "checkpoints" VALUES ('postgres-log', 1, 3, '{"position":"0/1901038"}', 1795411757726, 172571952);
INSERT INTO "checkpoints" VALUES ('postgres-polled', 0, 2, '{"position":"{\"public.audit\":{\"id\":1,\"load_end\":1}}"}', 1795411756696, 4185254842);
INSERT INTO "checkpoints" VALUES ('postgres-polled', 1, 3, '{"position":"{\"public.audit\":{\"id\":2,\"load_end\":1}}"}', 1795411757510, 4081483668);
INSERT INTO "checkpoints" VALUES ('shop-changes', 1, 1, '{"position":"{\"tailrace_changes_orders\":{\"handed_batches\":1}}"}', 1795411756615, 2357047855);
INSERT INTO "checkpoints" VALUES ('shop-outbox', 1, 1, '{"position":"{\"outbox\":{\"handed_batches\":1}}"}', 1795411756595, 4091936342);
INSERT INTO "checkpoints" VALUES ('shop-polled', 0, 2, '{"position":"{\"customers\":{\"id\":3,\"timestamp\":\"2026-01-02 03:04:07\",\"timestamp_us\":1767323047000000,\"load_end\":1795411754484185,\"highest_id\":3}}"}', 1795411756744, 4266040718);
INSERT INTO "checkpoints" VALUES ('shop-polled', 1, 1, '{"position":"{\"customers\":{\"id\":2,\"timestamp\":\"2026-01-02 03:04:06\",\"timestamp_us\":1767323046000000,\"load_end\":1795411754484185,\"highest_id\":2}}"}', 1795411756543, 1613460112);
CREATE TABLE schema_history (
    connector       TEXT NOT NULL,
    table_name      TEXT NOT NULL,
    version         INTEGER NOT NULL,
    -- JSON of core::schema::TableSchema.
    table_schema    TEXT NOT NULL,
    -- From where in the source's log on it holds.
    position        TEXT NOT NULL,
    checksum        INTEGER NOT NULL,
    PRIMARY KEY (connector, table_name, version)
) STRICT, WITHOUT ROWID;
INSERT INTO "schema_history" VALUES ('mariadb-log', 'shop3.ledger', 1, '{"name":{"database":"","schema":"shop3","table":"ledger"},"kind":"table","columns":[{"name":"id","logical_type":"int32","nullable":false,"source_type":"int(11)"},{"name":"value","logical_type":{"decimal":{"precision":10,"scale":2}},"nullable":true,"source_type":"decimal(10,2)"}],"key":[0]}', 'snapshot:{"log_start":"binlog.000001:1311;started=1795411756;mariadb_gtids=0-1-5","read_at":{"shop3.ledger":"binlog.000001:1311;started=1795411756;mariadb_gtids=0-1-5"},"complete":false}', 3498177598);
INSERT INTO "schema_history" VALUES ('mariadb-log', 'shop3.ledger', 2, '{"name":{"database":"","schema":"shop3","table":"ledger"},"kind":"table","columns":[{"name":"id","logical_type":"int32","nullable":false,"source_type":"int(11)"},{"name":"value","logical_type":{"decimal":{"precision":10,"scale":2}},"nullable":true,"source_type":"decimal(10,2)"},{"name":"note","logical_type":{"text":"plain"},"nullable":true,"source_type":"varchar(20)"}],"key":[0]}', 'binlog.000001:2232;started=1795411756;mariadb_gtids=0-1-9', 1967383419);
INSERT INTO "schema_history" VALUES ('mariadb-polled', 'shop3.audit', 1, '{"name":{"database":"","schema":"shop3","table":"audit"},"kind":"table","columns":[{"name":"id","logical_type":"unsigned_int64","nullable":false,"source_type":"bigint(20) unsigned"},{"name":"what","logical_type":{"text":"plain"},"nullable":true,"source_type":"varchar(20)"}],"key":[0]}', '{"shop3.audit":{"id":1,"load_end":1}}', 1545306824);
INSERT INTO "schema_history" VALUES ('mysql-log', 'shop2.ledger', 1, '{"name":{"database":"","schema":"shop2","table":"ledger"},"kind":"table","columns":[{"name":"id","logical_type":"int32","nullable":false,"source_type":"int"},{"name":"value","logical_type":{"decimal":{"precision":10,"scale":2}},"nullable":true,"source_type":"decimal(10,2)"}],"key":[0]}', 'snapshot:{"log_start":"binlog.000001:1416;started=1795411755;mysql_gtids=d1b39f94-e6fe-11f1-a2c8-02fc00000001:1-5","read_at":{"shop2.ledger":"binlog.000001:1416;started=1795411755;mysql_gtids=d1b39f94-e6fe-11f1-a2c8-02fc00000001:1-5"},"complete":false}', 3761122146);
INSERT INTO "schema_history" VALUES ('mysql-log', 'shop2.ledger', 2, '{"name":{"database":"","schema":"shop2","table":"ledger"},"kind":"table","columns":[{"name":"id","logical_type":"int32","nullable":false,"source_type":"int"},{"name":"value","logical_type":{"decimal":{"precision":10,"scale":2}},"nullable":true,"source_type":"decimal(10,2)"},{"name":"note","logical_type":{"text":"plain"},"nullable":true,"source_type":"varchar(20)"}],"key":[0]}', 'binlog.000001:2562;started=1795411755;mysql_gtids=d1b39f94-e6fe-11f1-a2c8-02fc00000001:1-9', 2163328760);
INSERT INTO "schema_history" VALUES ('mysql-polled', 'shop2.audit', 1, '{"name":{"database":"","schema":"shop2","table":"audit"},"kind":"table","columns":[{"name":"id","logical_type":"unsigned_int64","nullable":false,"source_type":"bigint unsigned"},{"name":"what","logical_type":{"text":"plain"},"nullable":true,"source_type":"varchar(20)"}],"key":[0]}', '{"shop2.audit":{"id":1,"load_end":1}}', 2464272900);
INSERT INTO "schema_history" VALUES ('postgres-log', 'public.ledger', 1, '{"name":{"database":"shop1","schema":"public","table":"ledger"},"kind":"table","columns":[{"name":"id","logical_type":"int32","nullable":false,"source_type":"integer"},{"name":"value","logical_type":{"decimal":{"precision":10,"scale":2}},"nullable":true,"source_type":"numeric(10,2)"}],"key":[0]}', 'snapshot:{"log_start":"0/18FE760","read_at":{"public.ledger":"0/18FE760"},"complete":false}', 3983599234);
INSERT INTO "schema_history" VALUES ('postgres-log', 'public.ledger', 2, '{"name":{"database":"shop1","schema":"public","table":"ledger"},"kind":"table","columns":[{"name":"id","logical_type":"int32","nullable":false,"source_type":"integer"},{"name":"value","logical_type":{"decimal":{"precision":10,"scale":2}},"nullable":true,"source_type":"numeric(10,2)"},{"name":"note","logical_type":{"text":"plain"},"nullable":true,"source_type":"character varying(20)"}],"key":[0]}', '0/18FEC60', 1059702844);
INSERT INTO "schema_history" VALUES ('postgres-log', 'public.ledger', 3, '{"name":{"database":"shop1","schema":"public","table":"ledger"},"kind":"table","columns":[{"name":"id","logical_type":"int32","nullable":false,"source_type":"integer"},{"name":"value","logical_type":{"decimal":{"precision":null,"scale":null}},"nullable":true,"source_type":"numeric"},{"name":"note","logical_type":{"text":"plain"},"nullable":true,"source_type":"character varying(20)"}],"key":[0]}', '0/1901038', 3355649864);
INSERT INTO "schema_history" VALUES ('postgres-polled', 'public.audit', 1, '{"name":{"database":"shop1","schema":"public","table":"audit"},"kind":"table","columns":[{"name":"id","logical_type":"int32","nullable":false,"source_type":"integer","default":{"int":0},"default_is_computed":true},{"name":"what","logical_type":{"text":"plain"},"nullable":true,"source_type":"character varying(20)"}],"key":[0]}', '{"public.audit":{"id":1,"load_end":1}}', 1286847281);
INSERT INTO "schema_history" VALUES ('shop-changes', 'orders', 1, '{"name":{"database":"","schema":"","table":"orders"},"kind":"table","columns":[{"name":"id","logical_type":"int64","nullable":false,"source_type":"INTEGER"},{"name":"total","logical_type":"int64","nullable":true,"source_type":"INTEGER"},{"name":"note","logical_type":{"text":"plain"},"nullable":true,"source_type":"TEXT"}],"key":[0]}', '{"tailrace_changes_orders":{"handed_batches":1}}', 1721571986);
INSERT INTO "schema_history" VALUES ('shop-outbox', 'outbox', 1, '{"name":{"database":"","schema":"","table":"outbox"},"kind":"table","columns":[{"name":"sequence","logical_type":"int64","nullable":false,"source_type":"INTEGER"},{"name":"id","logical_type":{"text":"plain"},"nullable":false,"source_type":"TEXT"},{"name":"aggregatetype","logical_type":{"text":"plain"},"nullable":false,"source_type":"TEXT"},{"name":"aggregateid","logical_type":{"text":"plain"},"nullable":false,"source_type":"TEXT"},{"name":"type","logical_type":{"text":"plain"},"nullable":false,"source_type":"TEXT"},{"name":"payload","logical_type":{"text":"json"},"nullable":true,"source_type":"JSON"},{"name":"headers","logical_type":{"text":"json"},"nullable":true,"source_type":"JSON"},{"name":"tracingspancontext","logical_type":{"text":"plain"},"nullable":true,"source_type":"TEXT"},{"name":"created_at","logical_type":{"timestamp":{"precision":6}},"nullable":false,"source_type":"TIMESTAMP"}],"key":[0]}', '{"outbox":{"handed_batches":1}}', 1589634990);
INSERT INTO "schema_history" VALUES ('shop-polled', 'customers', 1, '{"name":{"database":"","schema":"","table":"customers"},"kind":"table","columns":[{"name":"id","logical_type":"int64","nullable":false,"source_type":"INTEGER"},{"name":"name","logical_type":{"text":"plain"},"nullable":false,"source_type":"TEXT"},{"name":"updated_at","logical_type":{"text":"plain"},"nullable":false,"source_type":"TEXT"}],"key":[0]}', '{"customers":{"id":2,"timestamp":"2026-01-02 03:04:06","timestamp_us":1767323046000000,"load_end":1795411754484185,"highest_id":2}}', 1561479745);
CREATE TABLE source_memory (
    connector       TEXT NOT NULL PRIMARY KEY,
    memory          TEXT NOT NULL,
    checksum        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "source_memory" VALUES ('mariadb-log', '{"began_at":"binlog.000001:1311;started=1795411756;mariadb_gtids=0-1-5","being_added":[],"charsets":{"information_schema":[{"definition":"utf8mb3","from":null}],"mysql":[{"definition":"latin1","from":null}],"performance_schema":[{"definition":"utf8mb3","from":null}],"shop3":[{"definition":"utf8mb4","from":null}],"sys":[{"definition":"utf8mb3","from":null}]},"definitions":{"shop3.ledger":[{"definition":{"charset":"utf8mb4","columns":[{"column_type":{"kind":{"integer":{"unsigned":false,"width":"regular"}},"source_type":"int(11)"},"name":"id","nullable":false},{"column_type":{"kind":{"decimal":{"precision":10,"scale":2}},"source_type":"decimal(10,2)"},"name":"value","nullable":true},{"column_type":{"kind":{"text":{"charset":"utf8mb4"}},"source_type":"varchar(20)"},"name":"note","nullable":true}],"engine":"InnoDB","key":[0],"schema":"shop3","table":"ledger","unique_keys":[{"columns":["id"],"name":"PRIMARY"}]},"from":{"file":"binlog.000001","offset":1719}}]},"identity":"1-47d23c36dd9a29d4","moved_from":null,"read_at":{"shop3.ledger":"binlog.000001:1311;started=1795411756;mariadb_gtids=0-1-5"},"rewritten":{},"server":{"flavour":"mariadb","server_id":1,"uuid":null},"surveyed":[],"tables":["shop3.ledger"]}', 346075816);
INSERT INTO "source_memory" VALUES ('mariadb-polled', '{"identity":"1-9203d3df1a78aa03","polled":{"flavour":"mariadb","server_id":1,"uuid":null}}', 603057371);
INSERT INTO "source_memory" VALUES ('mysql-log', '{"began_at":"binlog.000001:1416;started=1795411755;mysql_gtids=d1b39f94-e6fe-11f1-a2c8-02fc00000001:1-5","being_added":[],"charsets":{"information_schema":[{"definition":"utf8mb3","from":null}],"mysql":[{"definition":"utf8mb4","from":null}],"performance_schema":[{"definition":"utf8mb4","from":null}],"shop2":[{"definition":"utf8mb4","from":null}],"sys":[{"definition":"utf8mb4","from":null}]},"definitions":{"shop2.ledger":[{"definition":{"charset":"utf8mb4","columns":[{"column_type":{"kind":{"integer":{"unsigned":false,"width":"regular"}},"source_type":"int"},"name":"id","nullable":false},{"column_type":{"kind":{"decimal":{"precision":10,"scale":2}},"source_type":"decimal(10,2)"},"name":"value","nullable":true},{"column_type":{"kind":{"text":{"charset":"utf8mb4"}},"source_type":"varchar(20)"},"name":"note","nullable":true}],"engine":"InnoDB","key":[0],"schema":"shop2","table":"ledger","unique_keys":[{"columns":["id"],"name":"PRIMARY"}]},"from":{"file":"binlog.000001","offset":1933}}]},"identity":"d1b39f94-e6fe-11f1-a2c8-02fc00000001","moved_from":null,"read_at":{"shop2.ledger":"binlog.000001:1416;started=1795411755;mysql_gtids=d1b39f94-e6fe-11f1-a2c8-02fc00000001:1-5"},"rewritten":{},"server":{"flavour":"mysql","server_id":1,"uuid":"d1b39f94-e6fe-11f1-a2c8-02fc00000001"},"surveyed":[],"tables":["shop2.ledger"]}', 428481421);
INSERT INTO "source_memory" VALUES ('mysql-polled', '{"identity":"d1b39f94-e6fe-11f1-a2c8-02fc00000001","polled":{"flavour":"mysql","server_id":1,"uuid":"d1b39f94-e6fe-11f1-a2c8-02fc00000001"}}', 652514759);
INSERT INTO "source_memory" VALUES ('postgres-log', '{"being_added":[],"counts_messages":false,"database":"shop1","database_oid":16384,"publication":"tailrace_postgres_log","publication_oid":"16397","read_at":{"public.ledger":"0/18FE760"},"slot":"tailrace_postgres_log","slot_began_at":"0/18FE760","system_identifier":"7710903166299377353","tables":["public.ledger"],"timeline":1}', 2136207398);
INSERT INTO "source_memory" VALUES ('postgres-polled', '{"database":"shop1","database_oid":16384,"polled":true,"system_identifier":"7710903166299377353","timeline":1}', 3064275134);
INSERT INTO "source_memory" VALUES ('shop-changes', '{"file":"inode-10314816","identity":"1cbea5eb028748c9"}', 2506155896);
INSERT INTO "source_memory" VALUES ('shop-outbox', '{"file":"inode-10314816","identity":"cbf74aea3de45ba8"}', 84710549);
INSERT INTO "source_memory" VALUES ('shop-polled', '{"file":"inode-10314816","identity":"950ae12dc474c85a"}', 41627320);
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
INSERT INTO "dead_letters" VALUES ('postgres-log', 1, '7710903166299377353.16384.tailrace_postgres_log:0/1900D40:0#941003d35a6771334a726aa6efdb4968', 'waiting', 1, '["public.ledger\u0000{\"id\":\"4\"}"]', '{"identity":"7710903166299377353.16384.tailrace_postgres_log:0/1900D40:0#941003d35a6771334a726aa6efdb4968","event_id":"7710903166299377353.16384.tailrace_postgres_log:0/1900D40:0","table":"public.ledger","operation":"c","key":"{\"id\":\"4\"}","position":"0/1900D40","updated_at_us":1795411757527457,"keys":["public.ledger\u0000{\"id\":\"4\"}"],"code":"value_not_encodable","reason":"the value of column value of table public.ledger is NaN or infinite, which precise decimals cannot hold (event 7710903166299377353.16384.tailrace_postgres_log:0/1900D40:0); set format.decimal: string (or double), or format.unrepresentable: as_string (or as_null, outside of the key)","quarantined_at_us":1795411757535703,"original":{"change":{"source":"7710903166299377353.16384.tailrace_postgres_log","schema":{"name":{"database":"shop1","schema":"public","table":"ledger"},"kind":"table","columns":[{"name":"id","logical_type":"int32","nullable":false,"source_type":"integer"},{"name":"value","logical_type":{"decimal":{"precision":null,"scale":null}},"nullable":true,"source_type":"numeric"},{"name":"note","logical_type":{"text":"plain"},"nullable":true,"source_type":"character varying(20)"}],"key":[0]},"transaction":{"id":742,"committed_at_us":1795411757527457,"position":"0/1900D40","log_position":26217792,"previous_log_position":26209376,"binlog":null},"operation":"c","ordinal":0,"log_position":26217664,"updated_at_us":null,"topic":null,"is_event":false,"before_is_key":false,"before":null,"after":[{"int":4},{"text":"NaN"},{"text":"y"}]}}}', 986497540);
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
INSERT INTO "registry_schemas" VALUES (1, 'AVRO', '{"type":"record","name":"Key","namespace":"shop.customers","fields":[{"name":"id","type":"long"}]}', '{}', '{}', 4035737846);
INSERT INTO "registry_schemas" VALUES (2, 'AVRO', '{"type":"record","name":"Value","namespace":"shop.customers","fields":[{"name":"id","type":"long"},{"name":"name","type":"string"},{"name":"updated_at","type":"string"}]}', '{}', '{}', 1955959515);
CREATE TABLE registry_subjects (
    subject         TEXT NOT NULL PRIMARY KEY,
    -- The registry's name of a level (FULL, BACKWARD_TRANSITIVE); nothing where the default holds.
    compatibility   TEXT,
    -- Why it should not be used any more and what should instead; nothing where it should.
    deprecated      TEXT,
    checksum        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
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
INSERT INTO "registry_versions" VALUES ('shop.customers-key', 1, 1, 0, 1795411756531, 70394619);
INSERT INTO "registry_versions" VALUES ('shop.customers-value', 1, 2, 0, 1795411756535, 510245638);
CREATE TABLE announced_schemas (
    connector       TEXT NOT NULL,
    table_name      TEXT NOT NULL,
    version         INTEGER NOT NULL,
    checksum        INTEGER NOT NULL,
    PRIMARY KEY (connector, table_name)
) STRICT, WITHOUT ROWID;
INSERT INTO "announced_schemas" VALUES ('mariadb-log', 'shop3.ledger', 2, 3268639235);
INSERT INTO "announced_schemas" VALUES ('mysql-log', 'shop2.ledger', 2, 2234936005);
INSERT INTO "announced_schemas" VALUES ('postgres-log', 'public.ledger', 3, 252511020);
CREATE TABLE created_connectors (
    name            TEXT NOT NULL PRIMARY KEY,
    -- JSON object: what the file would have under the connector's name, as it was sent, with its passwords.
    config          TEXT NOT NULL,
    checksum        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "created_connectors" VALUES ('lines', '{"source":{"tables":["shop.lines"],"type":"mysql","url":"mysql://tailrace:secret@127.0.0.1:1"},"stream":"events"}', 3436553720);
CREATE TABLE wanted_states (
    connector       TEXT NOT NULL PRIMARY KEY,
    -- paused or stopped.
    wanted          TEXT NOT NULL,
    -- Who asked for it.
    wanted_by       TEXT NOT NULL,
    -- Microseconds since 1970.
    wanted_at_us    INTEGER NOT NULL,
    checksum        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "wanted_states" VALUES ('lines', 'stopped', 'anonymous', 1795411757707620, 857200585);
CREATE TABLE journal (
    -- Grows by one; the highest is never removed, so that none is given twice.
    id              INTEGER NOT NULL PRIMARY KEY,
    -- Microseconds since 1970.
    at_us           INTEGER NOT NULL,
    -- Nothing where it concerns the whole process.
    connector       TEXT,
    -- A person's name, or tailrace.
    who             TEXT NOT NULL,
    -- A word of a fixed list: state, paused, created and others
    what            TEXT NOT NULL,
    -- A sentence.
    detail          TEXT NOT NULL,
    checksum        INTEGER NOT NULL
) STRICT;
INSERT INTO "journal" VALUES (1, 1795411756433632, 'mirror', 'tailrace', 'state', 'streaming: reading the stream', 3522826916);
INSERT INTO "journal" VALUES (10, 1795411756506198, 'postgres-polled', 'tailrace', 'state', 'streaming: polling for changes', 27325094);
INSERT INTO "journal" VALUES (11, 1795411756530765, 'mariadb-log', 'tailrace', 'state', 'snapshotting: reading 1 tables as of binlog.000001:1311, without a lock', 3184282188);
INSERT INTO "journal" VALUES (12, 1795411756566921, 'mariadb-log', 'tailrace', 'state', 'streaming: streaming the binary log from binlog.000001:1311', 699279396);
INSERT INTO "journal" VALUES (13, 1795411756572704, 'postgres-log', 'tailrace', 'state', 'streaming: streaming the log from 0/18FE760 through slot "tailrace_postgres_log"', 3537991131);
INSERT INTO "journal" VALUES (14, 1795411756611906, 'mysql-log', 'tailrace', 'state', 'snapshotting: reading 1 tables as of binlog.000001:1416, under a read lock of the captured tables', 2097336927);
INSERT INTO "journal" VALUES (15, 1795411756653667, 'mysql-log', 'tailrace', 'state', 'streaming: streaming the binary log from binlog.000001:1416', 2511285885);
INSERT INTO "journal" VALUES (16, 1795411756694110, 'mariadb-polled', 'tailrace', 'state', 'snapshotting: reading the rows that are there', 1333587702);
INSERT INTO "journal" VALUES (17, 1795411756714127, 'mariadb-polled', 'tailrace', 'state', 'streaming: polling for changes', 1729126962);
INSERT INTO "journal" VALUES (18, 1795411756735296, 'mysql-polled', 'tailrace', 'state', 'snapshotting: reading the rows that are there', 3618644520);
INSERT INTO "journal" VALUES (19, 1795411756741740, 'mysql-polled', 'tailrace', 'state', 'streaming: polling for changes', 1426786282);
INSERT INTO "journal" VALUES (2, 1795411756450137, 'shop-outbox', 'tailrace', 'state', 'snapshotting: reading the rows that are there', 2398298295);
INSERT INTO "journal" VALUES (20, 1795411757706803, 'lines', 'anonymous', 'created', 'a connector was created', 3821765299);
INSERT INTO "journal" VALUES (21, 1795411757726219, 'lines', 'anonymous', 'stopped', 'what was read is made durable, then everything is closed', 2076582039);
INSERT INTO "journal" VALUES (22, 1795411757726326, 'lines', 'tailrace', 'state', 'stopped: everything that was read is durable and checkpointed', 899494662);
INSERT INTO "journal" VALUES (23, 1795411757728644, 'mirror', 'anonymous', 'paused', 'nothing is read any more; connections stay open', 824868108);
INSERT INTO "journal" VALUES (24, 1795411757732969, 'mirror', 'anonymous', 'resumed', 'it is to run', 2968128515);
INSERT INTO "journal" VALUES (25, 1795411757743213, 'shop-changes', 'tailrace', 'state', 'stopped: everything that was read is durable and checkpointed', 2893381001);
INSERT INTO "journal" VALUES (26, 1795411757745628, 'mariadb-polled', 'tailrace', 'state', 'stopped: everything that was read is durable and checkpointed', 1177633622);
INSERT INTO "journal" VALUES (27, 1795411757746138, 'shop-polled', 'tailrace', 'state', 'stopped: everything that was read is durable and checkpointed', 836642093);
INSERT INTO "journal" VALUES (28, 1795411757746418, 'shop-outbox', 'tailrace', 'state', 'stopped: everything that was read is durable and checkpointed', 2613439577);
INSERT INTO "journal" VALUES (29, 1795411757746702, 'postgres-polled', 'tailrace', 'state', 'stopped: everything that was read is durable and checkpointed', 2041677254);
INSERT INTO "journal" VALUES (3, 1795411756453684, 'shop-polled', 'tailrace', 'state', 'snapshotting: reading the rows that are there', 268338625);
INSERT INTO "journal" VALUES (30, 1795411757746975, 'postgres-log', 'tailrace', 'state', 'stopped: everything that was read is durable and checkpointed', 3589831866);
INSERT INTO "journal" VALUES (31, 1795411757747237, 'mysql-polled', 'tailrace', 'state', 'stopped: everything that was read is durable and checkpointed', 2374647262);
INSERT INTO "journal" VALUES (32, 1795411757747922, 'mirror', 'tailrace', 'state', 'stopped: everything that was read is durable and checkpointed', 578700404);
INSERT INTO "journal" VALUES (33, 1795411757763048, 'mariadb-log', 'tailrace', 'state', 'stopped: everything that was read is durable and checkpointed', 1658232845);
INSERT INTO "journal" VALUES (34, 1795411757763617, 'mysql-log', 'tailrace', 'state', 'stopped: everything that was read is durable and checkpointed', 1242701754);
INSERT INTO "journal" VALUES (4, 1795411756474553, 'shop-changes', 'tailrace', 'state', 'snapshotting: reading the rows that are there', 313805042);
INSERT INTO "journal" VALUES (5, 1795411756474658, 'postgres-polled', 'tailrace', 'state', 'snapshotting: reading the rows that are there', 4167941914);
INSERT INTO "journal" VALUES (6, 1795411756479504, 'shop-outbox', 'tailrace', 'state', 'streaming: polling for changes', 1523467385);
INSERT INTO "journal" VALUES (7, 1795411756485137, 'shop-polled', 'tailrace', 'state', 'streaming: polling for changes', 3264498678);
INSERT INTO "journal" VALUES (8, 1795411756496931, 'shop-changes', 'tailrace', 'state', 'streaming: polling for changes', 2506676412);
INSERT INTO "journal" VALUES (9, 1795411756504987, 'postgres-log', 'tailrace', 'state', 'snapshotting: reading 1 tables as of 0/18FE760', 1346736992);
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
INSERT INTO "releases" VALUES (1, '0.1.0', 6, 1795411756305, 3257907694);
CREATE TABLE carried_until (
    connector       TEXT NOT NULL PRIMARY KEY,
    -- Milliseconds since 1970.
    at_ms           INTEGER NOT NULL,
    -- 1 where its end was seen; 0 where it went on, and may have gone on a little longer.
    ended           INTEGER NOT NULL CHECK (ended IN (0, 1)),
    checksum        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "carried_until" VALUES ('mariadb-log', 1795411757761, 1, 3047921859);
INSERT INTO "carried_until" VALUES ('mariadb-polled', 1795411757734, 1, 2627144050);
INSERT INTO "carried_until" VALUES ('mirror', 1795411757743, 1, 232166339);
INSERT INTO "carried_until" VALUES ('mysql-log', 1795411757762, 1, 1723347483);
INSERT INTO "carried_until" VALUES ('mysql-polled', 1795411757736, 1, 3869758279);
INSERT INTO "carried_until" VALUES ('postgres-log', 1795411757735, 1, 1067865688);
INSERT INTO "carried_until" VALUES ('postgres-polled', 1795411757735, 1, 4291856403);
INSERT INTO "carried_until" VALUES ('shop-changes', 1795411757734, 1, 526010552);
INSERT INTO "carried_until" VALUES ('shop-outbox', 1795411757735, 1, 3945533581);
INSERT INTO "carried_until" VALUES ('shop-polled', 1795411757735, 1, 3461938424);
COMMIT;
