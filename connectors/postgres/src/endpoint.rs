//! Where the server is and who we are there: the connection URL, taken apart by us and not by a client library, so that
//! no error text of somebody else's ever holds a password, and libpq's `sslmode=verify-full` is understood.

use std::path::{Path, PathBuf};

use tailrace_core::secret::Secret;
use tailrace_core::{Error, Result};
use tailrace_sql::log_config::{TlsConfig, TlsFiles, TlsMode, password};
use tailrace_sql::server_url::{ServerUrl, host_and_port, is_loopback, port_number};

/// PostgreSQL's port.
const PORT: u16 = 5432;
/// Where distributions put the socket: Debian and Red Hat, then PostgreSQL's own default.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];
/// Parameters of a libpq URL that are understood.
const PARAMETERS: &str = "host, port, user, password, dbname, sslmode, sslrootcert, sslcert, sslkey";

/// A server, a database in it and a role.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Endpoint {
    /// Where to try, in order.
    pub(crate) hosts: Vec<Host>,
    /// TCP port, also part of a socket's file name.
    pub(crate) port: u16,
    /// Role.
    pub(crate) user: String,
    /// Database.
    pub(crate) database: String,
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
    /// Name or address.
    Tcp(String),
    /// Folder of the Unix socket.
    Unix(PathBuf),
}

/// What a configuration says of the way to its server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access<'a> {
    /// URL, or key=value string.
    pub(crate) url: &'a Secret,
    /// The password, where the URL does not hold it.
    pub(crate) password: Option<&'a Secret>,
    /// File with the password.
    pub(crate) password_file: Option<&'a Path>,
    /// Encryption.
    pub(crate) tls: &'a TlsConfig,
}

/// What a URL or a key=value string says, before defaults.
#[derive(Default)]
struct Parts {
    host: Option<String>,
    port: Option<String>,
    user: Option<String>,
    password: Option<String>,
    database: Option<String>,
    tls_mode: Option<String>,
    files: TlsFiles,
}

// === impl Endpoint ===

impl Endpoint {
    /// Takes the configuration's URL apart and reads the password file. Every error is definite.
    pub(crate) fn resolve(access: &Access<'_>) -> Result<Self> {
        let mut parts = parse(access.url.expose())?;
        let password = password(parts.password.take(), access.password, access.password_file)?;
        let hosts = hosts(parts.host.as_deref())?;
        let over_socket = hosts.iter().all(|host| matches!(host, Host::Unix(_)));
        let is_local = hosts.iter().all(Host::is_local);
        let tls_mode = parts.tls_mode.as_deref().map(tls_mode_of_url).transpose()?;
        let tls_mode = access.tls.mode(tls_mode, "sslmode", (over_socket, is_local))?;
        Ok(Self {
            hosts,
            port: port_number(parts.port.as_deref(), PORT)?,
            user: parts
                .user
                .ok_or_else(|| missing("user", "postgres://USER@host/database"))?,
            database: parts
                .database
                .ok_or_else(|| missing("database", "postgres://user@host/DATABASE"))?,
            password,
            tls_mode,
            tls: access.tls.files(parts.files)?,
        })
    }

    /// The server as an operator names it: `db.example:5432`, or the socket's path.
    pub(crate) fn server(&self) -> String {
        let names: Vec<String> = self.hosts.iter().map(|host| host.address(self.port)).collect();
        names.join(" or ")
    }
}

// === impl Host ===

impl Host {
    /// `host:port`, or the socket's path.
    pub(crate) fn address(&self, port: u16) -> String {
        match self {
            Self::Tcp(host) => host_and_port(host, port),
            Self::Unix(folder) => folder.join(format!(".s.PGSQL.{port}")).display().to_string(),
        }
    }

    /// Never leaves the machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(host) => is_loopback(host),
        }
    }
}

// === defaults and contradictions ===

fn invalid(message: impl Into<String>) -> Error {
    Error::definite("config", message)
}

fn missing(what: &str, example: &str) -> Error {
    invalid(format!("the `url` names no {what}; write `{example}`"))
}

fn hosts(host: Option<&str>) -> Result<Vec<Host>> {
    match host {
        None | Some("") => Ok(SOCKET_FOLDERS
            .iter()
            .map(|folder| Host::Unix(PathBuf::from(folder)))
            .collect()),
        Some(folder) if folder.starts_with('/') => Ok(vec![Host::Unix(PathBuf::from(folder))]),
        Some(list) if list.contains(',') => Err(invalid(
            "the `url` lists several hosts; name the one that leads to the primary, because a standby that answers first would be captured instead",
        )),
        Some(host) => Ok(vec![Host::Tcp(host.to_owned())]),
    }
}

fn tls_mode_of_url(text: &str) -> Result<TlsMode> {
    match text {
        "disable" => Ok(TlsMode::Disable),
        "require" => Ok(TlsMode::Require),
        "verify-ca" | "verify_ca" => Ok(TlsMode::VerifyCa),
        "verify-full" | "verify_full" => Ok(TlsMode::VerifyFull),
        "allow" | "prefer" => Err(invalid(
            "the `url` asks for an sslmode that falls back to plain text; write disable, require, verify-ca or verify-full",
        )),
        // What it says instead may be the end of a password with a question mark in it.
        _ => Err(invalid(
            "the `url` says an sslmode that there is not; write disable, require, verify-ca or verify-full",
        )),
    }
}

// === parsing ===

fn parse(text: &str) -> Result<Parts> {
    let after_scheme = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    match after_scheme {
        Some(rest) => parse_url(rest),
        None if text.contains("://") => Err(invalid(
            "the `url` is of another scheme; write `postgres://user@host/database`",
        )),
        None => parse_key_values(text),
    }
}

fn parse_url(rest: &str) -> Result<Parts> {
    let url = ServerUrl::parse(rest)?;
    let mut parts = Parts {
        host: url.host,
        port: url.port,
        user: url.user,
        password: url.password,
        database: url.path,
        ..Parts::default()
    };
    for (key, value) in url.parameters {
        parts.set(&key, value)?;
    }
    Ok(parts)
}

/// `key = 'value with \' and \\'` as in libpq.
fn parse_key_values(text: &str) -> Result<Parts> {
    let mut parts = Parts::default();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return Ok(parts);
        }
        let mut key = String::new();
        while let Some(c) = rest.next_if(|c| *c != '=' && !c.is_whitespace()) {
            key.push(c);
        }
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.next_if_eq(&'=').is_none() {
            return Err(invalid(
                "the `url` is neither `postgres://user@host/database` nor `host=… user=… dbname=…`: an equals sign is missing",
            ));
        }
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        parts.set(&key, parse_value(&mut rest)?)?;
    }
}

fn parse_value(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String> {
    let quoted = rest.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    loop {
        match rest.next() {
            Some('\\') => value.extend(rest.next()),
            Some('\'') if quoted => return Ok(value),
            Some(c) if !quoted && c.is_whitespace() => return Ok(value),
            Some(c) => value.push(c),
            None if quoted => return Err(invalid("a quoted value of the `url` has no end; close it with '")),
            None => return Ok(value),
        }
    }
}

// === impl Parts ===

impl Parts {
    fn set(&mut self, key: &str, value: String) -> Result<()> {
        let slot = match key {
            "host" => &mut self.host,
            "port" => &mut self.port,
            "user" => &mut self.user,
            "password" => &mut self.password,
            "dbname" => &mut self.database,
            "sslmode" => &mut self.tls_mode,
            "sslrootcert" | "sslcert" | "sslkey" => return self.set_file(key, &value),
            // Its name may be the end of a password with a question mark in it.
            _ => {
                return Err(invalid(format!(
                    "the `url` holds a parameter that is not understood here; there are {PARAMETERS}, and in a user or password `?` is written \
                     as %3F"
                )));
            }
        };
        if slot.is_some() {
            return Err(invalid(format!("the `url` gives `{key}` twice; keep one")));
        }
        *slot = Some(value).filter(|value| !value.is_empty());
        Ok(())
    }

    fn set_file(&mut self, key: &str, value: &str) -> Result<()> {
        let path = Some(PathBuf::from(value));
        match key {
            // libpq's word for the authorities of the system, which are ours by default.
            "sslrootcert" if value == "system" => {}
            "sslrootcert" => self.files.ca_file = path,
            "sslcert" => self.files.certificate_file = path,
            _ => self.files.key_file = path,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PostgresConfig;

    fn config(url: &str) -> PostgresConfig {
        serde_json::from_value(serde_json::json!({ "url": url, "tables": ["t"] })).unwrap()
    }

    fn resolve(url: &str) -> Result<Endpoint> {
        Endpoint::resolve(&config(url).access())
    }

    #[test]
    fn a_url_in_full() {
        let endpoint =
            resolve("postgresql://us%40er:p%3Aa%2Fss@db.example:6543/sh%20op?sslmode=verify-ca&sslrootcert=/ca.pem")
                .unwrap();
        assert_eq!(endpoint.hosts, [Host::Tcp("db.example".into())]);
        assert_eq!(endpoint.port, 6543);
        assert_eq!(endpoint.user, "us@er");
        assert_eq!(endpoint.database, "sh op");
        assert_eq!(endpoint.password, Some(Secret::new("p:a/ss")));
        assert_eq!(endpoint.tls_mode, TlsMode::VerifyCa);
        assert_eq!(endpoint.tls.ca_file, Some(PathBuf::from("/ca.pem")));
        assert_eq!(endpoint.server(), "db.example:6543");
    }

    #[test]
    fn key_values_with_quotes() {
        let endpoint = resolve(r"host=localhost  user = 'a b' password='it\'s \\' dbname=shop port=5433").unwrap();
        assert_eq!(endpoint.user, "a b");
        assert_eq!(endpoint.password, Some(Secret::new(r"it's \")));
        assert_eq!((endpoint.port, endpoint.tls_mode), (5433, TlsMode::Disable));
    }

    #[test]
    fn sockets_are_taken_where_the_host_is_a_folder_or_missing() {
        let endpoint = resolve("postgres://u@%2Frun%2Fpg:5544/shop").unwrap();
        assert_eq!(endpoint.hosts, [Host::Unix("/run/pg".into())]);
        assert_eq!(endpoint.server(), "/run/pg/.s.PGSQL.5544");
        assert_eq!(
            resolve("postgres://u@/shop?host=/run/pg").unwrap().hosts,
            [Host::Unix("/run/pg".into())]
        );
        let endpoint = resolve("postgres://u@/shop").unwrap();
        assert_eq!(endpoint.hosts.len(), 2);
        assert_eq!(endpoint.tls_mode, TlsMode::Disable);
        assert!(resolve("postgres://u@/shop?sslmode=require").is_err());
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
            assert_eq!(
                resolve(&format!("postgres://u@{host}/d")).unwrap().tls_mode,
                mode,
                "{host}"
            );
        }
        assert_eq!(resolve("postgres://u@[::1]:99/d").unwrap().server(), "[::1]:99");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        let canary = "c4n4ry";
        for (url, says) in [
            ("mysql://u:c4n4ry@h/d", "another scheme"),
            ("postgres://u:c4n4ry%zz@h/d", "percent"),
            ("postgres://u:c4n4ry%ff@h/d", "percent"),
            ("postgres://:c4n4ry@h/d", "names no user"),
            ("postgres://u:c4n4ry@h", "names no database"),
            ("postgres://u:c4n4ry@h:0/d", "port"),
            ("postgres://u:c4n4ry@a,b/d", "several hosts"),
            ("postgres://u:c4n4ry@h/d?sslmode=prefer", "plain text"),
            ("postgres://u:c4n4ry@h/d?sslmode=c4n4ry", "an sslmode that there is not"),
            ("postgres://u:c4n4ry@h/d?target=x", "a parameter that is not understood"),
            // Somebody who forgot to encode the question mark, or to quote the blank, of a password.
            ("postgres://u:x?c4n4ry@h/d", "written as %3F"),
            ("host=h user=u password=x c4n4ry=", "a parameter that is not understood"),
            ("postgres://u:c4n4ry@h/d?user=x", "twice"),
            ("postgres://u:c4n4ry@h/d?sslcert=x", "belong together"),
            ("host=h user=u password='c4n4ry", "no end"),
            ("just c4n4ry", "equals sign"),
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
    fn the_password_has_one_source() {
        let mut both = config("postgres://u:p@h/d");
        both.password = Some(Secret::new("q"));
        assert!(
            Endpoint::resolve(&both.access())
                .unwrap_err()
                .report()
                .contains("more than once")
        );
        let file = std::env::temp_dir().join(format!("tailrace-password-{}", std::process::id()));
        std::fs::write(&file, "s3cret \r\n").unwrap();
        let mut from_file = config("postgres://u@h/d");
        from_file.password_file = Some(file.clone());
        assert_eq!(
            Endpoint::resolve(&from_file.access()).unwrap().password,
            Some(Secret::new("s3cret "))
        );
        std::fs::remove_file(file).unwrap();
        assert_eq!(
            Endpoint::resolve(&from_file.access()).unwrap_err().code(),
            "source_authentication"
        );
    }
}
