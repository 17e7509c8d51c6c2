//! Keys and guards that are not as simple as a number: values that databases fill up, and rows that a repair does not change.

use tailrace_tests::database::Version;
use tailrace_tests::servers::{MySqlVersion, PostgresVersion};

use super::{Pair, Setup, listed};

/// The events keep the blanks of `char(6)`, and so do the tables that sinks make of them.
const TABLES: &str = "create table codes (code char(6) primary key, note text);
    create table shelves (code char(6), number int, note text, primary key (code, number));
    create table days (day date primary key, note text);
    insert into codes select 'c' || i, 'note ' || i from generate_series(1, 700) i;
    insert into shelves select 'c' || i / 10, i % 10, 'note ' || i from generate_series(1, 700) i;
    insert into days select date '2024-02-29' + i, 'note ' || i from generate_series(1, 700) i";

const NAMES: [&str; 3] = ["codes", "shelves", "days"];

async fn filled_up_keys_find_their_rows(target: impl Into<Version>) {
    let tables = NAMES.map(|name| (name, 700));
    let pair = Pair::of(target, TABLES, &tables, Setup::default()).await;
    let is_equal = |arguments: &[&str]| {
        for table in pair.reports(NAMES, arguments, 0) {
            assert_eq!(
                (&table["equal"], &table["lag"], &table["unpublished"]),
                (&700.into(), &0.into(), &0.into()),
                "{table:#}"
            );
        }
    };
    is_equal(&[]);
    is_equal(&["--stream"]);
    let drift = "update codes set note = 'drift' where code like 'c7 %' or code = 'c7'; delete from codes where code like 'c8 %' or code = 'c8';
                 insert into codes values ('x', 'extra'); delete from shelves where number = 3 and (code like 'c5 %' or code = 'c5');
                 update days set note = 'drift' where day = '2024-03-01'; insert into days values ('1999-12-31', 'extra')";
    pair.target.execute(drift).await.unwrap();
    for (arguments, code) in [(&[][..], 6), (&["--stream"][..], 6), (&["--repair"][..], 0)] {
        let [codes, shelves, days] = pair.reports(NAMES, arguments, code);
        // The topic does not say that its text is filled up, which does not matter for rows that it has made.
        let named = |table| {
            listed(table)
                .iter()
                .map(|key| key.replace("  ", ""))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            named(&codes),
            ["different code=c7 note", "missing code=c8", "extra code=x"],
            "{codes:#}"
        );
        assert_eq!(shelves["missing"], 1, "{shelves:#}");
        assert_eq!((&days["different"], &days["extra"]), (&1.into(), &1.into()), "{days:#}");
    }
    is_equal(&[]);
    is_equal(&["--stream"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn filled_up_keys_find_their_rows_in_postgres() {
    filled_up_keys_find_their_rows(PostgresVersion::V17).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filled_up_keys_find_their_rows_in_mysql() {
    filled_up_keys_find_their_rows(MySqlVersion::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guard_keeps_as_it_is_was_not_repaired() {
    let setup = Setup {
        sink: ", version_guard: version",
        ..Setup::default()
    };
    let table = "create table goods (id int primary key, note text, version int not null);
                 insert into goods select i, 'note', 1 from generate_series(1, 10) i";
    let pair = Pair::of(PostgresVersion::V17, table, &[("goods", 10)], setup).await;
    let drift =
        "update goods set note = 'drift' where id = 3; update goods set note = 'kept', version = 9 where id = 4";
    pair.target.execute(drift).await.unwrap();
    for arguments in [&["--repair"][..], &["--repair", "--stream"]] {
        let [goods] = pair.reports(["goods"], arguments, 6);
        let is_first = !arguments.contains(&"--stream");
        assert_eq!(goods["repaired"], u64::from(is_first), "{goods:#}");
        let kept = goods["keys"]
            .as_array()
            .unwrap()
            .iter()
            .find(|key| key["key"] == "id=4");
        assert_eq!(kept.unwrap()["repaired"], false, "{goods:#}");
    }
    assert_eq!(
        pair.target
            .query_value("select note from goods where id = 3")
            .await
            .unwrap(),
        "note"
    );
    assert_eq!(
        pair.target
            .query_value("select note from goods where id = 4")
            .await
            .unwrap(),
        "kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_other_topics_in_the_same_table_are_left_alone() {
    let tables = "create table north (id int primary key, note text); create table south (id int primary key, note text);
                  insert into north select i, 'north' from generate_series(1, 10) i; insert into south select i, 'south' from generate_series(11, 20) i";
    let mut pair = Pair::of(
        PostgresVersion::V17,
        tables,
        &[("north", 10), ("south", 10)],
        Setup::default(),
    )
    .await;
    let (north, south) = (pair.source.topic("north"), pair.source.topic("south"));
    let shared: &'static str = format!(", tables: {{ \"{north}\": regions, \"{south}\": regions }}").leak();
    pair.setup.sink = shared;
    pair.restart(super::Parts::Both);
    let changes = "update north set note = 'changed'; update south set note = 'changed'";
    pair.source.execute(changes).await.unwrap();
    pair.wait_for("select count(*) from regions", "20").await;
    pair.target
        .execute("update regions set note = 'drift' where id = 15")
        .await
        .unwrap();
    for arguments in [&[][..], &["--stream"]] {
        let [north, south] = pair.reports(["north", "south"], arguments, 6);
        assert_eq!(
            (&north["extra"], &north["is_shared"]),
            (&0.into(), &true.into()),
            "{north:#}"
        );
        assert_eq!(listed(&south), ["different id=15 note"], "{south:#}");
    }
    let [_, south] = pair.reports(["north", "south"], &["--repair"], 0);
    assert_eq!(south["repaired"], 1, "{south:#}");
    pair.wait_for("select count(*) from regions", "20").await;
}

/// The source has keys in capitals, and with zeros in front; the target has types of its own for them.
const WRITTEN_OTHERWISE: &str = "create table parcels (id char(36) primary key, note text);
    insert into parcels select case when i % 3 = 0 then upper(md5(i::text)::uuid::text) when i % 3 = 1 then md5(i::text)::uuid::text
      else initcap(md5(i::text)::uuid::text) end, 'note ' || i from generate_series(1, 700) i;
    create table numbers (id text primary key, note text);
    insert into numbers select lpad(i::text, 6, '0'), 'note' from generate_series(1, 10) i";

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_keeps_rows_whose_keys_the_target_writes_otherwise() {
    let setup = Setup {
        target: "create table parcels (id uuid primary key, note text); create table numbers (id bigint primary key, note text)",
        ..Setup::default()
    };
    let tables = [("parcels", 700), ("numbers", 10)];
    let pair = Pair::of(PostgresVersion::V17, WRITTEN_OTHERWISE, &tables, setup).await;
    for arguments in [&["--table", "parcels"][..], &["--table", "parcels", "--stream"]] {
        let [parcels] = pair.reports(["parcels"], arguments, 0);
        assert_eq!(parcels["equal"], 700, "{parcels:#}");
    }
    let drift =
        "update parcels set note = 'drift' where id = md5('5')::uuid; delete from parcels where id = md5('6')::uuid;
                 insert into parcels values (md5('x')::uuid, 'extra')";
    pair.target.execute(drift).await.unwrap();
    let [parcels, numbers] = pair.reports(["parcels", "numbers"], &["--repair"], 1);
    assert_eq!(
        (
            &parcels["different"],
            &parcels["missing"],
            &parcels["extra"],
            &parcels["repaired"]
        ),
        (&1.into(), &1.into(), &1.into(), &3.into()),
        "{parcels:#}"
    );
    let problem = numbers["problem"].as_str().unwrap_or_default();
    assert!(problem.contains("found by another key"), "{numbers:#}");
    let left = pair.target.query_value("select count(*) from numbers").await;
    assert_eq!(left.unwrap(), "10");
    let [parcels] = pair.reports(["parcels"], &["--table", "parcels"], 0);
    assert_eq!(parcels["equal"], 700, "{parcels:#}");
    // What stands for numbers in the topic is compared as numbers.
    let [numbers] = pair.reports(["numbers"], &["--table", "numbers", "--stream"], 0);
    assert_eq!(numbers["equal"], 10, "{numbers:#}");
}

/// Keys that are text on one side and of a type of their own on the other, and bytes that one side fills up.
const TYPES: &str = "create table flags (flag boolean primary key, note text); insert into flags values (true, 'yes'), (false, 'no');
    create table moments (at timestamptz primary key, note text);
    insert into moments select timestamptz '2024-02-29 10:00:00+00' + i * interval '1 hour', 'note' from generate_series(1, 20) i;
    create table codes (code bytea primary key, mark bytea);
    insert into codes select decode(lpad(to_hex(i), 4, '0'), 'hex'), '\\x61' from generate_series(1, 20) i";

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_text_form_and_bytes_that_are_filled_up_are_found() {
    let setup = Setup {
        target: "create table flags (flag varchar(9) primary key, note text); create table moments (at varchar(40) primary key, note text);
                 create table codes (code binary(4) primary key, mark binary(3))",
        ..Setup::default()
    };
    let tables = [("flags", 2), ("moments", 20), ("codes", 20)];
    let pair = Pair::of(MySqlVersion::MySql97, TYPES, &tables, setup).await;
    let names = tables.map(|(name, _)| name);
    for arguments in [&[][..], &["--stream"], &["--repair"]] {
        for (table, (_, rows)) in pair.reports(names, arguments, 0).into_iter().zip(tables) {
            assert_eq!(table["equal"], rows, "{table:#}");
            assert_eq!(table["keys"], serde_json::json!([]), "{table:#}");
        }
    }
    pair.target
        .execute("delete from codes where code = x'00050000'; insert into codes values (x'ffff0000', x'616263'); delete from moments limit 1; insert into flags values ('maybe', 'x')")
        .await
        .unwrap();
    let [flags, moments, codes] = pair.reports(names, &["--repair"], 0);
    for (table, repaired) in [(flags, 1), (moments, 1), (codes, 2)] {
        assert_eq!(table["repaired"], repaired, "{table:#}");
    }
}
