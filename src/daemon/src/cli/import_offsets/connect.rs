//! Offsets as Kafka Connect's workers store them, in whatever container: keys `["connector",{partition}]` and values `{offset}`, both JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};
use tailrace_core::predecessor::{DebeziumOffset, JdbcOffset, StoredOffset};
use tailrace_core::{Error, Result};

use crate::config::fault::suggestion;

/// A key and a value of a container; a value that is gone takes the one before it away.
pub(super) type Stored = (Vec<u8>, Option<Vec<u8>>);

/// How far a connector is with one part of its work.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ConnectOffset {
    /// The connector, where the container says it.
    pub(super) connector: Option<String>,
    pub(super) partition: Map<String, Value>,
    pub(super) offset: Map<String, Value>,
}

/// What `GET /connectors/{name}/offsets` answers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    offsets: Vec<AnsweredOffset>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnsweredOffset {
    partition: Map<String, Value>,
    offset: Option<Map<String, Value>>,
}

/// Offsets by key, the last of each.
///
/// # Errors
/// Definite `offsets_unreadable`.
pub(super) fn by_key(stored: Vec<Stored>) -> Result<Vec<ConnectOffset>> {
    let mut last = BTreeMap::new();
    for (key, value) in stored {
        let (connector, partition): (String, Map<String, Value>) =
            serde_json::from_slice(&key).map_err(|error| foreign("key", &error))?;
        let name = (connector, Value::Object(partition).to_string());
        let offset: Option<Map<String, Value>> = match value {
            None => None,
            Some(value) => serde_json::from_slice(&value).map_err(|error| foreign("value", &error))?,
        };
        last.insert(name, offset);
    }
    let offsets = last.into_iter().filter_map(|((connector, partition), offset)| {
        Some(ConnectOffset {
            connector: Some(connector),
            partition: serde_json::from_str(&partition).ok()?,
            offset: offset?,
        })
    });
    Ok(offsets.collect())
}

/// Offsets of one connector, as Kafka Connect's endpoint shows them.
///
/// # Errors
/// Definite `offsets_unreadable`.
pub(super) fn of_answer(json: &[u8]) -> Result<Vec<ConnectOffset>> {
    let answer: Answer = serde_json::from_slice(json).map_err(|error| {
        let message = "the JSON is not what Kafka Connect's `GET /connectors/{name}/offsets` answers: \
                       {\"offsets\": [{\"partition\": {…}, \"offset\": {…}}]}";
        Error::definite("offsets_unreadable", message).with_source(error)
    })?;
    let offsets = answer.offsets.into_iter().filter_map(|answered| {
        Some(ConnectOffset {
            connector: None,
            partition: answered.partition,
            offset: answered.offset?,
        })
    });
    Ok(offsets.collect())
}

/// The offsets of the connector of this name, or of the only one.
///
/// # Errors
/// Definite `offsets_missing` where there are none, or several connectors.
pub(super) fn of_connector(
    offsets: Vec<ConnectOffset>,
    name: Option<&str>,
) -> Result<(Option<String>, Vec<ConnectOffset>)> {
    let names: BTreeSet<Option<String>> = offsets.iter().map(|offset| offset.connector.clone()).collect();
    let known: Vec<String> = names.iter().flatten().cloned().collect();
    let missing = |message: String| Err(Error::definite("offsets_missing", message));
    let chosen = match (name, names.len()) {
        (_, 0) => {
            return missing(
                "no offsets are stored there: no source connector has published anything, or its offsets were removed"
                    .to_owned(),
            );
        }
        (Some(name), _) if known.iter().any(|known| known == name) => Some(name.to_owned()),
        (Some(name), _) => {
            return missing(format!(
                "no offsets of a connector `{name}` are stored there; {}",
                suggestion(name, &known)
            ));
        }
        (None, 1) => names.into_iter().next().flatten(),
        (None, _) => {
            return missing(format!(
                "offsets of several connectors are stored there: choose one with --name: {}",
                known.join(", ")
            ));
        }
    };
    let own = offsets
        .into_iter()
        .filter(|offset| offset.connector == chosen)
        .collect();
    Ok((chosen, own))
}

/// What offsets of one connector mean.
///
/// # Errors
/// Definite `offsets_foreign` where they are of a connector that is not understood, `offsets_unreadable`, `offsets_ambiguous`.
pub(super) fn understood(offsets: &[ConnectOffset]) -> Result<StoredOffset> {
    if offsets.iter().all(ConnectOffset::is_debeziums) {
        return match offsets {
            [only] => Ok(StoredOffset::Debezium(DebeziumOffset::new(only.offset.clone()))),
            _ => {
                let servers: Vec<&str> = offsets.iter().filter_map(ConnectOffset::server).collect();
                let message = format!(
                    "the connector has offsets of several servers ({}), because its `topic.prefix` was changed: hand over the one that is \
                     right with --connect-json",
                    servers.join(", ")
                );
                Err(Error::definite("offsets_ambiguous", message))
            }
        };
    }
    if offsets.iter().all(ConnectOffset::is_jdbcs) {
        let current: Vec<&ConnectOffset> = offsets.iter().filter(|offset| offset.is_current()).collect();
        let all = if current.is_empty() {
            offsets.iter().collect()
        } else {
            current
        };
        let tables: Result<Vec<JdbcOffset>> = all.into_iter().map(ConnectOffset::jdbc).collect();
        return tables.map(StoredOffset::Jdbc);
    }
    let partition = offsets.iter().find(|offset| !offset.is_debeziums());
    let message = format!(
        "an offset of {} is neither one of Debezium's connectors for PostgreSQL, MySQL and MariaDB nor one of a JDBC source",
        partition.map_or_else(
            || "nothing".to_owned(),
            |offset| Value::Object(offset.partition.clone()).to_string()
        )
    );
    Err(Error::definite("offsets_foreign", message))
}

fn foreign(what: &str, error: &serde_json::Error) -> Error {
    let message = format!(
        "a {what} there is not one of Kafka Connect's offsets, which are `[\"connector\",{{partition}}]` and `{{offset}}` in JSON: {error}; \
         is it the topic or file of the offsets, and not that of configurations or states?"
    );
    Error::definite("offsets_unreadable", message)
}

/// Microseconds since 1970 of a moment: its milliseconds, and the nanoseconds of its second, which old releases do not store.
fn moment_us(milliseconds: i64, nanoseconds: Option<i64>) -> Option<i64> {
    let within_us = match nanoseconds {
        None => milliseconds.rem_euclid(1_000) * 1_000,
        Some(nanoseconds) if (0..1_000_000_000).contains(&nanoseconds) => nanoseconds / 1_000,
        Some(_) => return None,
    };
    let seconds_us = milliseconds.div_euclid(1_000).checked_mul(1_000_000)?;
    seconds_us.checked_add(within_us)
}

// === impl ConnectOffset ===

impl ConnectOffset {
    fn server(&self) -> Option<&str> {
        self.partition.get("server").and_then(Value::as_str)
    }

    fn is_debeziums(&self) -> bool {
        self.partition.len() == 1 && self.server().is_some()
    }

    fn table(&self) -> Option<&str> {
        self.partition.get("table").and_then(Value::as_str)
    }

    fn is_jdbcs(&self) -> bool {
        self.table().is_some() && self.partition.keys().all(|key| key == "table" || key == "protocol")
    }

    /// Releases before 2018 named tables without their schema; what they stored is still there beside the newer.
    fn is_current(&self) -> bool {
        self.partition.get("protocol").is_some_and(|protocol| protocol == "1")
    }

    fn jdbc(&self) -> Result<JdbcOffset> {
        let table = self.table().unwrap_or_default().to_owned();
        let number = |key: &str| match self.offset.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| {
                let message = format!(
                    "`{key}` of the JDBC connector's offset of {table} is {value}, and would be a whole number"
                );
                Error::definite("offsets_unreadable", message)
            }),
        };
        let (milliseconds, nanoseconds) = (number("timestamp")?, number("timestamp_nanos")?);
        let timestamp_us = milliseconds.map(|milliseconds| {
            moment_us(milliseconds, nanoseconds).ok_or_else(|| {
                let message =
                    format!("`timestamp` of the JDBC connector's offset of {table} is no moment: {milliseconds} ms");
                Error::definite("offsets_unreadable", message)
            })
        });
        Ok(JdbcOffset {
            incrementing: number("incrementing")?,
            timestamp_us: timestamp_us.transpose()?,
            table,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(key: &str, value: Option<&str>) -> Stored {
        (key.as_bytes().to_vec(), value.map(|value| value.as_bytes().to_vec()))
    }

    fn code<T>(result: Result<T>) -> Option<&'static str> {
        result.err().map(|error| error.code())
    }

    #[test]
    fn the_last_offset_of_each_key_counts() {
        let offsets = by_key(vec![
            stored(r#"["shop",{"server":"s"}]"#, Some(r#"{"lsn":1}"#)),
            stored(r#"["gone",{"server":"g"}]"#, Some(r#"{"lsn":1}"#)),
            stored(r#"["shop",{"server":"s"}]"#, Some(r#"{"lsn":2}"#)),
            stored(r#"["gone",{"server":"g"}]"#, None),
            stored(r#"["null",{"server":"n"}]"#, Some("null")),
        ])
        .unwrap();
        let (name, own) = of_connector(offsets, None).unwrap();
        assert_eq!(name.as_deref(), Some("shop"));
        let StoredOffset::Debezium(offset) = understood(&own).unwrap() else {
            panic!("{own:?}");
        };
        assert_eq!(offset.number("lsn").unwrap(), Some(2));
    }

    #[test]
    fn the_nearest_name_is_told() {
        let offsets = || {
            by_key(vec![
                stored(r#"["shop-orders",{"server":"s"}]"#, Some("{}")),
                stored(r#"["crm",{"server":"c"}]"#, Some("{}")),
            ])
            .unwrap()
        };
        let error = of_connector(offsets(), Some("shop_orders")).unwrap_err();
        assert!(error.to_string().contains("did you mean `shop-orders`?"), "{error}");
        let error = of_connector(offsets(), None).unwrap_err();
        assert!(error.to_string().contains("--name: crm, shop-orders"), "{error}");
        assert_eq!(code(of_connector(Vec::new(), Some("shop"))), Some("offsets_missing"));
        assert_eq!(of_connector(offsets(), Some("crm")).unwrap().1.len(), 1);
    }

    #[test]
    fn what_is_no_offset_is_refused() {
        for (key, value) in [
            ("", "{}"),
            ("{}", "{}"),
            (r#"["shop"]"#, "{}"),
            (r#"["shop",{},1]"#, "{}"),
            (r#"[1,{}]"#, "{}"),
            (r#"["shop",{"server":"s"}]"#, "[]"),
            (r#"["shop",{"server":"s"}]"#, "{"),
            ("connector-shop", "{}"),
        ] {
            assert_eq!(
                code(by_key(vec![stored(key, Some(value))])),
                Some("offsets_unreadable"),
                "{key}"
            );
        }
        for json in [
            "",
            "{}",
            "[]",
            r#"{"offsets":[{"offset":{}}]}"#,
            r#"{"error_code":404,"message":"no"}"#,
        ] {
            assert_eq!(code(of_answer(json.as_bytes())), Some("offsets_unreadable"), "{json}");
        }
    }

    #[test]
    fn offsets_are_told_by_their_partitions() {
        let understand = |json: &str| understood(&of_answer(json.as_bytes()).unwrap());
        let file = r#"{"offsets":[{"partition":{"filename":"/tmp/x"},"offset":{"position":1}}]}"#;
        assert_eq!(code(understand(file)), Some("offsets_foreign"));
        let two = r#"{"offsets":[{"partition":{"server":"a"},"offset":{}},{"partition":{"server":"b"},"offset":{}}]}"#;
        assert_eq!(code(understand(two)), Some("offsets_ambiguous"));
        let query = r#"{"offsets":[{"partition":{"query":"query"},"offset":{"incrementing":1}}]}"#;
        assert_eq!(code(understand(query)), Some("offsets_foreign"));
        let tables = r#"{"offsets":[
            {"partition":{"protocol":"1","table":"shop.public.orders"},
             "offset":{"timestamp":1700000000123,"timestamp_nanos":123456789,"incrementing":7}},
            {"partition":{"table":"orders"},"offset":{"incrementing":3}}]}"#;
        let orders = JdbcOffset {
            table: "shop.public.orders".to_owned(),
            incrementing: Some(7),
            timestamp_us: Some(1_700_000_000_123_456),
        };
        assert_eq!(understand(tables).unwrap(), StoredOffset::Jdbc(vec![orders]));
        let moment = |timestamp: &str| {
            understand(&format!(
                r#"{{"offsets":[{{"partition":{{"table":"t"}},"offset":{timestamp}}}]}}"#
            ))
        };
        assert_eq!(
            code(moment(r#"{"timestamp":9223372036854775807}"#)),
            Some("offsets_unreadable")
        );
        assert_eq!(
            code(moment(r#"{"timestamp":1,"timestamp_nanos":1000000000}"#)),
            Some("offsets_unreadable")
        );
        assert_eq!(code(moment(r#"{"incrementing":"7"}"#)), Some("offsets_unreadable"));
        assert_eq!(code(moment(r#"{"timestamp":-1}"#)), None, "before 1970");
    }

    proptest! {
        #[test]
        fn offsets_of_arbitrary_bytes_are_read_or_refused(
            key in prop::collection::vec(any::<u8>(), 0..64),
            value in prop::option::of(prop::collection::vec(any::<u8>(), 0..64)),
        ) {
            if let Ok(offsets) = by_key(vec![(key.clone(), value)]) {
                drop(understood(&offsets));
            }
            drop(of_answer(&key));
        }

        #[test]
        fn moments_are_kept_to_the_microsecond(us in -1_000_000_000_000_000_i64..4_000_000_000_000_000) {
            let (milliseconds, nanoseconds) = (us.div_euclid(1_000), us.rem_euclid(1_000_000) * 1_000);
            let json = format!(
                r#"{{"offsets":[{{"partition":{{"table":"t"}},"offset":{{"timestamp":{milliseconds},"timestamp_nanos":{nanoseconds}}}}}]}}"#
            );
            let Ok(StoredOffset::Jdbc(tables)) = understood(&of_answer(json.as_bytes()).unwrap()) else {
                panic!("{json}");
            };
            prop_assert_eq!(tables[0].timestamp_us, Some(us));
        }
    }
}
