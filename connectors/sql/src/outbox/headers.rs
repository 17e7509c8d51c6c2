//! A column of headers: a JSON object, each field a header.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tailrace_core::{Error, Result};

use super::BadRow;
use super::event::NoEvent;

/// JSON's text for nothing.
const NULL: &str = "null";

/// Takes a header: its name, and what writes its value.
type Take<'a> = dyn FnMut(&str, &mut dyn FnMut(&mut Vec<u8>)) -> Result<()> + 'a;

/// A JSON string, borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

struct Fields<'a, 'b> {
    take: &'b mut Take<'a>,
    failed: &'b mut Option<Error>,
}

/// Hands out the fields of a JSON object. Strings are given as they are, other values as their JSON; null is no header.
///
/// # Errors
/// A bad row where it is no JSON object, and whatever `take` fails with.
pub(super) fn read_headers(
    json: &[u8],
    mut take: impl FnMut(&str, &mut dyn FnMut(&mut Vec<u8>)) -> Result<()>,
) -> Result<(), NoEvent> {
    let mut failed = None;
    let fields = Fields {
        take: &mut take,
        failed: &mut failed,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let read = deserializer.deserialize_map(fields).and_then(|()| deserializer.end());
    match (failed, read) {
        (Some(error), _) => Err(NoEvent::Failed(error)),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => {
            let sentence = format!("its headers are not a JSON object: {error}");
            Err(NoEvent::Bad(BadRow::new("headers_not_json", sentence)))
        }
    }
}

/// The text of a JSON string; `None` where the JSON is something else.
pub(super) fn string_of(json: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(json.get()).ok().map(|text| text.0)
}

impl<'de> Visitor<'de> for Fields<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> std::result::Result<(), M::Error> {
        while let Some((name, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            if value.get() == NULL || self.failed.is_some() {
                continue;
            }
            let text = string_of(value);
            let bytes = text.as_deref().unwrap_or(value.get()).as_bytes();
            if let Err(error) = (self.take)(&name.0, &mut |out| out.extend_from_slice(bytes)) {
                *self.failed = Some(error);
            }
        }
        Ok(())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> std::result::Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> std::result::Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Vec<(String, String)>, &'static str> {
        let mut headers = Vec::new();
        let result = read_headers(json.as_bytes(), |name, write| {
            let mut value = Vec::new();
            write(&mut value);
            headers.push((name.to_owned(), String::from_utf8_lossy(&value).into_owned()));
            Ok(())
        });
        match result {
            Ok(()) => Ok(headers),
            Err(NoEvent::Bad(row)) => Err(row.code),
            Err(NoEvent::Failed(_)) => Err("failed"),
        }
    }

    #[test]
    fn fields_become_headers() {
        let json = r#" {"a":"b\"c","d":1.50,"e":null,"f":{"g": [true]},"h\u0069":""} "#;
        let expected = [("a", "b\"c"), ("d", "1.50"), ("f", "{\"g\": [true]}"), ("hi", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read(json).unwrap(), expected);
        for wrong in ["", "[]", "1", "{\"a\":1", "{} x", "null"] {
            assert_eq!(read(wrong), Err("headers_not_json"), "{wrong}");
        }
    }

    #[test]
    fn what_takes_headers_may_fail() {
        let result = read_headers(b"{\"a\":1,\"b\":2}", |_, _| Err(Error::definite("batch_full", "full")));
        assert!(matches!(result, Err(NoEvent::Failed(error)) if error.code() == "batch_full"));
    }
}
