//! A serde `Deserializer` over the located tree, so that every complaint of serde has a place.
//!
//! serde tells a problem where it notices it, without knowing where that is. Each value that is read here gives its own
//! place to a fault that comes back from below without one; each mapping and list adds its key to the fault's path. The
//! first who knows wins, which is the innermost.
//!
//! serde stops at the first fault. [`read`] takes what was at fault out of a copy of the tree and reads again, so that a
//! file with three misspelt keys is told about all three.

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::fault::{Fault, in_words, owned, quoted_list};
use super::tree::{Entry, Located, Mark, Node, Problems, Scalar, Style};

/// Reads a value. `handled` are keys of this mapping that the caller reads itself. Problems go to `problems`.
pub(crate) fn read<T: DeserializeOwned>(
    value: &Located,
    path: &str,
    handled: &[&str],
    problems: &mut Problems,
) -> Option<T> {
    let mut tree = value.clone();
    if let Node::Mapping(entries) = &mut tree.node {
        entries.retain(|entry| !handled.contains(&entry.key.as_str()));
    }
    let mut removed = Vec::new();
    let mut result = None;
    loop {
        let mut fault = match T::deserialize(Reader { value: &tree }) {
            Ok(read) if removed.is_empty() => {
                result = Some(read);
                break;
            }
            Ok(_) => break,
            Err(fault) => fault,
        };
        // Without the key that was at fault, something else may be missing that is not missing in the file.
        if fault
            .missing_key()
            .is_some_and(|key| removed.iter().any(|name| name == key))
        {
            break;
        }
        fault.offer(handled, value);
        let taken = fault.take_out(&mut tree);
        // A key whose name is misspelt is not missing as well.
        removed.extend(fault.nearest().map(str::to_owned));
        problems.push(fault.into_problem(path, value.at));
        match taken {
            Some(key) => removed.push(key),
            None => break,
        }
    }
    result
}

/// Decimal, an optional sign, no leading zeros: nothing that two readers read differently.
pub(super) fn parse_integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}

/// The elements of a list that is one text; an empty one has none.
pub(super) fn split_at_commas(at: Mark, scalar: &Scalar) -> Vec<Located> {
    if scalar.text.trim().is_empty() {
        return Vec::new();
    }
    let element = |text: &str| Located {
        at,
        node: Node::Scalar(Scalar {
            text: text.trim().to_owned(),
            ..scalar.clone()
        }),
    };
    scalar.text.split(',').map(element).collect()
}

fn parse_float(text: &str) -> Option<f64> {
    let first = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !first.starts_with(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Reads one value.
#[derive(Clone, Copy)]
struct Reader<'a> {
    value: &'a Located,
}

struct Entries<'a> {
    rest: std::slice::Iter<'a, Entry>,
    next: Option<&'a Entry>,
}

struct Elements<'a> {
    rest: std::iter::Enumerate<std::slice::Iter<'a, Located>>,
}

struct Key<'a>(&'a str);

struct Variant<'a> {
    name: &'a Located,
    key: Option<&'a str>,
    content: Option<&'a Located>,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn scalar(self, expected: &str) -> Result<&'a Scalar, Fault> {
        match &self.value.node {
            Node::Scalar(scalar) if !scalar.is_null() => Ok(scalar),
            Node::Scalar(_) | Node::Sequence(_) | Node::Mapping(_) => Err(self.mismatch(expected)),
        }
    }

    fn mismatch(self, expected: &str) -> Fault {
        Fault::expected(expected).located_at(self.value)
    }

    /// The text of a value that may be a number: not where it is quoted, unless a variable had to be quoted.
    fn unquoted(self, expected: &str) -> Result<&'a str, Fault> {
        let scalar = self.scalar(expected)?;
        if scalar.style == Style::Quoted && scalar.written.is_none() {
            return Err(self.mismatch(expected));
        }
        Ok(&scalar.text)
    }

    fn integer<'de, V: Visitor<'de>>(self, expected: &str, visitor: V) -> Result<V::Value, Fault> {
        let text = self.unquoted(expected)?;
        let Some(number) = parse_integer(text) else {
            return Err(self.mismatch(expected));
        };
        let visited = if let Ok(number) = u64::try_from(number) {
            visitor.visit_u64(number)
        } else if let Ok(number) = i64::try_from(number) {
            visitor.visit_i64(number)
        } else {
            return Err(self.mismatch(expected));
        };
        visited.map_err(|fault: Fault| fault.located_at(self.value))
    }
}

macro_rules! integers {
    ($($method:ident $name:literal)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.integer(&in_words($name), visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let value = self.value;
        let scalar = match &value.node {
            Node::Sequence(_) => return self.deserialize_seq(visitor),
            Node::Mapping(_) => return self.deserialize_map(visitor),
            Node::Scalar(scalar) => scalar,
        };
        let text = scalar.text.as_str();
        let visited = if scalar.is_null() {
            visitor.visit_unit()
        } else if scalar.style != Style::Plain || scalar.written.is_some() {
            visitor.visit_str(text)
        } else if text == "true" || text == "false" {
            visitor.visit_bool(text == "true")
        } else if parse_integer(text).is_some() {
            return self.integer("a number", visitor);
        } else if let Some(number) = parse_float(text) {
            visitor.visit_f64(number)
        } else {
            visitor.visit_str(text)
        };
        visited.map_err(|fault: Fault| fault.located_at(value))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let expected = "`true` or `false`";
        match self.unquoted(expected)? {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(self.mismatch(expected)),
        }
    }

    integers! {
        deserialize_u8 "u8" deserialize_u16 "u16" deserialize_u32 "u32" deserialize_u64 "u64"
        deserialize_i8 "i8" deserialize_i16 "i16" deserialize_i32 "i32" deserialize_i64 "i64"
        deserialize_u128 "u64" deserialize_i128 "i64"
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let number = parse_float(self.unquoted("a number")?).ok_or_else(|| self.mismatch("a number"))?;
        visitor
            .visit_f64(number)
            .map_err(|fault: Fault| fault.located_at(self.value))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let scalar = self.scalar("text")?;
        visitor
            .visit_str(&scalar.text)
            .map_err(|fault: Fault| fault.located_at(self.value))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value.node {
            Node::Scalar(scalar) if scalar.is_null() => visitor.visit_none(),
            Node::Scalar(_) | Node::Sequence(_) | Node::Mapping(_) => visitor
                .visit_some(self)
                .map_err(|fault: Fault| fault.located_at(self.value)),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor
            .visit_newtype_struct(self)
            .map_err(|fault: Fault| fault.located_at(self.value))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let split;
        let elements = match &self.value.node {
            Node::Sequence(elements) => elements,
            Node::Scalar(scalar) if scalar.style == Style::Flat => {
                split = split_at_commas(self.value.at, scalar);
                &split
            }
            Node::Scalar(_) | Node::Mapping(_) => return Err(self.mismatch("a list")),
        };
        let elements = Elements {
            rest: elements.iter().enumerate(),
        };
        visitor
            .visit_seq(elements)
            .map_err(|fault| fault.located_at(self.value))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let entries = match &self.value.node {
            Node::Mapping(entries) => entries.iter(),
            // `transforms:` with nothing behind it is a mapping without keys.
            Node::Scalar(scalar) if scalar.is_null() => [].iter(),
            Node::Scalar(_) | Node::Sequence(_) => return Err(self.mismatch("a mapping")),
        };
        let entries = Entries {
            rest: entries,
            next: None,
        };
        visitor.visit_map(entries).map_err(|fault| fault.located_at(self.value))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let value = self.value;
        let expected = format!("one of {}", quoted_list(&owned(names)));
        let variant = match &value.node {
            Node::Scalar(scalar) if !scalar.is_null() => Variant {
                name: value,
                key: None,
                content: None,
            },
            Node::Mapping(entries) => match entries.as_slice() {
                [entry] => Variant {
                    name: value,
                    key: Some(&entry.key),
                    content: Some(&entry.value),
                },
                _ => return Err(self.mismatch(&expected)),
            },
            Node::Scalar(_) | Node::Sequence(_) => return Err(self.mismatch(&expected)),
        };
        visitor.visit_enum(variant).map_err(|fault| fault.located_at(value))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
}

// === impl Entries, Elements, Key, Variant ===

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.next = self.rest.next();
        let Some(entry) = self.next else {
            return Ok(None);
        };
        seed.deserialize(Key(&entry.key))
            .map(Some)
            .map_err(|fault| fault.located(entry.key_at))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some(entry) = self.next.take() else {
            return Err(Fault::other("a value was asked for before its key"));
        };
        let value = Reader { value: &entry.value };
        seed.deserialize(value)
            .map_err(|fault| fault.located_at(&entry.value).under(&entry.key))
    }
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some((index, value)) = self.rest.next() else {
            return Ok(None);
        };
        let read = seed.deserialize(Reader { value });
        read.map(Some)
            .map_err(|fault| fault.located_at(value).under(index.to_string()))
    }
}

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(self.0)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, 'a> de::EnumAccess<'de> for Variant<'a> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let name = match self.key {
            Some(key) => seed.deserialize(Key(key)),
            None => seed.deserialize(Reader { value: self.name }),
        };
        Ok((name.map_err(|fault| fault.located_at(self.name))?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.content {
            None => Ok(()),
            Some(_) => Err(Reader { value: self.name }.mismatch("a name alone")),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        match self.content {
            Some(value) => seed.deserialize(Reader { value }),
            None => Err(Reader { value: self.name }.mismatch("a mapping with one key")),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        match self.content {
            Some(value) => Reader { value }.deserialize_seq(visitor),
            None => Err(Reader { value: self.name }.mismatch("a mapping with one key")),
        }
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        match self.content {
            Some(value) => Reader { value }.deserialize_map(visitor),
            None => Err(Reader { value: self.name }.mismatch("a mapping with one key")),
        }
    }
}

#[cfg(test)]
mod tests;
