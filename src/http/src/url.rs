//! Where somebody is asked.

use std::fmt;

use hyper::Uri;
use hyper::http::uri::{Authority, Scheme};

/// A URL over which somebody is asked. `Debug` shows its host alone, because the rest of a URL may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    is_tls: bool,
    authority: Authority,
    path: String,
    query: Option<String>,
}

// === impl HttpUrl ===

impl HttpUrl {
    /// Reads `http://` and `https://`, with a host.
    ///
    /// # Errors
    /// Half a sentence, which holds nothing of a URL that may hold a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let Ok(uri) = url.parse::<Uri>() else {
            return Err("a `url` is no URL".to_owned());
        };
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err("a `url` lacks its scheme or host".to_owned());
        };
        if authority.as_str().contains('@') {
            return Err(format!(
                "the `url` of {} holds a name or a password, which do not stand in a URL",
                authority.host()
            ));
        }
        let is_tls = *scheme == Scheme::HTTPS;
        if !is_tls && *scheme != Scheme::HTTP {
            return Err(format!("the `url` of {authority} begins with `{scheme}://`"));
        }
        Ok(Self {
            is_tls,
            authority: authority.clone(),
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
        })
    }

    /// As the beginning of other URLs: without a `/` at its end.
    ///
    /// # Errors
    /// Half a sentence where nothing can follow it, because it has a query.
    pub fn into_base(mut self) -> Result<Self, String> {
        if self.query.is_some() {
            return Err(format!("the `url` of {} has a `?`", self.authority));
        }
        self.path.truncate(self.path.trim_end_matches('/').len());
        Ok(self)
    }

    /// More than a `/` follows the host.
    pub fn has_path(&self) -> bool {
        self.path.len() > 1
    }

    /// Over `https://`.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Host and port as written.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The port, as given or as usual for the scheme.
    pub fn port(&self) -> u16 {
        let usual = if self.is_tls { 443 } else { 80 };
        self.authority.port_u16().unwrap_or(usual)
    }

    /// Name or address without the brackets of IPv6.
    pub fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    /// Scheme, host and port: what may be shown of a URL whose path or query are secret.
    pub fn origin(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    /// What stands in the first line of a request for something below it.
    pub(crate) fn target(&self, path: &str) -> String {
        let query = self.query.as_deref().map(|query| format!("?{query}"));
        format!("{}{path}{}", self.path, query.unwrap_or_default())
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.origin(), self.path)
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_followed_by_paths_and_another_url_is_asked_as_written() {
        let base = HttpUrl::parse("https://h/apis/ccompat/v7/")
            .unwrap()
            .into_base()
            .unwrap();
        assert_eq!(base.to_string(), "https://h/apis/ccompat/v7");
        assert_eq!(base.target("/subjects"), "/apis/ccompat/v7/subjects");
        let whole = HttpUrl::parse("http://[::1]:8080/hook/?key=hunter2").unwrap();
        assert_eq!(whole.target(""), "/hook/?key=hunter2");
        assert_eq!((whole.host(), whole.port(), whole.is_tls()), ("::1", 8080, false));
        assert_eq!(HttpUrl::parse("http://h").unwrap().target(""), "/");
        assert!(whole.into_base().is_err());
    }

    #[test]
    fn no_path_and_no_query_is_shown() {
        let url = HttpUrl::parse("https://hooks.example/T0/secret?key=hunter2").unwrap();
        assert_eq!(
            format!("{url:?} {}", url.origin()),
            "https://hooks.example https://hooks.example"
        );
    }
}
