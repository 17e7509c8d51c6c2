//! What a source publishes, and what it does not: rows from before, rows and columns that are withheld, and truncates that have no order.

use tailrace_tests::servers::PostgresVersion;

use super::{Pair, Setup, listed};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_publication_withholds_is_not_compared_and_not_copied() {
    let setup = Setup {
        source: "publication: chosen\ncreate_publication: false",
        ..Setup::default()
    };
    let table = "create table goods (id int primary key, note text, secret text);
                 insert into goods select i, 'note', 'secret' from generate_series(1, 10) i;
                 create publication chosen for table goods (id, note) where (id <= 5)";
    let pair = Pair::of(PostgresVersion::V17, table, &[("goods", 5)], setup).await;
    let [goods] = pair.reports(["goods"], &["--repair"], 0);
    assert_eq!((&goods["rows"], &goods["equal"]), (&5.into(), &5.into()), "{goods:#}");
    assert_eq!(goods["left_out"], serde_json::json!([]), "{goods:#}");
    // A column that somebody else has made in the target is not filled either.
    pair.target
        .execute("alter table goods add secret text; update goods set note = 'drift' where id = 3; delete from goods where id = 4; insert into goods values (7, 'x')")
        .await
        .unwrap();
    let [goods] = pair.reports(["goods"], &["--repair"], 0);
    assert_eq!(
        listed(&goods),
        ["different id=3 note", "missing id=4", "extra id=7"],
        "{goods:#}"
    );
    let left = pair
        .target
        .query_value("select count(*) || ' ' || count(secret) from goods")
        .await;
    assert_eq!(left.unwrap(), "5 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_in_rows_that_were_never_published_is_drift() {
    let setup = Setup {
        source: "snapshot: { mode: never }",
        target: "create table goods (id int primary key, note text); insert into goods select i, 'note' from generate_series(1, 10) i",
        ..Setup::default()
    };
    let table = "create table goods (id int primary key, note text);
                 insert into goods select i, 'note' from generate_series(1, 10) i";
    let pair = Pair::of(PostgresVersion::V17, table, &[("goods", 10)], setup).await;
    pair.source.wait_until_carried(&pair.daemon).await.unwrap();
    pair.source
        .execute("update goods set note = 'newer' where id = 1")
        .await
        .unwrap();
    pair.wait_for("select note from goods where id = 1", "newer").await;
    pair.target
        .execute("update goods set note = 'drift' where id = 2; delete from goods where id = 3; insert into goods values (11, 'x')")
        .await
        .unwrap();
    let wanted = ["extra id=11", "different id=2 note", "missing id=3"];
    for (arguments, code) in [(&["--wait", "1"][..], 6), (&["--wait", "1", "--repair"][..], 0)] {
        let [goods] = pair.reports(["goods"], arguments, code);
        assert_eq!(listed(&goods), wanted, "{goods:#}");
    }
    let [goods] = pair.reports(["goods"], &[], 0);
    assert_eq!(goods["equal"], 10, "{goods:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_a_query_is_not_compared() {
    let setup = Setup {
        source: "query:\n  mode: bulk\n  poll_interval_ms: 200\n  queries:\n    public.sums:\n      sql: select id, note from public.goods\n      key: [id]",
        ..Setup::default()
    };
    let table = "create table goods (id int primary key, note text);
                 insert into goods select i, 'note' from generate_series(1, 10) i";
    let pair = Pair::of(PostgresVersion::V17, table, &[("goods", 10), ("sums", 10)], setup).await;
    let printed = pair.verify(&["--table", "sums"]);
    assert_eq!(printed.code, Some(1), "{}", printed.all());
    assert!(
        printed.stdout.contains("is the answer of a query") && printed.stdout.contains("query_not_compared"),
        "{}",
        printed.all()
    );
    let printed = pair.verify(&["--table", "goods"]);
    assert_eq!(printed.code, Some(0), "{}", printed.all());
}
