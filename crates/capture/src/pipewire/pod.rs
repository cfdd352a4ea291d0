//! PipeWire's parameter format ("pod"), as much of it as formats, buffers and metadata need: written and read as plain
//! bytes, so that negotiation is tested without a daemon.
//!
//! A pod is its body's length and its type, two native-endian words, then the body, padded to eight bytes. Whatever
//! comes from outside is read with checked lengths; a pod that does not hold together reads as absent.

/// Types of pods (`spa/utils/type.h`).
pub(crate) mod kind {
    pub(crate) const ID: u32 = 3;
    pub(crate) const INT: u32 = 4;
    pub(crate) const LONG: u32 = 5;
    pub(crate) const RECTANGLE: u32 = 10;
    pub(crate) const FRACTION: u32 = 11;
    pub(crate) const OBJECT: u32 = 15;
    pub(crate) const CHOICE: u32 = 19;
}

/// Flags of an object's property (`spa/pod/pod.h`).
pub(crate) mod flag {
    /// Both sides must have the property, or the formats do not match.
    pub(crate) const MANDATORY: u32 = 1 << 3;
    /// The session must not choose one value; the producer does.
    pub(crate) const DONT_FIXATE: u32 = 1 << 4;
}

const CHOICE_NONE: u32 = 0;
const CHOICE_RANGE: u32 = 1;
const CHOICE_ENUM: u32 = 3;
const CHOICE_FLAGS: u32 = 4;
const HEADER: usize = 8;

/// A plain value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Id(u32),
    Int(i32),
    Long(i64),
    /// Width and height.
    Rectangle(u32, u32),
    /// Numerator and denominator.
    Fraction(u32, u32),
}

impl Scalar {
    fn kind(self) -> u32 {
        match self {
            Self::Id(_) => kind::ID,
            Self::Int(_) => kind::INT,
            Self::Long(_) => kind::LONG,
            Self::Rectangle(..) => kind::RECTANGLE,
            Self::Fraction(..) => kind::FRACTION,
        }
    }

    fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Id(value) => out.extend(value.to_ne_bytes()),
            Self::Int(value) => out.extend(value.to_ne_bytes()),
            Self::Long(value) => out.extend(value.to_ne_bytes()),
            Self::Rectangle(first, second) | Self::Fraction(first, second) => {
                out.extend(first.to_ne_bytes());
                out.extend(second.to_ne_bytes());
            }
        }
    }

    fn size(kind: u32) -> Option<usize> {
        match kind {
            kind::ID | kind::INT => Some(4),
            kind::LONG | kind::RECTANGLE | kind::FRACTION => Some(8),
            _ => None,
        }
    }

    fn take(kind: u32, body: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(body.get(at..at + 4)?.try_into().ok()?));
        Some(match kind {
            kind::ID => Self::Id(word(0)?),
            kind::INT => Self::Int(word(0)?.cast_signed()),
            kind::LONG => Self::Long(i64::from_ne_bytes(body.get(..8)?.try_into().ok()?)),
            kind::RECTANGLE => Self::Rectangle(word(0)?, word(4)?),
            kind::FRACTION => Self::Fraction(word(0)?, word(4)?),
            _ => return None,
        })
    }
}

/// A value or what may be chosen for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Exactly this.
    One(Scalar),
    /// Preferred value, smallest, largest.
    Range(Scalar, Scalar, Scalar),
    /// One of these; the first is preferred.
    Enum(Vec<Scalar>),
    /// Any set of these bits.
    Flags(Scalar),
}

impl Value {
    /// The value that is preferred, or the only one.
    pub(crate) fn preferred(&self) -> Option<Scalar> {
        match self {
            Self::One(value) | Self::Range(value, ..) | Self::Flags(value) => Some(*value),
            Self::Enum(values) => values.first().copied(),
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        // On the wire the preferred value stands before the alternatives, which name it again.
        let (choice, values) = match self {
            Self::One(value) => {
                let start = begin(out, value.kind());
                value.put(out);
                return end(out, start);
            }
            Self::Range(preferred, least, most) => (CHOICE_RANGE, vec![*preferred, *least, *most]),
            Self::Enum(values) => {
                (CHOICE_ENUM, values.first().copied().into_iter().chain(values.iter().copied()).collect())
            }
            Self::Flags(value) => (CHOICE_FLAGS, vec![*value]),
        };
        let Some(kind) = values.first().map(|value| value.kind()) else { return };
        let start = begin(out, kind::CHOICE);
        for word in [choice, 0, Scalar::size(kind).unwrap_or_default() as u32, kind] {
            out.extend(word.to_ne_bytes());
        }
        values.iter().for_each(|value| value.put(out));
        end(out, start);
    }

    fn take(kind: u32, body: &[u8]) -> Option<Self> {
        if kind != kind::CHOICE {
            return Scalar::take(kind, body).map(Self::One);
        }
        let word = |at: usize| Some(u32::from_ne_bytes(body.get(at..at + 4)?.try_into().ok()?));
        let (choice, size, child) = (word(0)?, word(8)? as usize, word(12)?);
        if size < Scalar::size(child)? {
            return None;
        }
        let values: Vec<_> =
            body.get(16..)?.chunks_exact(size).map_while(|value| Scalar::take(child, value)).collect();
        let first = *values.first()?;
        Some(match choice {
            CHOICE_NONE => Self::One(first),
            CHOICE_RANGE => Self::Range(first, *values.get(1)?, *values.get(2)?),
            CHOICE_FLAGS => Self::Flags(first),
            CHOICE_ENUM => {
                // Some producers do not name the preferred value again.
                let mut alternatives = vec![first];
                alternatives.extend(values.iter().skip(1).filter(|value| **value != first));
                Self::Enum(alternatives)
            }
            _ => return None,
        })
    }
}

/// One property of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) key: u32,
    pub(crate) flags: u32,
    pub(crate) value: Value,
}

/// A parameter: a type, the id of the parameter, properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) kind: u32,
    pub(crate) id: u32,
    pub(crate) properties: Vec<Property>,
}

impl Object {
    pub(crate) fn new(kind: u32, id: u32) -> Self {
        Self { kind, id, properties: Vec::new() }
    }

    /// With one more property.
    pub(crate) fn with(self, key: u32, value: Value) -> Self {
        self.with_flags(key, 0, value)
    }

    /// With one more property, flagged.
    pub(crate) fn with_flags(mut self, key: u32, flags: u32, value: Value) -> Self {
        self.properties.push(Property { key, flags, value });
        self
    }

    /// The property with this key.
    pub(crate) fn property(&self, key: u32) -> Option<&Property> {
        self.properties.iter().find(|property| property.key == key)
    }

    /// The value with this key.
    pub(crate) fn value(&self, key: u32) -> Option<&Value> {
        self.property(key).map(|property| &property.value)
    }

    /// As bytes for PipeWire.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let start = begin(&mut out, kind::OBJECT);
        out.extend(self.kind.to_ne_bytes());
        out.extend(self.id.to_ne_bytes());
        for property in &self.properties {
            out.extend(property.key.to_ne_bytes());
            out.extend(property.flags.to_ne_bytes());
            property.value.put(&mut out);
        }
        end(&mut out, start);
        out
    }

    /// From bytes of PipeWire. Properties of types that no video parameter has are left out.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, body, _) = split(bytes)?;
        if kind != kind::OBJECT {
            return None;
        }
        let word = |at: usize| Some(u32::from_ne_bytes(body.get(at..at + 4)?.try_into().ok()?));
        let mut object = Self::new(word(0)?, word(4)?);
        let mut rest = body.get(8..)?;
        while rest.len() >= 8 {
            let (head, tail) = rest.split_at(8);
            let key = u32::from_ne_bytes(head[..4].try_into().ok()?);
            let flags = u32::from_ne_bytes(head[4..].try_into().ok()?);
            let (kind, body, after) = split(tail)?;
            if let Some(value) = Value::take(kind, body) {
                object.properties.push(Property { key, flags, value });
            }
            rest = after;
        }
        Some(object)
    }
}

/// Type, body and what follows the first pod in `bytes`.
fn split(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let size = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u32::from_ne_bytes(bytes.get(4..8)?.try_into().ok()?);
    let body = bytes.get(HEADER..HEADER.checked_add(size)?)?;
    let next = HEADER + size.next_multiple_of(8);
    Some((kind, body, bytes.get(next..).unwrap_or_default()))
}

fn begin(out: &mut Vec<u8>, kind: u32) -> usize {
    let start = out.len();
    out.extend(0u32.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    start
}

fn end(out: &mut Vec<u8>, start: usize) {
    let size = (out.len() - start - HEADER) as u32;
    out[start..start + 4].copy_from_slice(&size.to_ne_bytes());
    out.resize(out.len().next_multiple_of(8), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Object {
        Object::new(0x40003, 3)
            .with(1, Value::One(Scalar::Id(2)))
            .with(2, Value::Enum(vec![Scalar::Id(8), Scalar::Id(7)]))
            .with_flags(3, flag::MANDATORY, Value::Enum(vec![Scalar::Long(5)]))
            .with(4, Value::Range(Scalar::Rectangle(3, 4), Scalar::Rectangle(1, 1), Scalar::Rectangle(9, 9)))
            .with(5, Value::One(Scalar::Fraction(0, 1)))
            .with(6, Value::Flags(Scalar::Int(12)))
    }

    #[test]
    fn what_is_written_is_read_again() {
        let object = example();
        assert_eq!(Object::from_bytes(&object.to_bytes()), Some(object));
    }

    #[test]
    fn the_bytes_are_those_of_spa() {
        let bytes = Object::new(0x40003, 4).with(0x20001, Value::One(Scalar::Id(8))).to_bytes();
        let words: Vec<u32> =
            bytes.chunks_exact(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words, [32, 15, 0x40003, 4, 0x20001, 0, 4, 3, 8, 0]);
        let choice = Object::new(1, 2).with(3, Value::Enum(vec![Scalar::Id(8), Scalar::Id(7)])).to_bytes();
        let words: Vec<u32> =
            choice.chunks_exact(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words, [8 + 8 + 8 + 32, 15, 1, 2, 3, 0, 28, 19, 3, 0, 4, 3, 8, 8, 7, 0]);
    }

    #[test]
    fn torn_pods_read_as_absent_and_never_panic() {
        let bytes = example().to_bytes();
        for length in 0..bytes.len() {
            let _ = Object::from_bytes(&bytes[..length]);
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut torn = bytes.clone();
                torn[at] = value;
                let _ = Object::from_bytes(&torn);
            }
        }
        assert_eq!(Object::from_bytes(&bytes[..20]), None);
    }
}
