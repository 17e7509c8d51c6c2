//! `tailrace tail`: events of a topic as they come.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use tailrace_codec::{NEW_KEY, OLD_KEY, RecordReader};
use tailrace_core::Error;
use tailrace_core::event::{StreamRecord, header};
use tailrace_core::ports::{ConsumerSpec, EventStream, StartOffset};

use super::{Exit, Failure};
use crate::config::fault::suggestion;
use crate::config::plan::Plan;
use crate::daemon::Signals;
use crate::registries;
use crate::screen;

/// How long one question to the stream waits; a signal is obeyed at once in between.
const POLL_WAIT: Duration = Duration::from_millis(500);
const POLL_RECORDS: usize = 500;
/// A cluster needs a moment to hand out the first records; this much silence is the end.
const END_WAIT: Duration = Duration::from_secs(3);

/// What to show.
#[derive(Debug, clap::Args)]
pub(crate) struct TailArguments {
    /// The configuration that names the stream.
    pub(crate) file: PathBuf,
    /// The topic; one that is not there yet is waited for.
    topic: String,
    /// The stream, where the configuration has several.
    #[arg(long)]
    stream: Option<String>,
    /// Where to begin.
    #[arg(long, value_enum, default_value_t = From::Earliest)]
    from: From,
    /// Ends after so many events; without it, more are waited for until Ctrl-C.
    #[arg(long)]
    limit: Option<u64>,
    /// Ends when nothing more comes for some seconds, or the topic is not there.
    #[arg(long)]
    no_wait: bool,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// At the first event that is still there.
    Earliest,
    /// With what comes from now on.
    Latest,
}

/// Shows events until the limit or a signal.
pub(crate) async fn run(plan: Plan, arguments: TailArguments) -> Result<Exit, Failure> {
    let (stream_name, stream) = find_stream(&plan, arguments.stream.as_deref())?;
    let mut signals = Signals::listen()?;
    if !is_there(&*stream, &arguments, &mut signals).await? {
        return Ok(Exit::Ended);
    }
    let spec = ConsumerSpec {
        topics: vec![arguments.topic],
        group: None,
        start: match arguments.from {
            From::Earliest => StartOffset::Earliest,
            From::Latest => StartOffset::Latest,
        },
    };
    let mut consumer = stream.consumer(spec).await?;
    let mut reader = registries::of_stream(&plan, &stream_name).await?.map(RecordReader::new);
    let wait = if arguments.no_wait { END_WAIT } else { POLL_WAIT };
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(POLL_RECORDS).min(POLL_RECORDS);
        let records = tokio::select! {
            biased;
            () = signals.next() => return Ok(Exit::Ended),
            records = consumer.poll(wanted, wait) => records?,
        };
        if records.is_empty() && arguments.no_wait {
            break;
        }
        for record in records.into_iter().take(wanted) {
            let record = &decoded(record, reader.as_mut()).await?;
            screen::print(&if arguments.json {
                as_json(record)
            } else {
                as_text(record)
            })?;
            left -= 1;
        }
    }
    Ok(Exit::Ended)
}

/// Waits for the topic of a connector that has not carried anything yet, and says so; `false` where a signal came first.
///
/// # Errors
/// Definite where nothing is to be waited for; what the stream answers.
async fn is_there(stream: &dyn EventStream, arguments: &TailArguments, signals: &mut Signals) -> Result<bool, Failure> {
    let mut is_told = false;
    loop {
        let known = stream.topics().await?;
        if known.contains(&arguments.topic) {
            return Ok(true);
        }
        let sentence = format!(
            "there is no topic `{}`; {}",
            arguments.topic,
            suggestion(&arguments.topic, &known)
        );
        if arguments.no_wait {
            return Err(Error::definite("topic_missing", sentence).into());
        }
        if !is_told {
            screen::complain(&format!("{sentence}; waiting for it, Ctrl-C ends the waiting"));
            is_told = true;
        }
        // No stream tells of topics that come: it is asked again, as often as for records.
        tokio::select! {
            biased;
            () = signals.next() => return Ok(false),
            () = tokio::time::sleep(POLL_WAIT) => {}
        }
    }
}

/// The record with keys and values as JSON where they are framed with the number of their schema.
async fn decoded(mut record: StreamRecord, reader: Option<&mut RecordReader>) -> Result<StreamRecord, Error> {
    let Some(reader) = reader else {
        return Ok(record);
    };
    let links = record.headers.iter_mut();
    let links = links.filter(|(name, _)| name == NEW_KEY || name == OLD_KEY);
    let parts = record.key.iter_mut().chain(&mut record.value);
    for part in parts.chain(links.map(|(_, value)| value)) {
        if let Some(json) = reader.read(part).await? {
            *part = json.into();
        }
    }
    Ok(record)
}

fn find_stream(plan: &Plan, name: Option<&str>) -> Result<(String, Arc<dyn EventStream>), Failure> {
    let known: Vec<String> = plan.streams.keys().cloned().collect();
    let found = match name {
        Some(name) => plan
            .streams
            .get_key_value(name)
            .ok_or_else(|| format!("there is no stream `{name}`; {}", suggestion(name, &known))),
        None if known.len() > 1 => Err(format!(
            "the configuration has several streams ({}); choose one with --stream",
            known.join(", ")
        )),
        None => plan
            .streams
            .iter()
            .next()
            .ok_or_else(|| "the configuration has no stream".to_owned()),
    };
    let (name, stream) = found.map_err(Failure::Usage)?;
    Ok((name.clone(), stream.connect()?))
}

fn as_text(record: &StreamRecord) -> String {
    let StreamRecord {
        topic,
        partition,
        offset,
        ..
    } = record;
    let updated_at = record.header(header::UPDATED_AT).unwrap_or("-");
    let operation = record.header(header::OPERATION).unwrap_or("-");
    let mut text = format!(
        "{} {topic}/{partition}@{offset} {operation}\n",
        screen::escape(updated_at)
    );
    let mut line = |name: &str, value: &str| {
        text += &format!("  {name:<8} {}\n", screen::escape(value));
    };
    line("key", &record.key.as_ref().map_or_else(|| "none".to_owned(), readable));
    line(
        "value",
        &record
            .value
            .as_ref()
            .map_or_else(|| "none: a tombstone".to_owned(), readable),
    );
    let others = record
        .headers
        .iter()
        .filter(|(name, _)| name != header::UPDATED_AT && name != header::OPERATION);
    let others: Vec<String> = others
        .map(|(name, value)| format!("{name}={}", readable(value)))
        .collect();
    line("headers", &others.join(" "));
    text
}

/// Text as it is; other bytes in hexadecimal.
fn readable(bytes: &Bytes) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes
            .iter()
            .fold("0x".to_owned(), |hex, byte| hex + &format!("{byte:02x}")),
    }
}

/// Keys and values that are JSON stay exactly as they are: no number is read and written again.
#[derive(serde::Serialize)]
struct JsonLine<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    key: Option<Box<RawValue>>,
    value: Option<Box<RawValue>>,
    headers: serde_json::Map<String, serde_json::Value>,
}

fn as_json(record: &StreamRecord) -> String {
    let headers = record
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), readable(value).into()));
    let line = JsonLine {
        topic: &record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.as_ref().and_then(raw),
        value: record.value.as_ref().and_then(raw),
        headers: headers.collect(),
    };
    // Everything in it is JSON or text already.
    serde_json::to_string(&line).map(|text| text + "\n").unwrap_or_default()
}

fn raw(bytes: &Bytes) -> Option<Box<RawValue>> {
    let json: Option<Box<RawValue>> = serde_json::from_slice(bytes).ok();
    json.or_else(|| serde_json::value::to_raw_value(&readable(bytes)).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: Option<&'static [u8]>) -> StreamRecord {
        StreamRecord {
            topic: Arc::from("shop.orders"),
            partition: 0,
            offset: 17,
            timestamp_ms: 1_700_000_000_123,
            key: Some(Bytes::from_static(b"{\"id\":7}")),
            value: value.map(Bytes::from_static),
            headers: vec![
                (
                    "updated_at".to_owned(),
                    Bytes::from_static(b"2023-11-14T22:13:20.123456Z"),
                ),
                ("op".to_owned(), Bytes::from_static(b"c")),
                ("source".to_owned(), Bytes::from_static(b"shop")),
            ],
        }
    }

    #[test]
    fn events_read_as_place_key_value_and_headers() {
        let expected = "2023-11-14T22:13:20.123456Z shop.orders/0@17 c\n  \
            key      {\"id\":7}\n  value    {\"total\":1.10}\n  headers  source=shop\n";
        assert_eq!(as_text(&record(Some(b"{\"total\":1.10}"))), expected);
        assert!(as_text(&record(None)).contains("value    none: a tombstone"));
        assert!(as_text(&record(Some(&[0xff, 0x00]))).contains("value    0xff00"));
    }

    #[test]
    fn json_lines_keep_numbers_as_they_were_written() {
        let line = as_json(&record(Some(b"{\"total\":1.10,\"big\":12345678901234567890123}")));
        assert!(
            line.contains(r#""value":{"total":1.10,"big":12345678901234567890123}"#),
            "{line}"
        );
        assert!(line.contains(r#""headers":{"#) && line.ends_with("}\n"));
        assert!(as_json(&record(None)).contains(r#""value":null"#));
        assert!(as_json(&record(Some(&[0xff]))).contains(r#""value":"0xff""#));
    }
}
