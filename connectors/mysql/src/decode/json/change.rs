//! Differences of a document (`binlog_row_value_options=PARTIAL_JSON`): what an update replaces, inserts and removes.
//!
//! ```text
//!   per difference: operation 1 byte · length and text of a path · length and document, but for a removal
//! ```
//!
//! They are applied one after the other. Only what their paths lead through is taken apart; everything beside it stays in the
//! binary form and is printed from there.

use std::borrow::Cow;

use super::JsonError;
use super::document::Node;
use crate::decode::reader::Reader;

const REPLACE: u8 = 0;
const INSERT: u8 = 1;
const REMOVE: u8 = 2;

const CUT_OFF: JsonError = "its differences are cut off";
const NO_PATH: JsonError = "a difference has a path that is none";
const NOT_THERE: JsonError = "a difference is of something that the document before does not have";

/// A document that was taken apart where it changed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree<'a> {
    /// Not taken apart.
    Whole(Node<'a>),
    /// Members in the server's order: by the length of their names, then by their bytes.
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
    /// Elements.
    Array(Vec<Tree<'a>>),
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Leg {
    /// `.name`
    Member(String),
    /// `[0]`
    Element(usize),
    /// `[last-0]`
    FromEnd(usize),
}

/// What to do where a path ends.
#[derive(Debug)]
enum Change<'a> {
    Replace(Tree<'a>),
    Insert(Tree<'a>),
    Remove,
}

/// The document `before`, changed.
pub(super) fn changed<'a>(before: &'a [u8], changes: &'a [u8]) -> Result<Tree<'a>, JsonError> {
    let mut tree = Tree::Whole(Node::of_document(before)?);
    let mut reader = Reader::new("differences of a JSON document", changes);
    while !reader.is_empty() {
        let operation = reader.u8().map_err(|_| CUT_OFF)?;
        let path = reader.counted().map_err(|_| CUT_OFF)?;
        let legs = parse_path(path).ok_or(NO_PATH)?;
        let mut value = || -> Result<Tree<'a>, JsonError> {
            let document = reader.counted().map_err(|_| CUT_OFF)?;
            Ok(Tree::Whole(Node::of_document(document)?))
        };
        let change = match operation {
            REPLACE => Change::Replace(value()?),
            INSERT => Change::Insert(value()?),
            REMOVE => Change::Remove,
            _ => return Err("a difference is of a kind that is not known"),
        };
        tree.apply(&legs, change)?;
    }
    Ok(tree)
}

// === impl Tree ===

impl<'a> Tree<'a> {
    fn apply(&mut self, legs: &[Leg], change: Change<'a>) -> Result<(), JsonError> {
        match (legs, change) {
            ([], Change::Replace(value)) => {
                *self = value;
                Ok(())
            }
            ([], Change::Insert(_) | Change::Remove) => Err(NO_PATH),
            ([last], Change::Insert(value)) => self.insert(last, value),
            ([last], Change::Remove) => self.remove(last),
            ([first, rest @ ..], change) => match self.child(first)? {
                Some(child) => child.apply(rest, change),
                // A value that is no array is the first element of itself.
                None => self.apply(rest, change),
            },
        }
    }

    /// What a leg leads to; `None` where that is the tree itself.
    fn child(&mut self, leg: &Leg) -> Result<Option<&mut Self>, JsonError> {
        self.take_apart()?;
        let child = match (self, leg) {
            (Self::Object(members), Leg::Member(name)) => {
                members.iter_mut().find(|(key, _)| key == name).map(|(_, value)| value)
            }
            (Self::Array(elements), leg) => {
                let index = leg.index(elements.len()).ok_or(NOT_THERE)?;
                elements.get_mut(index)
            }
            (_, Leg::Element(0) | Leg::FromEnd(0)) => return Ok(None),
            _ => None,
        };
        child.map(Some).ok_or(NOT_THERE)
    }

    fn insert(&mut self, leg: &Leg, value: Self) -> Result<(), JsonError> {
        self.take_apart()?;
        match (self, leg) {
            (Self::Object(members), Leg::Member(name)) => {
                let place = members.binary_search_by(|(key, _)| {
                    let by_length = key.len().cmp(&name.len());
                    by_length.then_with(|| key.as_bytes().cmp(name.as_bytes()))
                });
                match place {
                    Ok(_) => Err("a difference inserts a member that the document before has"),
                    Err(place) => {
                        members.insert(place, (Cow::Owned(name.clone()), value));
                        Ok(())
                    }
                }
            }
            (Self::Array(elements), leg) => {
                let index = leg.index(elements.len()).ok_or(NOT_THERE)?;
                elements.insert(index.min(elements.len()), value);
                Ok(())
            }
            _ => Err(NOT_THERE),
        }
    }

    fn remove(&mut self, leg: &Leg) -> Result<(), JsonError> {
        self.take_apart()?;
        match (self, leg) {
            (Self::Object(members), Leg::Member(name)) => {
                let place = members.iter().position(|(key, _)| key == name).ok_or(NOT_THERE)?;
                members.remove(place);
                Ok(())
            }
            (Self::Array(elements), leg) => {
                let index = leg.index(elements.len()).filter(|index| *index < elements.len());
                elements.remove(index.ok_or(NOT_THERE)?);
                Ok(())
            }
            _ => Err(NOT_THERE),
        }
    }

    /// Takes an object or an array apart, one level deep.
    fn take_apart(&mut self) -> Result<(), JsonError> {
        match self {
            Self::Whole(Node::Object(container)) => {
                let member = |at| Ok((Cow::Borrowed(container.key(at)?), Self::Whole(container.value(at)?)));
                *self = Self::Object((0..container.len()).map(member).collect::<Result<_, JsonError>>()?);
            }
            Self::Whole(Node::Array(container)) => {
                let element = |at| Ok(Self::Whole(container.value(at)?));
                *self = Self::Array((0..container.len()).map(element).collect::<Result<_, JsonError>>()?);
            }
            Self::Whole(_) | Self::Object(_) | Self::Array(_) => {}
        }
        Ok(())
    }
}

// === impl Leg ===

impl Leg {
    /// The place in an array of so many elements; it may lie behind the last.
    fn index(&self, length: usize) -> Option<usize> {
        match self {
            Self::Member(_) => None,
            Self::Element(index) => Some(*index),
            Self::FromEnd(index) => length.checked_sub(1)?.checked_sub(*index),
        }
    }
}

/// `$.name."quoted name"[0][last-1]`
fn parse_path(path: &[u8]) -> Option<Vec<Leg>> {
    let mut rest = std::str::from_utf8(path).ok()?.strip_prefix('$')?;
    let mut legs = Vec::new();
    while !rest.is_empty() {
        let (leg, behind) = match rest.strip_prefix('.') {
            Some(member) => take_member(member)?,
            None => take_element(rest.strip_prefix('[')?)?,
        };
        legs.push(leg);
        rest = behind;
    }
    Some(legs)
}

fn take_member(rest: &str) -> Option<(Leg, &str)> {
    if rest.starts_with('"') {
        let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        let name = strings.next()?.ok()?;
        let (_, behind) = rest.split_at_checked(strings.byte_offset())?;
        return Some((Leg::Member(name), behind));
    }
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    let (name, behind) = rest.split_at_checked(end)?;
    (!name.is_empty()).then(|| (Leg::Member(name.to_owned()), behind))
}

fn take_element(rest: &str) -> Option<(Leg, &str)> {
    let (index, behind) = rest.split_once(']')?;
    let leg = match index.strip_prefix("last") {
        Some("") => Leg::FromEnd(0),
        Some(from_end) => Leg::FromEnd(from_end.strip_prefix('-')?.trim().parse().ok()?),
        None => Leg::Element(index.parse().ok()?),
    };
    Some((leg, behind))
}
