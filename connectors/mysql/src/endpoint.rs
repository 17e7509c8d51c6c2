//! Where the server is and who we are there: the connection URL, taken apart by us and not by a client library, so that
//! no error text of somebody else's ever holds a password.

use std::path::PathBuf;

use tailrace_core::secret::Secret;
use tailrace_core::{Error, Result};

use crate::config::{MySqlConfig, TlsConfig, TlsMode};

/// MySQL's port.
const PORT: u16 = 3306;
/// Parameters of a URL that are understood.
const PARAMETERS: &str = "socket, ssl-mode, ssl-ca, ssl-cert, ssl-key";

/// A server and a user of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Endpoint {
    /// The way to the server.
    pub(crate) host: Host,
    /// User.
    pub(crate) user: String,
    /// Password, as its source held it a moment ago.
    pub(crate) password: Option<Secret>,
    /// Encryption, with the default filled in.
    pub(crate) tls_mode: TlsMode,
    /// Files of certificates, those of the URL filled in.
    pub(crate) tls: TlsFiles,
}

/// One way to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// Name or address, and port.
    Tcp(String, u16),
    /// Unix socket.
    Unix(PathBuf),
}

/// Files of certificates (PEM).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// Authorities to trust; the system's where there is none.
    pub(crate) ca_file: Option<PathBuf>,
    /// Our certificate.
    pub(crate) certificate_file: Option<PathBuf>,
    /// Our private key.
    pub(crate) key_file: Option<PathBuf>,
}

/// What a URL says, before defaults.
#[derive(Default)]
struct Parts {
    host: Option<String>,
    port: Option<String>,
    user: Option<String>,
    password: Option<String>,
    socket: Option<String>,
    tls_mode: Option<String>,
    files: TlsFiles,
}

// === impl Endpoint ===

impl Endpoint {
    /// Takes the configuration's URL apart and reads the password file. Every error but that of the file is definite.
    pub(crate) fn resolve(config: &MySqlConfig) -> Result<Self> {
        let mut parts = parse(config.url.expose())?;
        let password = password(config, parts.password.take())?;
        let host = host(&parts)?;
        let tls_mode = tls_mode(&host, &config.tls, parts.tls_mode.as_deref())?;
        Ok(Self {
            host,
            user: parts
                .user
                .ok_or_else(|| invalid("the `url` names no user; write `mysql://USER@host:3306/`"))?,
            password,
            tls_mode,
            tls: tls_files(&config.tls, parts.files)?,
        })
    }

    /// The server as an operator names it: `db.example:3306`, or the socket's path.
    pub(crate) fn server(&self) -> String {
        match &self.host {
            Host::Tcp(host, port) if host.contains(':') => format!("[{host}]:{port}"),
            Host::Tcp(host, port) => format!("{host}:{port}"),
            Host::Unix(path) => path.display().to_string(),
        }
    }
}

// === impl Host ===

impl Host {
    /// Never leaves the machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(host, _) => {
                let address = host.parse::<std::net::IpAddr>();
                host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

// === defaults and contradictions ===

fn invalid(message: impl Into<String>) -> Error {
    Error::definite("config", message)
}

fn host(parts: &Parts) -> Result<Host> {
    match (&parts.host, &parts.socket) {
        (None, Some(socket)) => Ok(Host::Unix(PathBuf::from(socket))),
        (Some(_), Some(_)) => Err(invalid(
            "the `url` names a host and a socket; write `mysql://user@host:3306/` or `mysql://user@/?socket=/path`",
        )),
        (Some(list), None) if list.contains(',') => Err(invalid(
            "the `url` lists several hosts; name the one whose log is to be captured, because another has another log",
        )),
        (Some(host), None) => Ok(Host::Tcp(host.clone(), port(parts.port.as_deref())?)),
        (None, None) => Err(invalid(
            "the `url` names no host; write `mysql://user@HOST:3306/`, or `mysql://user@/?socket=/path` for a Unix socket",
        )),
    }
}

fn port(port: Option<&str>) -> Result<u16> {
    let Some(text) = port.filter(|text| !text.is_empty()) else {
        return Ok(PORT);
    };
    let number = text.parse::<u16>().ok().filter(|number| *number > 0);
    number.ok_or_else(|| invalid("the `url` names a port that is no number from 1 to 65535"))
}

fn password(config: &MySqlConfig, in_url: Option<String>) -> Result<Option<Secret>> {
    match (in_url, &config.password, &config.password_file) {
        (None, None, None) => Ok(None),
        (Some(password), None, None) => Ok(Some(Secret::new(password))),
        (None, Some(password), None) => Ok(Some(password.clone())),
        (None, None, Some(file)) => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                // A secret that is being rotated may be missing for a moment.
                let message = format!("cannot read the password file {}", file.display());
                Error::transient("source_authentication", message).with_source(error)
            })?;
            Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']))))
        }
        (Some(_), _, _) | (None, Some(_), Some(_)) => Err(invalid(
            "the password is given more than once; keep it in one of `url`, `password` and `password_file`",
        )),
    }
}

/// The words of MySQL's own clients, with hyphens or underscores.
fn tls_mode_of_url(text: &str) -> Result<TlsMode> {
    match text.to_ascii_lowercase().replace('-', "_").as_str() {
        "disabled" | "disable" => Ok(TlsMode::Disable),
        "required" | "require" => Ok(TlsMode::Require),
        "verify_ca" => Ok(TlsMode::VerifyCa),
        "verify_identity" | "verify_full" => Ok(TlsMode::VerifyFull),
        "preferred" | "prefer" => Err(invalid(
            "the `url` asks for an ssl-mode that falls back to plain text; write disabled, required, verify_ca or verify_identity",
        )),
        other => Err(invalid(format!(
            "the `url` says ssl-mode={other}; write disabled, required, verify_ca or verify_identity"
        ))),
    }
}

fn tls_mode(host: &Host, tls: &TlsConfig, in_url: Option<&str>) -> Result<TlsMode> {
    let said = match (tls.mode, in_url.map(tls_mode_of_url).transpose()?) {
        (Some(mode), Some(other)) if mode != other => {
            return Err(invalid(
                "`tls.mode` and the ssl-mode of the `url` differ; keep one of them",
            ));
        }
        (mode, other) => mode.or(other),
    };
    match said {
        Some(mode) if matches!(host, Host::Unix(_)) && mode != TlsMode::Disable => Err(invalid(
            "a Unix socket is not encrypted; name the host in the `url`, or set `tls.mode: disable`",
        )),
        Some(mode) => Ok(mode),
        None if host.is_local() => Ok(TlsMode::Disable),
        None => Ok(TlsMode::VerifyFull),
    }
}

fn tls_files(tls: &TlsConfig, in_url: TlsFiles) -> Result<TlsFiles> {
    let files = TlsFiles {
        ca_file: tls.ca_file.clone().or(in_url.ca_file),
        certificate_file: tls.certificate_file.clone().or(in_url.certificate_file),
        key_file: tls.key_file.clone().or(in_url.key_file),
    };
    if files.certificate_file.is_some() != files.key_file.is_some() {
        return Err(invalid(
            "`tls.certificate_file` and `tls.key_file` belong together; give both or none",
        ));
    }
    Ok(files)
}

// === parsing ===

fn parse(text: &str) -> Result<Parts> {
    let after_scheme = ["mysql://", "mariadb://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let Some(rest) = after_scheme else {
        return Err(invalid(
            "the `url` is of another scheme; write `mysql://user@host:3306/`",
        ));
    };
    let mut parts = Parts::default();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    if !database.is_empty() {
        return Err(invalid(
            "the `url` names a database; leave it out and write it in `tables`, as in `shop.orders`",
        ));
    }
    let (user_info, host_port) = authority
        .rsplit_once('@')
        .map_or((None, authority), |(user, host)| (Some(user), host));
    if let Some(user_info) = user_info {
        let (user, password) = user_info
            .split_once(':')
            .map_or((user_info, None), |(user, secret)| (user, Some(secret)));
        parts.user = non_empty(decode(user)?);
        parts.password = password.map(decode).transpose()?.and_then(non_empty);
    }
    let (host, port) = split_port(host_port);
    parts.host = non_empty(decode(host)?);
    parts.port = port.map(str::to_owned);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        parts.set(key, decode(value)?)?;
    }
    Ok(parts)
}

/// The port stands after the last colon, unless that is within the brackets of an IPv6 address.
fn split_port(host_port: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = host_port.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':'));
    }
    host_port
        .rsplit_once(':')
        .map_or((host_port, None), |(host, port)| (host, Some(port)))
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Percent decoding; the text itself stays out of the error because it may be the password.
fn decode(text: &str) -> Result<String> {
    let broken = || invalid("the `url` holds a broken percent sequence; write a percent sign as %25");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = (rest.next().and_then(hex), rest.next().and_then(hex));
        let (Some(high), Some(low)) = digits else {
            return Err(broken());
        };
        bytes.push(high << 4 | low);
    }
    String::from_utf8(bytes).map_err(|_| broken())
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

// === impl Parts ===

impl Parts {
    fn set(&mut self, key: &str, value: String) -> Result<()> {
        let path = || Some(PathBuf::from(&value));
        match key {
            "socket" => self.socket = non_empty(value),
            "ssl-mode" | "ssl_mode" | "sslmode" => self.tls_mode = non_empty(value),
            "ssl-ca" | "ssl_ca" => self.files.ca_file = path(),
            "ssl-cert" | "ssl_cert" => self.files.certificate_file = path(),
            "ssl-key" | "ssl_key" => self.files.key_file = path(),
            other => {
                return Err(invalid(format!(
                    "the `url` holds the parameter `{other}`, which is not understood here; there are {PARAMETERS}"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> MySqlConfig {
        serde_json::from_value(serde_json::json!({ "url": url, "tables": ["shop.t"] })).unwrap()
    }

    fn resolve(url: &str) -> Result<Endpoint> {
        Endpoint::resolve(&config(url))
    }

    #[test]
    fn a_url_in_full() {
        let endpoint =
            resolve("mysql://us%40er:p%3Aa%2Fss@db.example:6543/?ssl-mode=VERIFY_CA&ssl-ca=/ca.pem").unwrap();
        assert_eq!(endpoint.host, Host::Tcp("db.example".into(), 6543));
        assert_eq!(endpoint.user, "us@er");
        assert_eq!(endpoint.password, Some(Secret::new("p:a/ss")));
        assert_eq!(endpoint.tls_mode, TlsMode::VerifyCa);
        assert_eq!(endpoint.tls.ca_file, Some(PathBuf::from("/ca.pem")));
        assert_eq!(endpoint.server(), "db.example:6543");
        assert_eq!(resolve("mariadb://u@h").unwrap().server(), "h:3306");
    }

    #[test]
    fn a_socket_is_named_by_its_path() {
        let endpoint = resolve("mysql://u@/?socket=/run/mysqld/mysqld.sock").unwrap();
        assert_eq!(endpoint.host, Host::Unix("/run/mysqld/mysqld.sock".into()));
        assert_eq!(endpoint.server(), "/run/mysqld/mysqld.sock");
        assert_eq!(endpoint.tls_mode, TlsMode::Disable);
        assert!(resolve("mysql://u@/?socket=/s&ssl-mode=required").is_err());
        assert!(resolve("mysql://u@h/?socket=/s").is_err());
    }

    #[test]
    fn only_local_servers_are_unencrypted_by_default() {
        for (host, mode) in [
            ("localhost", TlsMode::Disable),
            ("127.0.0.1", TlsMode::Disable),
            ("[::1]", TlsMode::Disable),
            ("10.0.0.1", TlsMode::VerifyFull),
            ("localhost.example", TlsMode::VerifyFull),
        ] {
            assert_eq!(resolve(&format!("mysql://u@{host}/")).unwrap().tls_mode, mode, "{host}");
        }
        assert_eq!(resolve("mysql://u@[::1]:99/").unwrap().server(), "[::1]:99");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        let canary = "c4n4ry";
        for (url, says) in [
            ("postgres://u:c4n4ry@h/", "another scheme"),
            ("host=h user=u password=c4n4ry", "another scheme"),
            ("mysql://u:c4n4ry%zz@h/", "percent"),
            ("mysql://u:c4n4ry%ff@h/", "percent"),
            ("mysql://:c4n4ry@h/", "names no user"),
            ("mysql://u:c4n4ry@/", "names no host"),
            ("mysql://u:c4n4ry@h/shop", "names a database"),
            ("mysql://u:c4n4ry@h:0/", "port"),
            // Somebody who forgot to encode the slash of a password.
            ("mysql://u:c4n4ry/x@h/", "names a database"),
            ("mysql://u:c4n4ry", "port"),
            ("mysql://u:c4n4ry@a,b/", "several hosts"),
            ("mysql://u:c4n4ry@h/?ssl-mode=PREFERRED", "plain text"),
            ("mysql://u:c4n4ry@h/?ssl-mode=on", "ssl-mode=on"),
            ("mysql://u:c4n4ry@h/?charset=x", "`charset`"),
            ("mysql://u:c4n4ry@h/?ssl-cert=x", "belong together"),
        ] {
            let error = resolve(url).unwrap_err();
            assert!(error.report().contains(says), "{url}: {error}");
            assert!(
                !error.report().contains(canary) && !format!("{error:?}").contains(canary),
                "{error}"
            );
        }
    }

    #[test]
    fn modes_of_url_and_configuration_must_agree() {
        let mut both = config("mysql://u@h/?ssl-mode=required");
        both.tls.mode = Some(TlsMode::VerifyFull);
        assert!(Endpoint::resolve(&both).unwrap_err().report().contains("differ"));
        both.tls.mode = Some(TlsMode::Require);
        assert_eq!(Endpoint::resolve(&both).unwrap().tls_mode, TlsMode::Require);
    }

    #[test]
    fn the_password_has_one_source() {
        let mut both = config("mysql://u:p@h/");
        both.password = Some(Secret::new("q"));
        assert!(
            Endpoint::resolve(&both)
                .unwrap_err()
                .report()
                .contains("more than once")
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "s3cret \r\n").unwrap();
        let mut from_file = config("mysql://u@h/");
        from_file.password_file = Some(file.clone());
        assert_eq!(
            Endpoint::resolve(&from_file).unwrap().password,
            Some(Secret::new("s3cret "))
        );
        std::fs::remove_file(file).unwrap();
        assert_eq!(
            Endpoint::resolve(&from_file).unwrap_err().code(),
            "source_authentication"
        );
    }
}
