//! Whether a connector has carried everything up to a place in MySQL's or MariaDB's binary log.
//!
//! Nothing is told to the server, so that the connector itself is asked: `/status` shows the checkpointed position, which begins
//! with the file and the offset where the next transaction starts. Behind a file's beginning there are events that are no
//! transactions; a connector need not have moved over them. After a failover file and offset may still be those of the old server:
//! where there are global transaction identifiers, they must have been reached as well.

use serde_json::Value;

use crate::servers::{MySqlServer, Result, ServerError};

/// Events that carry nothing (documentation of both, "Binary Log Event Types").
const EMPTY_EVENTS: [&str; 9] = [
    "Format_desc",
    "Previous_gtids",
    "Gtid_list",
    "Binlog_checkpoint",
    "Rotate",
    "Stop",
    "Start_encryption",
    "Ignorable",
    "Heartbeat",
];

/// A place in the log: a file's number and the offset in it, and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    number: u64,
    offset: u64,
    file: String,
}

/// Where the log ends now, as text for [`is_carried`].
///
/// # Errors
/// When the server does not answer.
pub(crate) async fn end(server: &MySqlServer) -> Result<String> {
    let (file, offset) = server.log_end().await?;
    let executed = server.executed().await?;
    Ok(format!("{file}:{offset};{executed}"))
}

/// Whether a connector, of which `/status` says this, has made everything durable that is in the log before the end.
///
/// # Errors
/// When the server does not answer.
pub(crate) async fn is_carried(server: &MySqlServer, connector: &Value, end: &str) -> Result<bool> {
    let Some(position) = logged(connector.get("position").and_then(Value::as_str).unwrap_or_default()) else {
        return Ok(false);
    };
    let position = position.as_str();
    if !has_executed(server, position, end).await? {
        return Ok(false);
    }
    let end = Place::parse(end).ok_or_else(|| ServerError::new(format!("{end} is no place in the log")))?;
    let Some(reached) = Place::parse(position) else {
        return Ok(false);
    };
    if reached >= end {
        return Ok(true);
    }
    let mut files = server.log_files().await?;
    files.retain(|file| Place::number_of(file).is_some_and(|number| (reached.number..=end.number).contains(&number)));
    for file in files {
        let from = if file == reached.file { reached.offset } else { 4 };
        let events = server
            .query(&format!("show binlog events in '{file}' from {from} limit 20"))
            .await?;
        for event in events {
            let text = |index: usize| event.get(index).cloned().flatten().unwrap_or_default();
            let place = Place::parse(&format!("{file}:{}", text(1)));
            if place.is_some_and(|place| place >= end) {
                return Ok(true);
            }
            if !EMPTY_EVENTS.contains(&text(2).as_str()) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The position in the log: that of a snapshot is where the log goes on when all rows are there, and none before.
fn logged(position: &str) -> Option<String> {
    let Some(snapshot) = position.strip_prefix("snapshot:") else {
        return Some(position.to_owned());
    };
    let snapshot: Value = serde_json::from_str(snapshot).ok()?;
    let is_complete = snapshot.get("complete").and_then(Value::as_bool).unwrap_or_default();
    let start = snapshot.get("log_start").and_then(Value::as_str)?;
    is_complete.then(|| start.to_owned())
}

/// Whether the identifiers of a position contain those of the end; yes where either has none.
async fn has_executed(server: &MySqlServer, position: &str, end: &str) -> Result<bool> {
    let executed = end.split_once(';').map_or("", |(_, executed)| executed);
    let carried = |name| position.split(';').find_map(|part| part.strip_prefix(name));
    if let (Some(carried), false) = (carried("mysql_gtids="), executed.is_empty()) {
        let query = format!("select gtid_subset('{executed}', '{carried}')");
        return Ok(server.query_value(&query).await? == "1");
    }
    if let Some(carried) = carried("mariadb_gtids=") {
        let reached = |(domain, number)| last_of_domains(carried).any(|(of, last)| of == domain && last >= number);
        return Ok(last_of_domains(executed).all(reached));
    }
    Ok(true)
}

/// Domain and number of each identifier in `0-1-17,1-2-3`.
fn last_of_domains(set: &str) -> impl Iterator<Item = (u32, u64)> + '_ {
    set.split(',').filter_map(|identifier| {
        let (domain, rest) = identifier.trim().split_once('-')?;
        let (_, number) = rest.split_once('-')?;
        Some((domain.parse().ok()?, number.parse().ok()?))
    })
}

// === impl Place ===

impl Place {
    /// `binlog.000003:157`, and whatever follows behind a semicolon.
    fn parse(text: &str) -> Option<Place> {
        let (file, offset) = text.split(';').next()?.rsplit_once(':')?;
        Some(Place {
            number: Place::number_of(file)?,
            offset: offset.parse().ok()?,
            file: file.to_owned(),
        })
    }

    fn number_of(file: &str) -> Option<u64> {
        file.rsplit_once('.')?.1.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::{MySqlOptions, MySqlVersion};
    use serde_json::json;

    #[test]
    fn places_are_ordered_by_file_and_offset() {
        let place = |text| Place::parse(text).unwrap();
        assert!(place("binlog.999999:900") < place("binlog.1000000:4"));
        assert!(place("binlog.000002:99;started=17;mysql_gtids=3e11fa47:1-77") < place("binlog.000002:100"));
        assert!(Place::parse("snapshot:{}").is_none());
        assert_eq!(logged(r#"snapshot:{"log_start":"b.000001:4"}"#), None);
        let complete = r#"snapshot:{"log_start":"b.000001:4","complete":true}"#;
        assert_eq!(logged(complete).as_deref(), Some("b.000001:4"));
    }

    #[tokio::test]
    async fn what_is_no_transaction_need_not_be_carried() {
        for version in MySqlVersion::ALL {
            let server = MySqlServer::start(MySqlOptions::version(version)).unwrap();
            server.execute("create database shop").await.unwrap();
            let before = end(&server).await.unwrap();
            server.execute("flush binary logs").await.unwrap();
            let flushed = end(&server).await.unwrap();
            let at = |position: &str| json!({ "position": position });
            assert!(is_carried(&server, &at(&before), &before).await.unwrap(), "{version}");
            assert!(is_carried(&server, &at(&before), &flushed).await.unwrap(), "{version}");
            server.execute("create database shop2").await.unwrap();
            let after = end(&server).await.unwrap();
            assert!(!is_carried(&server, &at(&before), &after).await.unwrap(), "{version}");
            assert!(
                !is_carried(&server, &at("snapshot:{}"), &after).await.unwrap(),
                "{version}"
            );
        }
    }
}
