use std::sync::Arc;

use tailrace_core::value::Datum;

use super::*;

fn column(logical_type: LogicalType, source_type: &str) -> Column {
    Column {
        source_type: source_type.to_owned(),
        ..Column::new("c", logical_type)
    }
}

fn new(logical_type: LogicalType, is_key: bool) -> Option<String> {
    MYSQL_80.column_type(&column(logical_type, ""), is_key)
}

fn wider(present: &str, event: LogicalType, event_type: &str) -> Result<Option<String>> {
    MYSQL_80.wider_type(&column(LogicalType::Int64, present), &column(event, event_type))
}

const fn decimal(precision: u32, scale: u32) -> LogicalType {
    LogicalType::Decimal {
        precision: Some(precision),
        scale: Some(scale),
    }
}

#[test]
fn types_of_new_columns() {
    let text = |is_key| new(LogicalType::Text(TextKind::Plain), is_key).unwrap();
    assert_eq!(text(false), "LONGTEXT CHARACTER SET utf8mb4");
    assert_eq!(
        text(true),
        "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin"
    );
    let old = MYSQL_56.column_type(&column(LogicalType::Text(TextKind::Plain), ""), true);
    assert_eq!(old.unwrap(), "VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    assert_eq!(new(decimal(10, 2), false).unwrap(), "DECIMAL(10,2)");
    assert_eq!(new(decimal(66, 2), false).unwrap(), text(false));
    assert_eq!(new(decimal(40, 31), true).unwrap(), text(true));
    let bits = |length, source_type: &str| {
        let column = column(LogicalType::Bits { length }, source_type);
        MYSQL_80.column_type(&column, false).unwrap()
    };
    assert_eq!(bits(Some(8), "bit(8)"), "BIT(8)");
    assert_eq!(bits(Some(8), "bit varying(8)"), text(false));
    assert_eq!(bits(Some(65), ""), text(false));
    assert_eq!(
        new(LogicalType::TimestampTz { precision: 3 }, true).unwrap(),
        "DATETIME(3)"
    );
    assert_eq!(new(LogicalType::Map, true), None);
    assert_eq!(new(LogicalType::Map, false).unwrap(), "JSON");
    let members: Arc<[String]> = Arc::from(["x".repeat(256)]);
    assert_eq!(
        new(LogicalType::Text(TextKind::Enum(members)), false).unwrap(),
        text(false)
    );
}

#[test]
fn servers_have_types_of_their_own() {
    let of = |version: &str| MySqlDefinitions::of(&Identity::parse(version).unwrap());
    assert_eq!(of("5.6.24"), &MYSQL_56);
    assert_eq!(of("5.7.44"), &MYSQL_57);
    assert_eq!(of("9.7.4"), &MYSQL_80);
    assert_eq!(of("10.11.6-MariaDB"), &MARIADB);
}

#[test]
fn whole_numbers_get_wider() {
    let int = |present, event| wider(present, event, "").unwrap();
    assert_eq!(int("int(11)", LogicalType::Int32), None);
    assert_eq!(int("int(11)", LogicalType::Int64).unwrap(), "BIGINT");
    assert_eq!(int("tinyint(4)", LogicalType::Int16).unwrap(), "SMALLINT");
    assert_eq!(int("int(10) unsigned", LogicalType::Int32).unwrap(), "BIGINT");
    assert_eq!(int("bigint(20) unsigned", LogicalType::Int64).unwrap(), "DECIMAL(20,0)");
    assert_eq!(int("bigint(20)", LogicalType::UnsignedInt64).unwrap(), "DECIMAL(20,0)");
    assert_eq!(
        int("int(10) unsigned", LogicalType::UnsignedInt64).unwrap(),
        "BIGINT UNSIGNED"
    );
    assert_eq!(int("int(11)", LogicalType::Float64).unwrap(), "DOUBLE");
    assert_eq!(int("int(11)", decimal(10, 2)).unwrap(), "DECIMAL(21,2)");
    assert_eq!(
        int("int(11) AUTO_INCREMENT", LogicalType::Int64).unwrap(),
        "BIGINT AUTO_INCREMENT"
    );
    assert!(wider("bigint(20)", LogicalType::Float64, "").is_err());
    assert!(wider("int(11)", LogicalType::Date, "").is_err());
}

#[test]
fn other_types_get_wider_or_are_refused() {
    let of = |present, event, event_type| wider(present, event, event_type).unwrap();
    assert_eq!(of("decimal(10,2)", decimal(8, 2), ""), None);
    assert_eq!(of("decimal(10,2)", decimal(10, 4), "").unwrap(), "DECIMAL(12,4)");
    assert_eq!(of("decimal(10,2)", LogicalType::Int64, "").unwrap(), "DECIMAL(21,2)");
    assert!(wider("decimal(65,0)", decimal(10, 4), "").is_err());
    assert_eq!(of("float", LogicalType::Float64, "").unwrap(), "DOUBLE");
    let moment = |precision| LogicalType::TimestampTz { precision };
    assert_eq!(of("datetime", moment(6), "").unwrap(), "DATETIME(6)");
    assert_eq!(of("datetime(6)", moment(3), ""), None);
    assert_eq!(of("date", moment(0), "").unwrap(), "DATETIME(0)");
    assert_eq!(
        of("time(3)", LogicalType::Time { precision: 6 }, "").unwrap(),
        "TIME(6)"
    );
    let plain = || LogicalType::Text(TextKind::Plain);
    let varchar = "varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci";
    assert_eq!(of(varchar, plain(), "varchar(10)"), None);
    assert_eq!(of(varchar, plain(), ""), None);
    assert_eq!(
        of(varchar, plain(), "character varying(30)").unwrap(),
        "VARCHAR(30) CHARACTER SET latin1 COLLATE latin1_swedish_ci"
    );
    let longtext = of(varchar, plain(), "varchar(10000)").unwrap();
    assert_eq!(longtext, "LONGTEXT CHARACTER SET latin1 COLLATE latin1_swedish_ci");
    assert_eq!(of("blob", LogicalType::Bytes, "").unwrap(), "LONGBLOB");
    assert!(wider(varchar, LogicalType::Bytes, "").is_err());
}

#[test]
fn a_new_type_keeps_what_is_said_of_the_column() {
    let mut present = column(LogicalType::Int32, "int(11)");
    present.documentation = Some("it's".to_owned());
    present.default = Some(Datum::Int(7));
    let wider = MYSQL_80
        .wider_type(&present, &column(LogicalType::Int64, ""))
        .unwrap()
        .unwrap();
    let table = MYSQL_80.table_name("shop.orders");
    assert_eq!(
        MYSQL_80.retype(&table, "c", &wider, false),
        "ALTER TABLE `shop`.`orders` MODIFY COLUMN `c` BIGINT DEFAULT 7 COMMENT 'it''s' NOT NULL"
    );
    assert_eq!(MYSQL_80.table(&MYSQL_80.table_name("orders")), "`orders`");
    present.source_type.push_str(COMPUTED_DEFAULT);
    let refused = MYSQL_80
        .wider_type(&present, &column(LogicalType::Int64, ""))
        .unwrap_err();
    assert_eq!(refused.code(), "column_narrow");
}
