//! The shape of the statements; that they accept and refuse what they should is tried on real servers.

use super::*;

const DIALECTS: [TriggerDialect; 4] = [
    TriggerDialect::Postgres,
    TriggerDialect::MySql,
    TriggerDialect::MariaDb,
    TriggerDialect::Sqlite,
];

fn table(only: Option<&str>) -> ContractTable {
    ContractTable {
        schema: Some("my\"schema`".to_owned()),
        table: "outbox".to_owned(),
        payload: "payload".to_owned(),
        only: only.map(|value| ("type".to_owned(), value.to_owned())),
    }
}

fn written(dialect: TriggerDialect, contract: &str, table: &ContractTable) -> Result<Vec<String>> {
    contract_trigger(dialect, &Contract::parse(contract.as_bytes()).unwrap(), table)
}

#[test]
fn names_and_texts_are_quoted() {
    let contract = r#"{"properties":{"it's":{"enum":["a'b\\c"]},"$contract$":{"type":"string"}}}"#;
    let table = table(Some("Order'Created"));
    let all = |dialect| written(dialect, contract, &table).unwrap().join(";\n");
    let postgres = all(TriggerDialect::Postgres);
    for part in [
        r#""my""schema`"."outbox_contract_order_created"()"#,
        "WHEN (NEW.\"type\" = 'Order''Created')",
        r#"'"a''b\\c"'::jsonb"#,
        "payload.it''s: must be one of a''b\\c",
        "AS $contract1$\n",
    ] {
        assert!(postgres.contains(part), "{part} is not in\n{postgres}");
    }
    let mysql = all(TriggerDialect::MySql);
    for part in [
        "CREATE TRIGGER `my\"schema```.`outbox_contract_order_created` BEFORE INSERT",
        r"CAST(_utf8mb4'a''b\\c' AS BINARY)",
        "_utf8mb4'$.\"it''s\"'",
    ] {
        assert!(mysql.contains(part), "{part} is not in\n{mysql}");
    }
    let sqlite = all(TriggerDialect::Sqlite);
    for part in [
        "ON \"outbox\" FOR EACH ROW WHEN NEW.\"type\" = 'Order''Created'",
        "'$.\"it''s\"'",
    ] {
        assert!(sqlite.contains(part), "{part} is not in\n{sqlite}");
    }
}

#[test]
fn what_a_database_cannot_do_is_refused() {
    let pattern = r#"{"properties":{"a":{"pattern":"x"}}}"#;
    for dialect in DIALECTS {
        let refused = written(dialect, pattern, &table(None)).is_err();
        assert_eq!(refused, dialect == TriggerDialect::Sqlite);
        let long = written(dialect, r#"{"type":"object"}"#, &table(Some(&"x".repeat(50)))).unwrap_err();
        assert!(long.report().contains("longer than"), "{}", long.report());
    }
}
