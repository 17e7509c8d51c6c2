//! A session with the server for one dump: greeting, TLS, password, statements.
//!
//! Why not the client library's: it does not hand out the packets of a dump, but events that it has parsed and, where a transaction is
//! compressed, decompressed as a whole, whatever it takes; and a cut-off event is a panic in it. Everything that can be used without a
//! connection is used: the packets of the handshake and the answers to the server's challenges are the library's, and so are the
//! options and the errors, so that a dump connects exactly as queries do.
//!
//! ```text
//!   server                                 we
//!   greeting (version, nonce, method) ──▶
//!                                     ◀── [request for TLS, then TLS]
//!                                     ◀── user, method, answer to the nonce
//!   another method, another nonce ──────▶
//!                                     ◀── answer
//!   [caching_sha2: full ───────────────▶
//!                                     ◀── password, encrypted by TLS or with the server's key]
//!   OK ─────────────────────────────────▶
//! ```

use bytes::Bytes;
use mysql_async::{DriverError, Error, LocalInfileError, Opts, ServerError};
use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::packets::Packets;
use super::transport::{Plain, Transport, broken};
use crate::decode::Reader;

/// First bytes of packets.
const OK: u8 = 0x00;
const MORE_DATA: u8 = 0x01;
const SWITCH: u8 = 0xfe;
const ERROR: u8 = 0xff;
/// A server that is asked to load a file (`LOCAL INFILE`) says so, and then its name. It is never asked to.
const FILE_WANTED: u8 = 0xfb;
/// What caching_sha2_password says in more data.
const FAST_WAS_ENOUGH: &[u8] = &[MORE_DATA, 3];
const PASSWORD_WANTED: &[u8] = &[MORE_DATA, 4];
/// Asks for the server's public key.
const KEY_REQUEST: &[u8] = &[2];
const COM_QUERY: u8 = 0x03;
/// utf8mb4_general_ci, which every server since 5.5.3 knows.
const COLLATION: u8 = 45;
/// What packets of the handshake announce; for dumps the server has a limit of its own.
const PACKET_BYTES_MAXIMUM: u32 = 1 << 30;
/// More packets than any method of authentication takes.
const AUTHENTICATION_PACKETS_MAXIMUM: usize = 16;

/// A session that is logged in.
pub(super) struct Session {
    transport: Box<dyn Transport>,
    packets: Packets,
}

/// Answers the server's challenges.
struct Authentication<'o> {
    options: &'o Opts,
    /// The way to the server is encrypted or does not leave the machine.
    secure: bool,
    plugin: AuthPlugin<'static>,
    nonce: Vec<u8>,
    switched: bool,
}

// === impl Session ===

impl Session {
    /// Connects and logs in with the options of the client library; its errors are the library's too.
    pub(super) async fn open(options: &Opts) -> Result<Self, Error> {
        let plain = Plain::connect(options).await?;
        let is_local = plain.is_local();
        let (mut packets, plain, greeting) = receive_greeting(plain).await?;
        let handshake: HandshakePacket<'_> = ParseBuf(&greeting).parse(()).map_err(broken)?;
        let tls = options.ssl_opts().filter(|_| !is_local);
        let capabilities = capabilities(tls.is_some()) & handshake.capabilities();
        let transport = match tls {
            None => plain.unencrypted(),
            Some(_) if !capabilities.contains(CapabilityFlags::CLIENT_SSL) => {
                return Err(Error::Driver(DriverError::NoClientSslFlagFromServer));
            }
            Some(tls) => {
                let mut plain = plain;
                let request = SslRequest::new(capabilities, PACKET_BYTES_MAXIMUM, COLLATION);
                let frame = packets.frame(&serialized(&request))?;
                plain.write_all(&frame).await.map_err(broken)?;
                plain.encrypted(options, tls).await?
            }
        };
        let mut session = Self { transport, packets };
        let mut authentication = Authentication::new(options, tls.is_some() || is_local, &handshake);
        let response = authentication.response(&handshake, capabilities);
        session.write(&response).await?;
        session.authenticate(&mut authentication).await?;
        Ok(session)
    }

    async fn authenticate(&mut self, authentication: &mut Authentication<'_>) -> Result<(), Error> {
        for _ in 0..AUTHENTICATION_PACKETS_MAXIMUM {
            let packet = self.read().await?;
            match packet.first() {
                Some(&OK) => return Ok(()),
                Some(&SWITCH) => {
                    let answer = authentication.switch(&packet)?;
                    self.write(&answer).await?;
                }
                _ if *packet == *FAST_WAS_ENOUGH => {}
                _ if *packet == *PASSWORD_WANTED => self.send_password(authentication).await?,
                _ => return Err(unexpected(&packet)),
            }
        }
        Err(Error::Driver(DriverError::PacketOutOfOrder))
    }

    /// The server does not remember the password's hash, and wants the password itself.
    async fn send_password(&mut self, authentication: &Authentication<'_>) -> Result<(), Error> {
        let mut password = authentication.password();
        if authentication.secure {
            return self.write(&password).await;
        }
        self.write(KEY_REQUEST).await?;
        let answer = self.read().await?;
        let key = match answer.split_first() {
            Some((&MORE_DATA, key)) if key.starts_with(b"-----BEGIN PUBLIC KEY-----") => key,
            _ => return Err(unexpected(&answer)),
        };
        for (byte, nonce) in password.iter_mut().zip(authentication.nonce.iter().cycle()) {
            *byte ^= nonce;
        }
        let encrypted = mysql_common::crypto::encrypt(&password, key);
        self.write(&encrypted).await
    }

    /// Runs a statement that answers with nothing.
    pub(super) async fn execute(&mut self, statement: &str) -> Result<(), Error> {
        self.command(&[&[COM_QUERY], statement.as_bytes()].concat()).await?;
        let answer = self.read().await?;
        match answer.first() {
            Some(&OK) => Ok(()),
            _ => Err(unexpected(&answer)),
        }
    }

    /// Sends a command, of which the payload begins with its number.
    pub(super) async fn command(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.packets.begin_command();
        self.write(payload).await
    }

    /// The next packet; an error that the server sends is an error here. Cancel-safe.
    pub(super) async fn read(&mut self) -> Result<Bytes, Error> {
        loop {
            if let Some(packet) = self.read_now()? {
                return Ok(packet);
            }
            self.receive().await?;
        }
    }

    /// The next packet, if it was received already.
    pub(super) fn read_now(&mut self) -> Result<Option<Bytes>, Error> {
        match self.packets.next()? {
            Some(packet) if packet.first() == Some(&ERROR) => Err(server_error(&packet)),
            packet => Ok(packet),
        }
    }

    /// Waits for bytes from the server. Cancel-safe.
    pub(super) async fn receive(&mut self) -> Result<(), Error> {
        receive(&mut self.transport, &mut self.packets).await
    }

    async fn write(&mut self, payload: &[u8]) -> Result<(), Error> {
        let frame = self.packets.frame(payload)?;
        self.transport.write_all(&frame).await.map_err(broken)?;
        self.transport.flush().await.map_err(broken)
    }
}

// === impl Plain ===

impl Plain {
    async fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Unix(stream) => stream.write_all(bytes).await,
        }
    }
}

async fn receive_greeting(mut plain: Plain) -> Result<(Packets, Plain, Bytes), Error> {
    let mut packets = Packets::default();
    loop {
        match &mut plain {
            Plain::Tcp(stream) => receive(stream, &mut packets).await?,
            Plain::Unix(stream) => receive(stream, &mut packets).await?,
        }
        match packets.next()? {
            Some(packet) if packet.first() == Some(&ERROR) => return Err(server_error(&packet)),
            Some(packet) => return Ok((packets, plain, packet)),
            None => {}
        }
    }
}

async fn receive(transport: &mut (impl Transport + ?Sized), packets: &mut Packets) -> Result<(), Error> {
    match transport.read_buf(packets.buffer()).await.map_err(broken)? {
        0 => Err(broken(std::io::ErrorKind::UnexpectedEof.into())),
        _ => Ok(()),
    }
}

// === impl Authentication ===

impl<'o> Authentication<'o> {
    fn new(options: &'o Opts, secure: bool, handshake: &HandshakePacket<'_>) -> Self {
        // Whatever else the server prefers it asks for again.
        let plugin = match handshake.auth_plugin() {
            Some(AuthPlugin::CachingSha2Password) => AuthPlugin::CachingSha2Password,
            _ => AuthPlugin::MysqlNativePassword,
        };
        Self {
            options,
            secure,
            plugin,
            nonce: handshake.nonce(),
            switched: false,
        }
    }

    fn response(&self, handshake: &HandshakePacket<'_>, capabilities: CapabilityFlags) -> Vec<u8> {
        let answer = self.plugin.gen_data(self.options.pass(), &self.nonce);
        let response = HandshakeResponse::new(
            answer.as_deref(),
            handshake.server_version_parsed().unwrap_or_default(),
            self.options.user().map(str::as_bytes),
            None::<&[u8]>,
            Some(self.plugin.clone()),
            capabilities,
            None,
            PACKET_BYTES_MAXIMUM,
        );
        serialized(&response)
    }

    /// The answer to a request for another method.
    fn switch(&mut self, packet: &[u8]) -> Result<Vec<u8>, Error> {
        if self.switched {
            return Err(unexpected(packet));
        }
        self.switched = true;
        if packet.len() == 1 {
            return Err(Error::Driver(DriverError::MysqlOldPasswordDisabled));
        }
        let request: AuthSwitchRequest<'_> = ParseBuf(packet).parse(()).map_err(broken)?;
        let unknown = |name: String| Err(Error::Driver(DriverError::UnknownAuthPlugin { name }));
        self.plugin = match request.auth_plugin() {
            AuthPlugin::MysqlOldPassword => return Err(Error::Driver(DriverError::MysqlOldPasswordDisabled)),
            AuthPlugin::MysqlClearPassword if !self.options.enable_cleartext_plugin() => {
                return Err(Error::Driver(DriverError::CleartextPluginDisabled));
            }
            AuthPlugin::MysqlClearPassword => AuthPlugin::MysqlClearPassword,
            AuthPlugin::MysqlNativePassword => AuthPlugin::MysqlNativePassword,
            AuthPlugin::CachingSha2Password => AuthPlugin::CachingSha2Password,
            AuthPlugin::Ed25519 => AuthPlugin::Ed25519,
            AuthPlugin::MariadbParsec { .. } => return unknown("parsec".to_owned()),
            AuthPlugin::Other(name) => return unknown(String::from_utf8_lossy(&name).into_owned()),
        };
        self.nonce = request.plugin_data().to_vec();
        let answer = self.plugin.gen_data(self.options.pass(), &self.nonce);
        Ok(answer.map(|answer| serialized(&answer)).unwrap_or_default())
    }

    fn password(&self) -> Vec<u8> {
        [self.options.pass().unwrap_or_default().as_bytes(), b"\0"].concat()
    }
}

fn capabilities(tls: bool) -> CapabilityFlags {
    let needed = CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA;
    if tls {
        needed | CapabilityFlags::CLIENT_SSL
    } else {
        needed
    }
}

fn serialized(packet: &impl MySerialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.serialize(&mut bytes);
    bytes
}

fn unexpected(packet: &[u8]) -> Error {
    match packet.first() {
        Some(&ERROR) => server_error(packet),
        Some(&FILE_WANTED) => Error::Driver(LocalInfileError::NoHandler.into()),
        _ => Error::Driver(DriverError::UnexpectedPacket {
            // The first byte says what it is; more may be a secret.
            payload: packet.first().copied().into_iter().collect(),
        }),
    }
}

/// 0xff · number u16 · [# · state, five bytes] · message. Before the handshake is complete there is no state.
fn server_error(packet: &[u8]) -> Error {
    let mut reader = Reader::new("error", packet);
    let code = reader.u8().and_then(|_| reader.u16()).unwrap_or_default();
    let (state, message) = match reader.rest().strip_prefix(b"#") {
        Some(rest) => rest.split_at_checked(5).unwrap_or((rest, b"")),
        None => (&b""[..], reader.rest()),
    };
    Error::Server(ServerError {
        code,
        message: String::from_utf8_lossy(message).into_owned(),
        state: String::from_utf8_lossy(state).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_with_and_without_a_state() {
        for (packet, expected) in [
            (
                &b"\xff\xd4\x04#HY000Could not find first log file"[..],
                (1236, "HY000", "Could not find first log file"),
            ),
            (b"\xff\x10\x04Too many connections", (1040, "", "Too many connections")),
            (b"\xff", (0, "", "")),
            (b"\xff\x10\x04#HY", (1040, "HY", "")),
        ] {
            let Error::Server(error) = server_error(packet) else {
                panic!()
            };
            assert_eq!((error.code, error.state.as_str(), error.message.as_str()), expected);
        }
    }

    fn authentication(options: &Opts) -> Authentication<'_> {
        Authentication {
            options,
            secure: false,
            plugin: AuthPlugin::CachingSha2Password,
            nonce: b"abcdefghijklmnopqrst".to_vec(),
            switched: false,
        }
    }

    #[test]
    fn methods_that_give_the_password_away_are_refused() {
        let options = Opts::from_url("mysql://u:secret@localhost/").unwrap();
        let refused = |packet: &[u8]| authentication(&options).switch(packet).unwrap_err();
        assert!(matches!(
            refused(b"\xfe"),
            Error::Driver(DriverError::MysqlOldPasswordDisabled)
        ));
        assert!(matches!(
            refused(b"\xfemysql_old_password\0abcdefgh"),
            Error::Driver(DriverError::MysqlOldPasswordDisabled)
        ));
        assert!(matches!(
            refused(b"\xfemysql_clear_password\0"),
            Error::Driver(DriverError::CleartextPluginDisabled)
        ));
        let Error::Driver(DriverError::UnknownAuthPlugin { name }) = refused(b"\xfeauth_gssapi_client\0") else {
            panic!()
        };
        assert_eq!(name, "auth_gssapi_client");
    }

    #[test]
    fn another_method_is_answered_once() {
        let options = Opts::from_url("mysql://u:secret@localhost/").unwrap();
        let mut authentication = authentication(&options);
        let request = b"\xfemysql_native_password\0tsrqponmlkjihgfedcba\0";
        assert_eq!(authentication.switch(request).unwrap().len(), 20);
        assert_eq!(authentication.nonce, b"tsrqponmlkjihgfedcba");
        assert!(authentication.switch(request).is_err());
    }
}
