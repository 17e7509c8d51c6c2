//! Where the server is and who we are there: the connection URL, taken apart by us and not by a client library, so that
//! no error text of somebody else's ever holds a password.

use std::path::{Path, PathBuf};

use tailrace_core::secret::Secret;
use tailrace_core::{Error, Result};
use tailrace_sql::log_config::{TlsConfig, TlsFiles, TlsMode, password};
use tailrace_sql::server_url::{ServerUrl, host_and_port, is_loopback, port_number};

use crate::config::MySqlConfig;
use crate::sink::MySqlSinkConfig;

/// MySQL's port.
const PORT: u16 = 3306;
/// Parameters of a URL that are understood.
const PARAMETERS: &str = "socket, ssl-mode, ssl-ca, ssl-cert, ssl-key";

/// What a configuration says of the way to its server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access<'a> {
    url: &'a Secret,
    password: Option<&'a Secret>,
    password_file: Option<&'a Path>,
    tls: &'a TlsConfig,
    database: NamesDatabase,
}

/// Whether a URL names the database that its sessions are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NamesDatabase {
    /// Tables of every database may be captured.
    Never,
    /// Tables of one are written to, and offsets are kept in it.
    Always,
}

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
    /// The database that sessions are in, of a sink.
    pub(crate) database: Option<String>,
}

/// One way to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// Name or address, and port.
    Tcp(String, u16),
    /// Unix socket.
    Unix(PathBuf),
}

/// What the parameters of a URL say.
#[derive(Default)]
struct Parameters {
    socket: Option<String>,
    tls_mode: Option<String>,
    files: TlsFiles,
}

// === impl Access ===

impl<'a> From<&'a MySqlConfig> for Access<'a> {
    fn from(config: &'a MySqlConfig) -> Self {
        Self {
            url: &config.url,
            password: config.password.as_ref(),
            password_file: config.password_file.as_deref(),
            tls: &config.tls,
            database: NamesDatabase::Never,
        }
    }
}

impl<'a> From<&'a MySqlSinkConfig> for Access<'a> {
    fn from(config: &'a MySqlSinkConfig) -> Self {
        Self {
            url: &config.url,
            password: config.password.as_ref(),
            password_file: config.password_file.as_deref(),
            tls: &config.tls,
            database: NamesDatabase::Always,
        }
    }
}

impl Access<'_> {
    /// The same, without a look at the password.
    pub(crate) fn without_password(self) -> Self {
        Self {
            password: None,
            password_file: None,
            ..self
        }
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Takes the configuration's URL apart and reads the password file. Every error but that of the file is definite.
    pub(crate) fn resolve<'a>(access: impl Into<Access<'a>>) -> Result<Self> {
        let access = access.into();
        let (mut url, parameters) = parse(access.url.expose())?;
        let database = database(url.path.take(), access.database)?;
        let password = password(url.password.take(), access.password, access.password_file)?;
        let host = host(&url, parameters.socket.as_ref())?;
        let tls_mode = parameters.tls_mode.as_deref().map(tls_mode_of_url).transpose()?;
        let reached = (matches!(host, Host::Unix(_)), host.is_local());
        Ok(Self {
            tls_mode: access.tls.mode(tls_mode, "ssl-mode", reached)?,
            host,
            user: url
                .user
                .ok_or_else(|| invalid("the `url` names no user; write `mysql://USER@host:3306/`"))?,
            password,
            tls: access.tls.files(parameters.files)?,
            database,
        })
    }

    /// The server as an operator names it: `db.example:3306`, or the socket's path.
    pub(crate) fn server(&self) -> String {
        match &self.host {
            Host::Tcp(host, port) => host_and_port(host, *port),
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
            Self::Tcp(host, _) => is_loopback(host),
        }
    }
}

// === defaults and contradictions ===

fn invalid(message: impl Into<String>) -> Error {
    Error::definite("config", message)
}

fn host(url: &ServerUrl, socket: Option<&String>) -> Result<Host> {
    match (&url.host, socket) {
        (None, Some(socket)) => Ok(Host::Unix(PathBuf::from(socket))),
        (Some(_), Some(_)) => Err(invalid(
            "the `url` names a host and a socket; write `mysql://user@host:3306/` or `mysql://user@/?socket=/path`",
        )),
        (Some(list), None) if list.contains(',') => Err(invalid(
            "the `url` lists several hosts; name the one whose log is to be captured, because another has another log",
        )),
        (Some(host), None) => Ok(Host::Tcp(host.clone(), port_number(url.port.as_deref(), PORT)?)),
        (None, None) => Err(invalid(
            "the `url` names no host; write `mysql://user@HOST:3306/`, or `mysql://user@/?socket=/path` for a Unix socket",
        )),
    }
}

fn database(path: Option<String>, named: NamesDatabase) -> Result<Option<String>> {
    match (path, named) {
        (Some(_), NamesDatabase::Never) => Err(invalid(
            "the `url` names a database; leave it out and write it in `tables`, as in `shop.orders`",
        )),
        (None, NamesDatabase::Always) => Err(invalid(
            "the `url` names no database; write `mysql://user@host:3306/DATABASE`",
        )),
        (path, _) => Ok(path),
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
        // What it says instead may be the end of a password with a question mark in it.
        _ => Err(invalid(
            "the `url` says an ssl-mode that there is not; write disabled, required, verify_ca or verify_identity",
        )),
    }
}

// === parsing ===

fn parse(text: &str) -> Result<(ServerUrl, Parameters)> {
    let after_scheme = ["mysql://", "mariadb://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let Some(rest) = after_scheme else {
        return Err(invalid(
            "the `url` is of another scheme; write `mysql://user@host:3306/`",
        ));
    };
    let url = ServerUrl::parse(rest)?;
    let mut parameters = Parameters::default();
    for (key, value) in &url.parameters {
        parameters.set(key, value)?;
    }
    Ok((url, parameters))
}

// === impl Parameters ===

impl Parameters {
    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let text = || Some(value.to_owned()).filter(|value| !value.is_empty());
        let path = || Some(PathBuf::from(value));
        match key {
            "socket" => self.socket = text(),
            "ssl-mode" | "ssl_mode" | "sslmode" => self.tls_mode = text(),
            "ssl-ca" | "ssl_ca" => self.files.ca_file = path(),
            "ssl-cert" | "ssl_cert" => self.files.certificate_file = path(),
            "ssl-key" | "ssl_key" => self.files.key_file = path(),
            // Its name may be the end of a password with a question mark in it.
            _ => {
                return Err(invalid(format!(
                    "the `url` holds a parameter that is not understood here; there are {PARAMETERS}, and in a user or password `?` is written \
                     as %3F"
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
            ("mysql://u:c4n4ry@h/?ssl-mode=c4n4ry", "an ssl-mode that there is not"),
            ("mysql://u:c4n4ry@h/?charset=x", "a parameter that is not understood"),
            // Somebody who forgot to encode the question mark of a password.
            ("mysql://u:x?c4n4ry@h/", "written as %3F"),
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
