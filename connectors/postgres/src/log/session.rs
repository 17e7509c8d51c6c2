//! A replication session: startup, authentication and simple queries over a [`Transport`], blocking.
//!
//! Only what replication needs: no extended protocol, no COPY in. Errors of the server keep their SQLSTATE, so that they
//! are classified in one place ([`crate::error`]).

use std::io::{self, Read, Write};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{BackendKeyDataBody, ErrorResponseBody, Message};
use postgres_protocol::message::frontend;
use tailrace_core::{Error, Result};

use super::transport::{Hangup, Transport};
use crate::connect::OUTPUT_SETTINGS;
use crate::endpoint::Endpoint;
use crate::error;

/// Room for one read of an answer.
const READ_BYTES: usize = 8 * 1024;
/// A server that says nothing for so long during startup or a query is given up, unless the query may wait.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Answers outside of the stream are a few rows about slots, or an error; none comes near this.
const MESSAGE_BYTES_MAXIMUM: usize = 1 << 20;

/// One text row of a simple query.
pub(crate) type TextRow = Vec<Option<String>>;

/// A connected and authenticated session in replication mode.
pub(crate) struct Session {
    transport: Transport,
    received: BytesMut,
    endpoint: Endpoint,
    key: Option<(i32, i32)>,
    /// Completes "cannot …" when the server refuses.
    doing: &'static str,
}

/// What is needed to cancel a query of a session from elsewhere.
pub(crate) struct Canceller {
    endpoint: Endpoint,
    key: Option<(i32, i32)>,
}

/// Limits that a database or a role may set for everybody. A new slot waits for transactions that are older, as for a lock, and an
/// exported snapshot lives in a transaction that does nothing until all rows are read.
const UNLIMITED: [(&str, &str); 3] = [
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
];

// === impl Session ===

impl Session {
    /// Connects and authenticates, with `replication=database`.
    pub(crate) fn connect(endpoint: &Endpoint, application_name: &str) -> Result<Self> {
        let transport = Transport::connect(endpoint)?;
        let mut session = Self {
            transport,
            received: BytesMut::with_capacity(READ_BYTES),
            endpoint: endpoint.clone(),
            key: None,
            doing: "open a replication connection",
        };
        session.wait_at_most(ANSWER_TIMEOUT)?;
        session.start_up(application_name)?;
        Ok(session)
    }

    fn start_up(&mut self, application_name: &str) -> Result<()> {
        let mut parameters = vec![
            ("user", self.endpoint.user.as_str()),
            ("database", self.endpoint.database.as_str()),
            ("replication", "database"),
            ("application_name", application_name),
        ];
        parameters.push(("client_encoding", "UTF8"));
        parameters.extend(OUTPUT_SETTINGS);
        parameters.extend(UNLIMITED);
        let mut out = BytesMut::new();
        frontend::startup_message(parameters, &mut out).map_err(|error| self.broken(error))?;
        self.send(&out)?;
        self.authenticate()?;
        loop {
            match self.receive()? {
                Message::BackendKeyData(body) => self.key = Some(key(&body)),
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(body) => return Err(self.refused(&body)),
                _ => {}
            }
        }
    }

    fn authenticate(&mut self) -> Result<()> {
        loop {
            match self.receive()? {
                Message::AuthenticationOk => return Ok(()),
                Message::AuthenticationCleartextPassword => {
                    let password = self.password()?;
                    self.send_with(|out| frontend::password_message(password.as_bytes(), out))?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let password = self.password()?;
                    let hash = md5_hash(self.endpoint.user.as_bytes(), password.as_bytes(), body.salt());
                    self.send_with(|out| frontend::password_message(hash.as_bytes(), out))?;
                }
                Message::AuthenticationSasl(body) => {
                    let mut mechanisms = body.mechanisms();
                    let offered = mechanisms.any(|mechanism| Ok(mechanism == SCRAM_SHA_256));
                    if !offered.map_err(|error| self.broken(error))? {
                        return Err(self.unsupported());
                    }
                    self.authenticate_scram()?;
                }
                Message::ErrorResponse(body) => return Err(self.refused(&body)),
                Message::NoticeResponse(_) => {}
                _ => return Err(self.unsupported()),
            }
        }
    }

    fn authenticate_scram(&mut self) -> Result<()> {
        let password = self.password()?;
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let first = scram.message().to_vec();
        self.send_with(|out| frontend::sasl_initial_response(SCRAM_SHA_256, &first, out))?;
        let challenge = match self.receive()? {
            Message::AuthenticationSaslContinue(body) => body.data().to_vec(),
            Message::ErrorResponse(body) => return Err(self.refused(&body)),
            _ => return Err(self.unsupported()),
        };
        scram.update(&challenge).map_err(|error| self.impostor(&error))?;
        let second = scram.message().to_vec();
        self.send_with(|out| frontend::sasl_response(&second, out))?;
        let proof = match self.receive()? {
            Message::AuthenticationSaslFinal(body) => body.data().to_vec(),
            Message::ErrorResponse(body) => return Err(self.refused(&body)),
            _ => return Err(self.unsupported()),
        };
        scram.finish(&proof).map_err(|error| self.impostor(&error))
    }

    fn password(&self) -> Result<String> {
        let password = self
            .endpoint
            .password
            .as_ref()
            .map(|password| password.expose().to_owned());
        password.ok_or_else(|| {
            let message = format!(
                "PostgreSQL at {} asks for a password for `{}` and none is configured; put it into the URL or `password_file`",
                self.endpoint.server(),
                self.endpoint.user
            );
            Error::definite("source_authentication", message)
        })
    }

    /// Runs one simple query and returns its rows as text. `doing` completes "cannot …".
    pub(crate) fn query(&mut self, sql: &str, doing: &'static str) -> Result<Vec<TextRow>> {
        self.doing = doing;
        self.send_with(|out| frontend::query(sql, out))?;
        let mut rows = Vec::new();
        let mut failed = None;
        loop {
            match self.receive()? {
                Message::DataRow(body) => rows.push(text_row(&body).map_err(|error| self.broken(error))?),
                Message::ErrorResponse(body) => failed = Some(self.refused(&body)),
                Message::ReadyForQuery(_) => return failed.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    /// Starts replication: from here on there are only [`Self::parts`].
    pub(crate) fn start_replication(&mut self, command: &str) -> Result<()> {
        self.doing = "start streaming the log";
        self.send_with(|out| frontend::query(command, out))?;
        loop {
            match self.receive_while(|tag| tag != COPY_BOTH_RESPONSE)? {
                None => return Ok(()),
                Some(Message::ErrorResponse(body)) => return Err(self.refused(&body)),
                Some(_) => {}
            }
        }
    }

    /// The stream and what was read from it beyond the last message.
    pub(crate) fn parts(self) -> (Transport, BytesMut) {
        (self.transport, self.received)
    }

    /// Reads wait until something comes.
    pub(crate) fn wait_for_ever(&self) -> Result<()> {
        self.transport
            .set_read_timeout(None)
            .map_err(|error| self.broken(error))
    }

    /// Reads wait at most so long.
    pub(crate) fn wait_at_most(&self, timeout: Duration) -> Result<()> {
        self.transport
            .set_read_timeout(Some(timeout))
            .map_err(|error| self.broken(error))
    }

    /// What is needed to cancel a query from elsewhere.
    pub(crate) fn canceller(&self) -> Canceller {
        Canceller {
            endpoint: self.endpoint.clone(),
            key: self.key,
        }
    }

    /// A handle that ends the session from another thread.
    pub(crate) fn hangup(&self) -> Result<Hangup> {
        self.transport.hangup().map_err(|error| self.broken(error))
    }

    fn send_with(&mut self, write: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<()> {
        let mut out = BytesMut::new();
        write(&mut out).map_err(|error| self.broken(error))?;
        self.send(&out)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = self.transport.write_all(bytes).and_then(|()| self.transport.flush());
        sent.map_err(|error| self.broken(error))
    }

    fn receive(&mut self) -> Result<Message> {
        let message = self.receive_while(|_| true)?;
        message.ok_or_else(|| self.broken(io::ErrorKind::UnexpectedEof.into()))
    }

    /// The next message, or `None` when one with an unwanted tag comes, which is taken off the stream.
    fn receive_while(&mut self, wanted: impl Fn(u8) -> bool) -> Result<Option<Message>> {
        loop {
            if let Some(length) = unwanted_message(&self.received, &wanted) {
                self.received.advance(length);
                return Ok(None);
            }
            if let Some(message) = parse(&mut self.received, &self.endpoint.server())? {
                return Ok(Some(message));
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> Result<()> {
        let mut scratch = [0; READ_BYTES];
        let read = read_into(&mut self.transport, &mut scratch, &mut self.received);
        let length = read.map_err(|error| self.broken(error))?;
        if length == 0 {
            return Err(self.broken(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    fn broken(&self, error: io::Error) -> Error {
        error::io_error(&error, &self.endpoint.server())
    }

    fn unsupported(&self) -> Error {
        let message = format!(
            "PostgreSQL at {} asks for a way of authentication that is not supported; use scram-sha-256 or md5 in pg_hba.conf",
            self.endpoint.server()
        );
        Error::definite("source_authentication", message)
    }

    fn impostor(&self, why: &io::Error) -> Error {
        error::impostor(why, &self.endpoint)
    }

    fn refused(&self, body: &ErrorResponseBody) -> Error {
        refusal(body, self.doing)
    }
}

// === impl Canceller ===

impl Canceller {
    /// Asks the server to cancel what the session is doing. Best effort: the session may have ended.
    pub(crate) fn cancel(&self) {
        let Some((process, secret)) = self.key else {
            return;
        };
        let mut request = BytesMut::new();
        frontend::cancel_request(process, secret, &mut request);
        let sent = Transport::connect(&self.endpoint).map(|mut transport| transport.write_all(&request));
        if let Err(error) = sent {
            tracing::debug!(error = error.report(), "a query could not be cancelled");
        }
    }
}

// === free functions ===

/// Answer to START_REPLICATION; postgres-protocol does not know it.
const COPY_BOTH_RESPONSE: u8 = b'W';

/// Length of the first message, where it is whole and its tag is not wanted.
fn unwanted_message(received: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (tag, rest) = received.split_first()?;
    if wanted(*tag) {
        return None;
    }
    let length = usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()? + 1;
    (received.len() >= length).then_some(length)
}

/// The first message, where it is whole. Its length is checked before anything waits or makes room for it.
pub(crate) fn parse(received: &mut BytesMut, server: &str) -> Result<Option<Message>> {
    if let Some([_, length @ ..]) = received.first_chunk::<5>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > MESSAGE_BYTES_MAXIMUM {
            return Err(error::impossible_length(server, "a message", length));
        }
    }
    Message::parse(received).map_err(|error| error::io_error(&error, server))
}

/// One read, through `scratch`, to the end of a buffer.
pub(crate) fn read_into(transport: &mut Transport, scratch: &mut [u8], buffer: &mut BytesMut) -> io::Result<usize> {
    let read = transport.read(scratch)?;
    buffer.extend_from_slice(scratch.get(..read).unwrap_or_default());
    Ok(read)
}

fn key(body: &BackendKeyDataBody) -> (i32, i32) {
    (body.process_id(), body.secret_key())
}

fn text_row(body: &postgres_protocol::message::backend::DataRowBody) -> io::Result<TextRow> {
    let buffer = body.buffer();
    let text = |range: Option<std::ops::Range<usize>>| {
        let bytes = range.and_then(|range| buffer.get(range));
        Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    };
    body.ranges().map(text).collect()
}

/// An error of the server by the two fields that decide and explain (manual 55.8): SQLSTATE and message.
pub(crate) fn refusal(body: &ErrorResponseBody, doing: &str) -> Error {
    let (mut sqlstate, mut message) = (String::new(), String::new());
    let mut fields = body.fields();
    // A field that cannot be read ends the list: what was read until there is told.
    while let Ok(Some(field)) = fields.next() {
        let value = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => sqlstate = value(),
            b'M' => message = value(),
            _ => {}
        }
    }
    error::server_error(&sqlstate, &message, doing)
}
