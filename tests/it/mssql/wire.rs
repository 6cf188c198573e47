//! As much of TDS, the protocol of SQL Server, as a server needs that Larder talks to. Written from Microsoft's specification, \[MS-TDS\], whose names are in the comments.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// Bytes of a packet that a session has unless it asks for others.
const PACKET: usize = 4096;
const HEADER: usize = 8;
/// Of a text: 1033, case counts for nothing, sorted as `SQL_Latin1_General_CP1_CI_AS`.
const COLLATION: [u8; 5] = [0x09, 0x04, 0xd0, 0x00, 0x34];
/// A text without a limit comes in pieces (PLP).
const IN_PIECES: u16 = 0xffff;
const NULL: u64 = u64::MAX;

/// What a client says.
#[derive(Debug)]
pub(crate) enum Asked {
    /// What the two can do.
    Prelogin,
    Login {
        user: String,
        password: String,
        database: String,
    },
    /// `SQLBatch`, and the transaction that it is in.
    Batch(u64, String),
    /// `sp_executesql`, with the values of its parameters.
    Call(u64, String, Vec<Option<String>>),
}

/// What it says next; nothing if it has gone.
pub(crate) fn read(stream: &mut TcpStream) -> Option<Asked> {
    let (mut sort, mut bytes) = (0, Vec::new());
    loop {
        let mut header = [0; HEADER];
        stream.read_exact(&mut header).ok()?;
        sort = if bytes.is_empty() { header[0] } else { sort };
        let len = usize::from(u16::from_be_bytes([header[2], header[3]])) - HEADER;
        let at = bytes.len();
        bytes.resize(at + len, 0);
        stream.read_exact(&mut bytes[at..]).ok()?;
        if header[1] & 1 != 0 {
            break;
        }
    }
    let mut from = Bytes(&bytes);
    Some(match sort {
        0x12 => Asked::Prelogin,
        0x10 => login(&bytes),
        1 => Asked::Batch(from.headers(), from.rest()),
        3 => from.call(),
        sort => panic!("a message of the sort {sort}"),
    })
}

/// LOGIN7: texts lie where a table behind the fixed part says.
fn login(bytes: &[u8]) -> Asked {
    let field = |at: usize| {
        let number = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        bytes[number(at)..][..2 * number(at + 2)].to_vec()
    };
    let hidden = field(44);
    let password: Vec<u8> = hidden.iter().map(|b| (b ^ 0xa5).rotate_left(4)).collect();
    Asked::Login { user: utf16(&field(40)), password: utf16(&password), database: utf16(&field(68)) }
}

fn utf16(bytes: &[u8]) -> String {
    let units: Vec<_> = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    String::from_utf16(&units).unwrap()
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take(&mut self, len: usize) -> &[u8] {
        let (front, rest) = self.0.split_at(len);
        self.0 = rest;
        front
    }

    fn number(&mut self, len: usize) -> u64 {
        self.take(len).iter().rev().fold(0, |number, b| number << 8 | u64::from(*b))
    }

    fn len(&mut self, len: usize) -> usize {
        usize::try_from(self.number(len)).unwrap()
    }

    /// `ALL_HEADERS`: the transaction is the only one.
    fn headers(&mut self) -> u64 {
        assert_eq!((self.number(4), self.number(4), self.number(2)), (22, 18, 2));
        let transaction = self.number(8);
        assert_eq!(self.number(4), 1);
        transaction
    }

    fn rest(&mut self) -> String {
        utf16(self.take(self.0.len()))
    }

    /// `RPCRequest`: by number, the procedure 10. First the statement, then the declaration of its parameters.
    fn call(&mut self) -> Asked {
        let transaction = self.headers();
        assert_eq!((self.number(2), self.number(2), self.number(2)), (0xffff, 10, 0));
        let mut texts = Vec::new();
        while !self.0.is_empty() {
            texts.push(self.parameter());
        }
        let mut texts = texts.into_iter();
        let (statement, declared) = (texts.next().flatten().unwrap(), texts.next().flatten().unwrap());
        let values: Vec<_> = texts.collect();
        let declared: Vec<_> = declared.split(',').filter(|text| !text.is_empty()).collect();
        assert_eq!(declared.len(), values.len(), "{declared:?}");
        assert!(values.len() + 2 <= 2100, "a server takes no more than 2,100 parameters");
        for (number, declared) in (1..).zip(declared) {
            assert!(declared.starts_with(&format!("@P{number} nvarchar(")), "{declared}");
        }
        Asked::Call(transaction, statement, values)
    }

    fn parameter(&mut self) -> Option<String> {
        let name = self.len(1);
        self.take(2 * name);
        assert_eq!(self.number(1), 0, "no flags");
        match self.number(1) {
            // NULLTYPE
            0x1f => None,
            // NVARCHARTYPE
            0xe7 => {
                let most = self.len(2);
                self.take(5);
                if most == usize::from(IN_PIECES) {
                    assert_ne!(self.number(8), NULL);
                    let mut bytes = Vec::new();
                    while let len @ 1.. = self.len(4) {
                        bytes.extend_from_slice(self.take(len));
                    }
                    return Some(utf16(&bytes));
                }
                let len = self.len(2);
                Some(utf16(self.take(len)))
            }
            other => panic!("a parameter of the type {other:#x}"),
        }
    }
}

/// A value of a row.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// `nvarchar(max)`
    Text(Option<String>),
    /// `int`
    Int(i32),
    /// `bigint`
    Big(i64),
}

/// What the server says, token by token.
#[derive(Debug, Default)]
pub(crate) struct Reply(Vec<u8>);

impl Reply {
    fn number(&mut self, number: u64, len: usize) -> &mut Self {
        self.0.extend_from_slice(&number.to_le_bytes()[..len]);
        self
    }

    /// A text behind its length in `len` bytes.
    fn text(&mut self, text: &str, len: usize) -> &mut Self {
        let units: Vec<u16> = text.encode_utf16().collect();
        self.number(units.len() as u64, len);
        self.0.extend(units.into_iter().flat_map(u16::to_le_bytes));
        self
    }

    /// A token whose length stands in front of it.
    fn token(&mut self, sort: u8, body: &Self) -> &mut Self {
        self.0.push(sort);
        self.number(body.0.len() as u64, 2);
        self.0.extend_from_slice(&body.0);
        self
    }

    /// The answer to the first message: version 16, no TLS.
    pub(crate) fn prelogin() -> Self {
        Self(vec![0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 16, 0, 0, 0, 0, 0, 2])
    }

    pub(crate) fn logged_in(database: &str) -> Self {
        let (mut ack, mut change, mut this) = (Self(vec![1, 0x74, 0, 0, 4]), Self(vec![1]), Self::default());
        ack.text("Microsoft SQL Server", 1).number(16, 4);
        change.text(database, 1).text("master", 1);
        this.token(0xad, &ack).token(0xe3, &change);
        this
    }

    /// ERROR
    pub(crate) fn error(number: u32, message: &str) -> Self {
        let (mut body, mut this) = (Self::default(), Self::default());
        body.number(number.into(), 4)
            .number(1, 1)
            .number(16, 1)
            .text(message, 2)
            .text("mock", 1)
            .text("", 1)
            .number(1, 4);
        this.token(0xaa, &body);
        this
    }

    /// ENVCHANGE: a transaction has begun, was committed, was taken back.
    pub(crate) fn transaction(what: u8, number: u64) -> Self {
        let (mut body, mut this) = (Self(vec![what]), Self::default());
        if what == 8 {
            body.number(8, 1).number(number, 8).number(0, 1);
        } else {
            body.number(0, 1).number(8, 1).number(number, 8);
        }
        this.token(0xe3, &body);
        this
    }

    /// COLMETADATA and ROWs; all rows have the types of the first.
    pub(crate) fn rows(types: &[Value], rows: &[Vec<Value>]) -> Self {
        let mut this = Self(vec![0x81]);
        this.number(types.len() as u64, 2);
        for of in types {
            this.number(0, 4).number(1, 2);
            match of {
                Value::Text(_) => {
                    this.number(0xe7, 1).number(IN_PIECES.into(), 2).0.extend_from_slice(&COLLATION);
                }
                Value::Int(_) => {
                    this.number(0x26, 1).number(4, 1);
                }
                Value::Big(_) => {
                    this.number(0x26, 1).number(8, 1);
                }
            }
            this.text("", 1);
        }
        for row in rows {
            this.0.push(0xd1);
            for value in row {
                this.value(value);
            }
        }
        this
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Text(None) => self.number(NULL, 8),
            Value::Text(Some(text)) => {
                let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
                self.number(bytes.len() as u64, 8);
                // In two pieces, as a server does with what is long.
                for piece in bytes.chunks(bytes.len().div_ceil(2).max(1)) {
                    self.number(piece.len() as u64, 4).0.extend_from_slice(piece);
                }
                self.number(0, 4)
            }
            Value::Int(number) => self.number(4, 1).number(u64::from(number.cast_unsigned()), 4),
            Value::Big(number) => self.number(8, 1).number(number.cast_unsigned(), 8),
        };
    }

    /// This one, and behind it the other.
    pub(crate) fn followed_by(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Sends it, with what stands at its end: DONE, or what a procedure ends with. `count`: the rows that were read or changed.
    pub(crate) fn send(
        mut self,
        stream: &mut TcpStream,
        of_call: bool,
        count: Option<u64>,
        failed: bool,
    ) -> io::Result<()> {
        let failed = u64::from(failed) << 1;
        let counted = failed | u64::from(count.is_some()) << 4;
        if of_call {
            self.number(0xff, 1).number(counted | 1, 2).number(0, 2).number(count.unwrap_or(0), 8);
            self.number(0x79, 1).number(0, 4);
            self.number(0xfe, 1).number(failed, 2).number(0, 2).number(0, 8);
        } else {
            self.number(0xfd, 1).number(counted, 2).number(0, 2).number(count.unwrap_or(0), 8);
        }
        self.send_bare(stream)
    }

    pub(crate) fn send_bare(self, stream: &mut TcpStream) -> io::Result<()> {
        let mut packets = self.0.chunks(PACKET - HEADER).peekable();
        while let Some(packet) = packets.next() {
            let len = u16::try_from(packet.len() + HEADER).unwrap().to_be_bytes();
            let last = u8::from(packets.peek().is_none());
            stream.write_all(&[4, last, len[0], len[1], 0, 0, 1, 0])?;
            stream.write_all(packet)?;
        }
        Ok(())
    }
}
