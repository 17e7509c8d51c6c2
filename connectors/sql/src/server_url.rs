//! The URL of a database server, taken apart by us and not by a client library, so that no error text of somebody else's ever
//! holds a password: `scheme://user:password@host:port/path?name=value&…`, percent-encoded.

use tailrace_core::{Error, Result};

/// What a URL says, before defaults; empty parts are `None`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// User or role.
    pub user: Option<String>,
    /// Password; never shown.
    pub password: Option<String>,
    /// Name or address, without the brackets of IPv6.
    pub host: Option<String>,
    /// Port, not yet a number.
    pub port: Option<String>,
    /// What stands behind the first slash.
    pub path: Option<String>,
    /// Names and values behind the question mark, in order.
    pub parameters: Vec<(String, String)>,
}

// === impl ServerUrl ===

impl ServerUrl {
    /// Takes apart what follows `scheme://`.
    ///
    /// # Errors
    /// Definite, for a broken percent sequence.
    pub fn parse(after_scheme: &str) -> Result<Self> {
        let (rest, query) = after_scheme.split_once('?').unwrap_or((after_scheme, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user_info, host_port) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(user, host)| (Some(user), host));
        let (user, password) = user_info.map_or((None, None), |user_info| {
            user_info
                .split_once(':')
                .map_or((Some(user_info), None), |(user, secret)| (Some(user), Some(secret)))
        });
        let (host, port) = split_port(host_port);
        let parameters = query.split('&').filter(|pair| !pair.is_empty());
        Ok(Self {
            user: part(user)?,
            password: part(password)?,
            host: part(Some(host))?,
            port: part(port)?,
            path: part(Some(path))?,
            parameters: parameters.map(parameter).collect::<Result<_>>()?,
        })
    }
}

/// A port as a URL has it; `default` where it has none.
///
/// # Errors
/// Definite, for anything but a number from 1 to 65535. The text stays out of it: in a URL that was cut at the wrong place it may
/// be a password.
pub fn port_number(port: Option<&str>, default: u16) -> Result<u16> {
    let Some(text) = port.filter(|text| !text.is_empty()) else {
        return Ok(default);
    };
    let number = text.parse::<u16>().ok().filter(|number| *number > 0);
    number.ok_or_else(|| {
        Error::definite(
            "config",
            "the `url` names a port that is no number from 1 to 65535".to_owned(),
        )
    })
}

/// Whether a host is this machine by its very name, so that nothing that is sent to it leaves the machine.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Address and port as operators write them, with brackets around IPv6 addresses.
#[must_use]
pub fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn part(text: Option<&str>) -> Result<Option<String>> {
    let decoded = text.map(decode).transpose()?;
    Ok(decoded.filter(|text| !text.is_empty()))
}

fn parameter(pair: &str) -> Result<(String, String)> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    Ok((name.to_owned(), decode(value)?))
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

/// Percent decoding; the text itself stays out of the error because it may be the password.
fn decode(text: &str) -> Result<String> {
    let broken = || {
        let message = "the `url` holds a broken percent sequence; write a percent sign as %25";
        Error::definite("config", message)
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_decoded_and_empty_ones_are_none() {
        let url = ServerUrl::parse("us%40er:p%3Aa%2Fss@db.example:6543/sh%20op?mode=a%26b&empty=&bare").unwrap();
        assert_eq!(url.user.as_deref(), Some("us@er"));
        assert_eq!(url.password.as_deref(), Some("p:a/ss"));
        assert_eq!(url.host.as_deref(), Some("db.example"));
        assert_eq!(url.port.as_deref(), Some("6543"));
        assert_eq!(url.path.as_deref(), Some("sh op"));
        let parameters = [("mode", "a&b"), ("empty", ""), ("bare", "")];
        assert_eq!(
            url.parameters,
            parameters.map(|(name, value)| (name.into(), value.into()))
        );
        assert_eq!(ServerUrl::parse(":@:/").unwrap(), ServerUrl::default());
    }

    #[test]
    fn an_address_of_version_six_stands_in_brackets() {
        let url = ServerUrl::parse("u@[::1]:3307/").unwrap();
        assert_eq!((url.host.as_deref(), url.port.as_deref()), (Some("::1"), Some("3307")));
        assert_eq!(host_and_port("::1", 3307), "[::1]:3307");
        assert_eq!(ServerUrl::parse("[::1]").unwrap().port, None);
    }

    #[test]
    fn what_is_broken_is_refused_without_showing_it() {
        for url in ["u:secret%2@h", "u:secret%zz@h", "u:secret%ff@h"] {
            let error = ServerUrl::parse(url).unwrap_err();
            assert!(!error.report().contains("secret"), "{}", error.report());
        }
        for port in ["0", "65536", "secret"] {
            let error = port_number(Some(port), 1).unwrap_err();
            assert!(!error.report().contains("secret"), "{}", error.report());
        }
        assert_eq!(port_number(None, 5432).unwrap(), 5432);
    }

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["db.example", "localhost.example", "10.0.0.1", "::2"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
