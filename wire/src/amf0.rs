//! AMF0 values (Adobe's Action Message Format AMF 0 specification, section 2).

/// An AMF0 value of any type.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// IEEE 754 double; marker 0.
    Number(f64),
    /// True or false; marker 1.
    Boolean(bool),
    /// Marker 2, or 12 when it has more than 65535 bytes. To be UTF-8; programs put others there too, and servers
    /// do not mind: so its bytes.
    String(Vec<u8>),
    /// Anonymous object, its properties in order; marker 3.
    Object(Vec<(String, Value)>),
    /// Null; marker 5.
    Null,
    /// Undefined; marker 6.
    Undefined,
    /// Index of an object before it; marker 7.
    Reference(u16),
    /// Associative array; marker 8.
    EcmaArray(Vec<(String, Value)>),
    /// Array of values without keys; marker 10.
    StrictArray(Vec<Value>),
    /// A moment; marker 11.
    Date {
        /// Milliseconds since 1970, UTC.
        milliseconds: f64,
        /// Time zone: reserved, senders write 0.
        zone: i16,
    },
    /// What its sender could not encode; marker 13.
    Unsupported,
    /// XML document as text; marker 15.
    Xml(String),
    /// Object of a named class; marker 16.
    TypedObject(String, Vec<(String, Value)>),
}

/// How much one payload may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many objects and arrays may be within each other.
    pub depth: usize,
    /// How many values there may be, those within others included.
    pub values: usize,
}

impl Default for Limits {
    /// Depth 8, 1024 values: several times what commands and metadata hold.
    fn default() -> Self {
        Self { depth: 8, values: 1024 }
    }
}

/// Where and why decoding ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not AMF0 at byte {offset}: {problem}")]
pub struct Amf0Error {
    /// Offset in the payload of the value that cannot be decoded.
    pub offset: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What can be wrong with a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The payload ends within a value.
    #[error("the payload ends within a value")]
    Truncated,
    /// A marker that is reserved or unknown, or changes to AMF3.
    #[error("marker {0} does not begin a value")]
    Marker(u8),
    /// Objects and arrays are nested deeper than [`Limits::depth`].
    #[error("objects nested more than {0} deep")]
    Depth(usize),
    /// There are more values than [`Limits::values`].
    #[error("more than {0} values")]
    Values(usize),
}

/// Decodes the values of a payload one after the other.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    offset: usize,
    limits: Limits,
    values: usize,
}

const OBJECT_END: u8 = 9;
/// How many objects and arrays may be within each other in a value that is passed over.
const DEEPEST: usize = 256;

/// For people and for comparing with names that are text.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl<'a> Decoder<'a> {
    /// A decoder at the beginning of a payload.
    #[must_use]
    pub fn new(bytes: &'a [u8], limits: Limits) -> Self {
        Self { bytes, offset: 0, limits, values: 0 }
    }

    /// The next value; `None` at the end of the payload.
    ///
    /// # Errors
    /// When what follows is not a value within the limits. The decoder then stays where it was.
    pub fn value(&mut self) -> Result<Option<Value>, Amf0Error> {
        if self.offset >= self.bytes.len() {
            return Ok(None);
        }
        let start = self.offset;
        self.nested(0).map(Some).inspect_err(|_| self.offset = start)
    }

    /// Offset in the payload of the value that comes next.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    fn nested(&mut self, depth: usize) -> Result<Value, Amf0Error> {
        let at = self.offset;
        let error = |problem| Amf0Error { offset: at, problem };
        self.values += 1;
        if self.values > self.limits.values {
            return Err(error(Problem::Values(self.limits.values)));
        }
        let [marker] = self.take()?;
        if matches!(marker, 3 | 8 | 10 | 16) && depth >= self.limits.depth {
            return Err(error(Problem::Depth(self.limits.depth)));
        }
        Ok(match marker {
            0 => Value::Number(f64::from_be_bytes(self.take()?)),
            1 => Value::Boolean(self.take::<1>()? != [0]),
            2 => Value::String(self.short_bytes()?.to_vec()),
            3 => Value::Object(self.properties(depth)?),
            5 => Value::Null,
            6 => Value::Undefined,
            7 => Value::Reference(u16::from_be_bytes(self.take()?)),
            8 => {
                // The count is a hint: the properties end with the end-of-object marker all the same.
                self.take::<4>()?;
                Value::EcmaArray(self.properties(depth)?)
            }
            10 => {
                let count = u32::from_be_bytes(self.take()?);
                // Not allocated ahead: the count is only believed as far as values follow.
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.nested(depth + 1)?);
                }
                Value::StrictArray(values)
            }
            11 => {
                Value::Date { milliseconds: f64::from_be_bytes(self.take()?), zone: i16::from_be_bytes(self.take()?) }
            }
            12 => Value::String(self.long_bytes()?.to_vec()),
            13 => Value::Unsupported,
            15 => Value::Xml(self.long_string()?),
            16 => Value::TypedObject(self.short_string()?, self.properties(depth)?),
            other => return Err(error(Problem::Marker(other))),
        })
    }

    /// What kind of value comes next; `None` at the end of the payload.
    #[must_use]
    pub fn marker(&self) -> Option<u8> {
        self.bytes.get(self.offset).copied()
    }

    /// Passes over the next value, whatever it holds and however much; false at the end of the payload. An end of an
    /// object where a value should be counts as an empty one, as it does for nginx-rtmp.
    ///
    /// # Errors
    /// When what follows is not a value. The decoder then stays where it was.
    pub fn skip(&mut self) -> Result<bool, Amf0Error> {
        let start = self.offset;
        match self.marker() {
            None => Ok(false),
            Some(_) => self.skip_nested().map(|()| true).inspect_err(|_| self.offset = start),
        }
    }

    fn skip_nested(&mut self) -> Result<(), Amf0Error> {
        // Of arrays how many values are to come, of objects nothing.
        let mut within: Vec<Option<u32>> = Vec::new();
        loop {
            let at = self.offset;
            let [marker] = self.take()?;
            match marker {
                0 => self.pass(8)?,
                1 => self.pass(1)?,
                2 => {
                    self.short_bytes()?;
                }
                3 => within.push(None),
                5 | 6 | OBJECT_END | 13 => {}
                7 => self.pass(2)?,
                8 => {
                    self.pass(4)?;
                    within.push(None);
                }
                10 => within.push(Some(u32::from_be_bytes(self.take()?))),
                11 => self.pass(10)?,
                12 | 15 => {
                    self.long_bytes()?;
                }
                16 => {
                    self.short_bytes()?;
                    within.push(None);
                }
                other => return Err(Amf0Error { offset: at, problem: Problem::Marker(other) }),
            }
            if within.len() > DEEPEST {
                return Err(Amf0Error { offset: at, problem: Problem::Depth(DEEPEST) });
            }
            loop {
                match within.last_mut() {
                    None => return Ok(()),
                    Some(Some(left @ 1..)) => {
                        *left -= 1;
                        break;
                    }
                    Some(Some(0)) => {}
                    Some(None) if self.property()?.is_some() => break,
                    Some(None) => {}
                }
                within.pop();
            }
        }
    }

    /// The next value if it is a string; another one is passed over. `None` also at the end of the payload.
    ///
    /// # Errors
    /// As [`Decoder::skip`].
    pub fn string(&mut self) -> Result<Option<&'a [u8]>, Amf0Error> {
        let start = self.offset;
        let text = match self.marker() {
            Some(2) => self.pass(1).and_then(|()| self.short_bytes()),
            Some(12) => self.pass(1).and_then(|()| self.long_bytes()),
            _ => return self.skip().map(|_| None),
        };
        text.map(Some).inspect_err(|_| self.offset = start)
    }

    /// The next value if it is a number; another one is passed over. `None` also at the end of the payload.
    ///
    /// # Errors
    /// As [`Decoder::skip`].
    pub fn number(&mut self) -> Result<Option<f64>, Amf0Error> {
        match self.marker() {
            Some(0) => self.value().map(|value| value.as_ref().and_then(Value::as_number)),
            _ => self.skip().map(|_| None),
        }
    }

    /// Properties of the object that comes next, as far as it can be read: those before one in AMF3, for example, or
    /// before the end of the payload, for some encoders do not end their objects. Of several strings of one name the
    /// last counts, as for nginx-rtmp. Other properties may be anything and as many as they are. Nothing can be read
    /// behind an object that was not read to its end. What is no object is passed over, and has no properties.
    pub fn strings<const N: usize>(&mut self, names: [&str; N]) -> [Option<&'a [u8]>; N] {
        let mut found = [None; N];
        if self.each_string(&names, &mut found).is_err() {
            self.offset = self.bytes.len();
        }
        found
    }

    fn each_string(&mut self, names: &[&str], found: &mut [Option<&'a [u8]>]) -> Result<(), Amf0Error> {
        match self.marker() {
            Some(3) => self.pass(1)?,
            Some(8) => self.pass(5)?,
            Some(16) => {
                self.pass(1)?;
                self.short_bytes()?;
            }
            _ => return self.skip().map(|_| ()),
        }
        while let Some(name) = self.property()? {
            match names.iter().position(|wanted| wanted.as_bytes() == name).and_then(|at| found.get_mut(at)) {
                Some(found) => *found = self.string()?.or(*found),
                None => {
                    self.skip()?;
                }
            }
        }
        Ok(())
    }

    fn properties(&mut self, depth: usize) -> Result<Vec<(String, Value)>, Amf0Error> {
        let mut properties = Vec::new();
        while let Some(name) = self.property()? {
            properties.push((text(name), self.nested(depth + 1)?));
        }
        Ok(properties)
    }

    /// The name of an object's next property; `None`: the object ends. An empty name ends it if its end's marker
    /// follows; else it is a name as any other.
    fn property(&mut self) -> Result<Option<&'a [u8]>, Amf0Error> {
        let name = self.short_bytes()?;
        if name.is_empty() && self.marker() == Some(OBJECT_END) {
            self.offset += 1;
            return Ok(None);
        }
        Ok(Some(name))
    }

    fn short_string(&mut self) -> Result<String, Amf0Error> {
        self.short_bytes().map(text)
    }

    fn long_string(&mut self) -> Result<String, Amf0Error> {
        self.long_bytes().map(text)
    }

    fn short_bytes(&mut self) -> Result<&'a [u8], Amf0Error> {
        let len = u16::from_be_bytes(self.take()?);
        self.slice(usize::from(len))
    }

    fn long_bytes(&mut self) -> Result<&'a [u8], Amf0Error> {
        let len = u32::from_be_bytes(self.take()?);
        self.slice(len as usize)
    }

    fn pass(&mut self, len: usize) -> Result<(), Amf0Error> {
        self.slice(len).map(|_| ())
    }

    fn slice(&mut self, len: usize) -> Result<&'a [u8], Amf0Error> {
        let at = self.offset;
        let end = at.saturating_add(len);
        let bytes = self.bytes.get(at..end).ok_or(Amf0Error { offset: at, problem: Problem::Truncated })?;
        self.offset = end;
        Ok(bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Amf0Error> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let bytes = rest.first_chunk::<N>().ok_or(Amf0Error { offset: self.offset, problem: Problem::Truncated })?;
        self.offset += N;
        Ok(*bytes)
    }
}

impl Value {
    /// The number, if it is one.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        if let Value::Number(number) = self { Some(*number) } else { None }
    }

    /// The text, if it is a string and UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Value::String(bytes) = self { std::str::from_utf8(bytes).ok() } else { None }
    }

    /// The value of the last property of that name, if it is an object or associative array.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(properties) | Value::EcmaArray(properties) | Value::TypedObject(_, properties) => {
                properties.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// Appends the value's bytes. Names longer than 65535 bytes cannot be written; they are cut at a character.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::Number(number) => {
                out.push(0);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Value::Boolean(truth) => out.extend_from_slice(&[1, u8::from(*truth)]),
            Value::String(bytes) => match u16::try_from(bytes.len()) {
                Ok(len) => {
                    out.push(2);
                    out.extend_from_slice(&len.to_be_bytes());
                    out.extend_from_slice(bytes);
                }
                Err(_) => long(12, bytes, out),
            },
            Value::Object(properties) => {
                out.push(3);
                object(properties, out);
            }
            Value::Null => out.push(5),
            Value::Undefined => out.push(6),
            Value::Reference(index) => {
                out.push(7);
                out.extend_from_slice(&index.to_be_bytes());
            }
            Value::EcmaArray(properties) => {
                out.push(8);
                out.extend_from_slice(&count(properties.len()).to_be_bytes());
                object(properties, out);
            }
            Value::StrictArray(values) => {
                out.push(10);
                out.extend_from_slice(&count(values.len()).to_be_bytes());
                values.iter().for_each(|value| value.encode(out));
            }
            Value::Date { milliseconds, zone } => {
                out.push(11);
                out.extend_from_slice(&milliseconds.to_be_bytes());
                out.extend_from_slice(&zone.to_be_bytes());
            }
            Value::Unsupported => out.push(13),
            Value::Xml(text) => long(15, text.as_bytes(), out),
            Value::TypedObject(class, properties) => {
                out.push(16);
                name(class, out);
                object(properties, out);
            }
        }
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.into())
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn name(text: &str, out: &mut Vec<u8>) {
    let text = cut(text, usize::from(u16::MAX));
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn long(marker: u8, bytes: &[u8], out: &mut Vec<u8>) {
    let bytes = bytes.get(..u32::MAX as usize).unwrap_or(bytes);
    out.push(marker);
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// The longest beginning of at most `max` bytes that ends at a character.
fn cut(text: &str, max: usize) -> &str {
    (0..=max.min(text.len())).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

fn object(properties: &[(String, Value)], out: &mut Vec<u8>) {
    for (property, value) in properties {
        name(property, out);
        value.encode(out);
    }
    out.extend_from_slice(&[0, 0, OBJECT_END]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    /// What nginx-rtmp answers to `createStream`.
    const RESULT: &[u8] = &[
        0x02, 0x00, 0x07, b'_', b'r', b'e', b's', b'u', b'l', b't', // "_result"
        0x00, 0x40, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // 4
        0x05, // null
        0x00, 0x3f, 0xf0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // 1
    ];

    fn decode(bytes: &[u8], limits: Limits) -> Result<Vec<Value>, Amf0Error> {
        let mut decoder = Decoder::new(bytes, limits);
        std::iter::from_fn(|| decoder.value().transpose()).take(10_000).collect()
    }

    fn encode(values: &[Value]) -> Vec<u8> {
        let mut out = Vec::new();
        values.iter().for_each(|value| value.encode(&mut out));
        out
    }

    fn result() -> Vec<Value> {
        vec!["_result".into(), 4.0.into(), Value::Null, 1.0.into()]
    }

    #[test]
    fn an_answer_deconstructed_and_constructed() {
        assert_eq!(decode(RESULT, Limits::default()), Ok(result()));
        assert_eq!(encode(&result()), RESULT);
    }

    #[test]
    fn truncated_at_every_byte() {
        let ends = [0, 10, 19, 20, 29];
        for len in 0..=RESULT.len() {
            let decoded = decode(&RESULT[..len], Limits::default());
            match ends.iter().position(|end| *end == len) {
                Some(values) => assert_eq!(decoded.unwrap(), result()[..values]),
                None => assert_eq!(decoded.unwrap_err().problem, Problem::Truncated, "{len}"),
            }
        }
    }

    #[test]
    fn an_object_truncated_at_every_byte() {
        let object = Value::Object(vec![
            ("app".into(), "live".into()),
            ("in".into(), Value::EcmaArray(vec![("x".into(), Value::StrictArray(vec![Value::Boolean(true)]))])),
        ]);
        let bytes = encode(std::slice::from_ref(&object));
        for len in 1..bytes.len() {
            assert_eq!(decode(&bytes[..len], Limits::default()).unwrap_err().problem, Problem::Truncated, "{len}");
        }
        assert_eq!(decode(&bytes, Limits::default()), Ok(vec![object.clone()]));
        assert_eq!(object.get("app").and_then(Value::as_str), Some("live"));
    }

    #[test]
    fn limits_and_refusals() {
        let problem = |bytes: &[u8], depth, values| decode(bytes, Limits { depth, values }).unwrap_err().problem;
        let deep = [10, 0, 0, 0, 1].repeat(1000);
        assert_eq!(problem(&deep, 5, 100), Problem::Depth(5));
        assert_eq!(problem(&[5; 11], 5, 10), Problem::Values(10));
        assert_eq!(problem(&[10, 0xff, 0xff, 0xff, 0xff, 5], 5, 10), Problem::Truncated);
        assert_eq!(problem(&[17], 5, 10), Problem::Marker(17));
        assert_eq!(problem(&[9], 5, 10), Problem::Marker(9));
        assert_eq!(problem(&[12, 0xff, 0xff, 0xff, 0xff], 5, 10), Problem::Truncated);
    }

    #[test]
    fn what_servers_do_not_mind() {
        let gbk = [2, 0, 4, 0xd6, 0xb1, 0xb2, 0xa5];
        assert_eq!(decode(&gbk, Limits::default()).unwrap(), [Value::String(gbk[3..].to_vec())]);
        let nameless = [3, 0, 0, 5, 0, 1, b'a', 1, 1, 0, 0, 9];
        let properties = vec![(String::new(), Value::Null), ("a".into(), Value::Boolean(true))];
        assert_eq!(decode(&nameless, Limits::default()), Ok(vec![Value::Object(properties)]));
    }

    #[test]
    fn of_an_object_that_cannot_be_read_to_its_end_the_beginning_is() {
        let mut bytes = encode(&[Value::Object(vec![("app".into(), "live".into())])]);
        bytes.truncate(bytes.len() - 3);
        let unended = bytes.clone();
        bytes.extend([0, 4, b'c', b'a', b'p', b's', 0x11, 4, 5, 0, 0, 9]);
        assert_eq!(decode(&bytes, Limits::default()).unwrap_err().problem, Problem::Marker(0x11));
        for bytes in [bytes, unended] {
            let mut decoder = Decoder::new(&bytes, Limits::default());
            assert_eq!(decoder.strings(["app", "x"]), [Some(&b"live"[..]), None]);
            assert_eq!(decoder.value(), Ok(None), "it is not known where it ends");
        }
        let whole = encode(&[Value::Object(vec![("app".into(), "live".into())]), 1.0.into()]);
        let mut decoder = Decoder::new(&whole, Limits::default());
        assert_eq!(decoder.strings(["app"]), [Some(&b"live"[..])]);
        assert_eq!(decoder.value(), Ok(Some(1.0.into())));
        let mut decoder = Decoder::new(&[5, 6], Limits::default());
        assert_eq!((decoder.strings(["app"]), decoder.offset()), ([None], 1), "no object");
        assert_eq!(Decoder::new(&whole[..9], Limits::default()).strings(["app"]), [None], "cut within it");
    }

    #[test]
    fn properties_that_are_not_wanted_may_be_anything() {
        let app = |others: Vec<(String, Value)>| {
            let properties = others.into_iter().chain([("app".to_owned(), "live".into())]);
            encode(&[Value::Object(properties.collect())])
        };
        let deep = (0..100).fold(Value::Null, |inner, _| Value::Object(vec![("in".into(), inner)]));
        let many = (0..5000).map(|n| (format!("p{n}"), Value::StrictArray(vec![f64::from(n).into()]))).collect();
        let text = Value::String(vec![0xe9; 70_000]);
        for bytes in [app(vec![("x".into(), deep)]), app(many), app(vec![("x".into(), text)])] {
            assert_eq!(Decoder::new(&bytes, Limits::default()).strings(["app"]), [Some(&b"live"[..])]);
        }
        let nested = app(vec![("x".into(), Value::EcmaArray(vec![("app".into(), "nope".into())]))]);
        assert_eq!(Decoder::new(&nested, Limits::default()).strings(["app"]), [Some(&b"live"[..])]);
        let mut ended = app(vec![]);
        ended.splice(1..1, [0, 1, b'x', OBJECT_END]);
        assert_eq!(Decoder::new(&ended, Limits::default()).strings(["app"]), [Some(&b"live"[..])]);
    }

    #[test]
    fn of_several_strings_of_one_name_the_last_counts() {
        let object = |values: &[Value]| {
            Value::Object(values.iter().map(|value| ("app".to_owned(), value.clone())).collect::<Vec<_>>())
        };
        let table: &[(&[Value], Option<&[u8]>)] = &[
            (&["nope".into(), "live".into()], Some(b"live")),
            (&[1.0.into(), "live".into()], Some(b"live")),
            (&["live".into(), 1.0.into()], Some(b"live")),
            (&[Value::String(vec![0xe9])], Some(&[0xe9])),
            (&[Value::Null], None),
        ];
        for (values, expected) in table {
            let bytes = encode(&[object(values)]);
            assert_eq!(Decoder::new(&bytes, Limits::default()).strings(["app"]), [*expected]);
        }
        assert_eq!(object(&["a".into(), "b".into()]).get("app"), Some(&"b".into()));
    }

    #[test]
    fn what_is_passed_over_has_bounds_too() {
        let deep = [10, 0, 0, 0, 1].repeat(1000);
        assert_eq!(Decoder::new(&deep, Limits::default()).skip().unwrap_err().problem, Problem::Depth(DEEPEST));
        assert_eq!(Decoder::new(&[10, 255, 255, 255, 255, 5], Limits::default()).skip().unwrap_err().offset, 6);
        let values = result();
        let bytes = encode(&values);
        for len in 0..=bytes.len() {
            let mut decoder = Decoder::new(&bytes[..len], Limits::default());
            let read = std::iter::from_fn(|| decoder.skip().ok().filter(|any| *any)).count();
            assert_eq!(read, [10, 19, 20, 29].iter().filter(|end| **end <= len).count(), "{len}");
        }
        let mut decoder = Decoder::new(&bytes, Limits::default());
        assert_eq!(decoder.number(), Ok(None), "a string");
        assert_eq!((decoder.number(), decoder.string(), decoder.number()), (Ok(Some(4.0)), Ok(None), Ok(Some(1.0))));
        assert_eq!((decoder.string(), decoder.number(), decoder.skip()), (Ok(None), Ok(None), Ok(false)));
    }

    #[test]
    fn long_strings() {
        let text = "ä".repeat(40_000);
        let bytes = encode(&[text.as_str().into()]);
        assert_eq!(bytes[0], 12);
        assert_eq!(decode(&bytes, Limits::default()), Ok(vec![text.as_str().into()]));
        // As a name it cannot be written whole.
        let bytes = encode(&[Value::TypedObject(text, vec![])]);
        let decoded = decode(&bytes, Limits::default()).unwrap();
        let [Value::TypedObject(class, _)] = decoded.as_slice() else { panic!("{decoded:?}") };
        assert_eq!(class.len(), 65534);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<f64>().prop_filter("NaN differs from itself", |n| !n.is_nan()).prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(Value::String),
            Just(Value::Null),
            Just(Value::Undefined),
            Just(Value::Unsupported),
            any::<u16>().prop_map(Value::Reference),
            (-1e15..1e15f64, any::<i16>()).prop_map(|(milliseconds, zone)| Value::Date { milliseconds, zone }),
            "\\PC{0,20}".prop_map(Value::Xml),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let properties = proptest::collection::vec(("\\PC{1,8}", inner.clone()), 0..6);
            prop_oneof![
                properties.clone().prop_map(Value::Object),
                properties.clone().prop_map(Value::EcmaArray),
                ("\\PC{0,8}", properties).prop_map(|(class, p)| Value::TypedObject(class, p)),
                proptest::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
            ]
        })
    }

    proptest! {
        #[test]
        fn round_trip(values in proptest::collection::vec(any_value(), 0..5)) {
            prop_assert_eq!(decode(&encode(&values), Limits { depth: 8, values: 10_000 }), Ok(values));
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, Limits::default());
            let _ = Decoder::new(&bytes, Limits::default()).strings(["a"]);
        }

        /// What can be decoded can be passed over, and ends at the same place.
        #[test]
        fn passing_over_is_reading(values in proptest::collection::vec(any_value(), 0..5)) {
            let bytes = encode(&values);
            let (mut one, mut other) = (Decoder::new(&bytes, Limits::default()), Decoder::new(&bytes, Limits::default()));
            while one.value().unwrap().is_some() {
                prop_assert_eq!(other.skip(), Ok(true));
                prop_assert_eq!(one.offset(), other.offset());
            }
        }

        #[test]
        fn likely_bytes(bytes in proptest::collection::vec(0u8..17, 0..200)) {
            let _ = decode(&bytes, Limits::default());
            let _ = Decoder::new(&bytes, Limits::default()).skip();
        }
    }
}
