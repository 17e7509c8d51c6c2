//! Names that Avro allows: a letter or `_`, then letters, digits and `_`.
//!
//! A name that is not legal is mangled: each character that may not stand where it stands becomes `_u` and the four hexadecimal
//! digits of its UTF-16 units. So that two names never become one, an `_` that begins such a sequence by itself is mangled too.
//! Under `envelope: debezium` illegal characters become `_`, as with Debezium's `schema.name.adjustment.mode` and
//! `field.name.adjustment.mode` `avro`; where two fields would meet, the mangled name is taken.

/// What begins a mangled character.
const ESCAPE: &str = "_u";
/// Digits of a UTF-16 unit.
const ESCAPE_DIGITS: usize = 4;

/// How illegal names become legal ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// Two names never become one.
    Mangled,
    /// As Debezium adjusts names for Avro.
    Debezium,
}

/// True where a name is legal as it is.
pub(crate) fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(begins) && characters.all(continues)
}

fn begins(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_'
}

fn continues(character: char) -> bool {
    begins(character) || character.is_ascii_digit()
}

/// A legal name that no other name becomes. A name is not empty.
pub(crate) fn mangle(name: &str) -> String {
    let mut mangled = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(character) = rest.chars().next() {
        let legal = continues(character) && (!mangled.is_empty() || begins(character));
        if legal && !begins_escape(rest) {
            mangled.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                mangled.push_str(ESCAPE);
                mangled.push_str(&format!("{unit:04x}"));
            }
        }
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
    }
    mangled
}

/// The name that a mangled one was made of; what is no mangled character stays.
pub(crate) fn unmangle(mangled: &str) -> String {
    let mut units = Vec::with_capacity(mangled.len());
    let mut rest = mangled;
    while let Some(character) = rest.chars().next() {
        let escape = if begins_escape(rest) {
            rest.get(ESCAPE.len()..ESCAPE.len() + ESCAPE_DIGITS)
        } else {
            None
        };
        match escape.and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
            Some(unit) => {
                units.push(unit);
                rest = rest.get(ESCAPE.len() + ESCAPE_DIGITS..).unwrap_or_default();
            }
            None => {
                units.extend_from_slice(character.encode_utf16(&mut [0; 2]));
                rest = rest.get(character.len_utf8()..).unwrap_or_default();
            }
        }
    }
    // Half a surrogate was never made of a name: such a name is left as it is.
    String::from_utf16(&units).unwrap_or_else(|_| mangled.to_owned())
}

fn begins_escape(text: &str) -> bool {
    let digits = text.strip_prefix(ESCAPE).and_then(|rest| rest.get(..ESCAPE_DIGITS));
    digits.is_some_and(|digits| {
        digits
            .bytes()
            .all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
    })
}

fn adjust(name: &str) -> String {
    let legal = |(index, character): (usize, char)| {
        let fits = if index == 0 {
            begins(character)
        } else {
            continues(character)
        };
        if fits { character } else { '_' }
    };
    name.chars().enumerate().map(legal).collect()
}

impl Naming {
    /// A dotted name, made legal part by part.
    pub(crate) fn full_name(self, name: &str) -> String {
        let parts = name.split('.').map(|part| match self {
            Self::Mangled => mangle(part),
            Self::Debezium => adjust(part),
        });
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
    }

    /// The legal names of a record's fields, in their order.
    pub(crate) fn field_names<'a>(self, names: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
        let of = |name: &str| {
            let adjusted = adjust(name);
            let alone = names.clone().filter(|other| adjust(other) == adjusted).nth(1).is_none();
            match self {
                Self::Debezium if alone => adjusted,
                _ => mangle(name),
            }
        };
        names.clone().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn legal_names_stay() {
        for name in ["id", "customer_id", "_x", "A1", "_u12", "_unit", "x_under"] {
            assert_eq!(mangle(name), name);
            assert_eq!(adjust(name), name);
        }
    }

    #[test]
    fn illegal_names_are_mangled() {
        assert_eq!(mangle("a-b"), "a_u002db");
        assert_eq!(mangle("1x"), "_u0031x");
        assert_eq!(mangle("😀"), "_ud83d_ude00");
        assert_eq!(mangle("a_u002db"), "a_u005fu002db");
        assert_eq!(
            Naming::Mangled.full_name("my-shop.public.a b.Value"),
            "my_u002dshop.public.a_u0020b.Value"
        );
        assert_eq!(
            Naming::Debezium.full_name("my-shop.public.1b.Value"),
            "my_shop.public._b.Value"
        );
    }

    #[test]
    fn fields_that_would_meet_are_mangled() {
        let names = |names: &[&'static str]| Naming::Debezium.field_names(names.iter().copied());
        assert_eq!(names(&["a-b", "c d"]), ["a_b", "c_d"]);
        assert_eq!(names(&["a-b", "a_b"]), ["a_u002db", "a_b"]);
        assert_eq!(names(&["a-b", "a b"]), ["a_u002db", "a_u0020b"]);
    }

    fn identifier() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z0-9_u -]{1,12}", "_u[0-9a-f]{3,5}_u[0-9a-f]{4}", any::<String>()]
            .prop_filter("a name is not empty", |name| !name.is_empty())
    }

    proptest! {
        #[test]
        fn mangling_is_injective_and_legal(name in identifier()) {
            let mangled = mangle(&name);
            prop_assert!(is_name(&mangled), "{mangled}");
            prop_assert_eq!(unmangle(&mangled), name);
        }
    }
}
