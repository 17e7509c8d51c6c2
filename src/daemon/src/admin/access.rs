//! Who is there, and what they may do: bearer tokens from files, and certificates of clients.
//!
//! Tokens are kept as SHA-256 sums and compared in constant time with every one that there is, so that neither the length of an answer
//! nor its time says how much of a guess was right. A file that is replaced is read again; one that cannot be trusted keeps nobody in.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use tailrace_core::{Error, Result};

use super::config::{AdminPlan, ClientCertificateConfig, Role, TokenConfig};

/// 256 bits in hexadecimal are 64 characters, in base64 43; 32 are the least that nobody guesses.
const TOKEN_CHARACTERS_MINIMUM: usize = 32;
/// A file of tokens; anything longer is another file.
const TOKEN_FILE_BYTES_MAXIMUM: u64 = 4096;
/// How long a changed file goes unnoticed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Waits in `open` for nobody: a named pipe would.
const NON_BLOCKING: i32 = 0o4000;

/// Code of everything that is wrong with a file of tokens.
pub(crate) const UNTRUSTED: &str = "token_file_untrusted";

/// Somebody who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// What the journal calls them.
    pub(crate) name: String,
    /// What they may do.
    pub(crate) role: Role,
    /// How they are known: `none`, `token` or `certificate`.
    pub(crate) authentication: &'static str,
}

/// Everybody who may ask.
#[derive(Debug)]
pub(crate) struct Access {
    certificates: Vec<ClientCertificateConfig>,
    holders: Vec<Mutex<Holder>>,
    asks_who: bool,
}

/// Somebody who has a file of tokens.
#[derive(Debug)]
struct Holder {
    config: TokenConfig,
    sums: Vec<[u8; 32]>,
    /// What the file was like when it was read.
    seen: Option<FileStamp>,
    looked_at: Instant,
}

/// Tells a file that was replaced or written from what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    inode: u64,
    changed_s: i64,
    changed_ns: i64,
    bytes: u64,
}

// === impl Access ===

impl Access {
    /// Reads every file of tokens.
    ///
    /// # Errors
    /// Definite [`UNTRUSTED`] for the first that cannot be trusted.
    pub(crate) fn open(plan: &AdminPlan) -> Result<Self> {
        let holders = plan
            .tokens
            .iter()
            .map(|config| Ok(Mutex::new(Holder::open(config.clone())?)));
        Ok(Self {
            certificates: plan.client_certificates.clone(),
            holders: holders.collect::<Result<_>>()?,
            asks_who: plan.asks_who(),
        })
    }

    /// Who shows this: the names of a certificate that was verified, or what stands behind `Authorization:`. `None` where it is nobody.
    pub(crate) fn caller(&self, certificate_names: &[String], authorization: Option<&str>) -> Option<Caller> {
        if !self.asks_who {
            return Some(Caller {
                name: "anonymous".to_owned(),
                role: Role::Admin,
                authentication: "none",
            });
        }
        let by_certificate = self
            .certificates
            .iter()
            .find(|known| certificate_names.contains(&known.name));
        if let Some(known) = by_certificate {
            return Some(Caller {
                name: known.name.clone(),
                role: known.role,
                authentication: "certificate",
            });
        }
        let (name, token) = authorization.and_then(shown).unwrap_or_default();
        let caller = self.by_token(&token);
        // A token is somebody's: under another name it is nobody's.
        caller.filter(|caller| name.is_none_or(|name| name == caller.name))
    }

    /// The names of certificates that are looked for.
    pub(super) fn certificate_names(&self) -> impl Iterator<Item = &str> {
        self.certificates.iter().map(|known| known.name.as_str())
    }

    fn by_token(&self, token: &str) -> Option<Caller> {
        let sum: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = None;
        for holder in &self.holders {
            let mut holder = holder.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            holder.look();
            // Every sum is looked at, whether or not one was right already.
            let any = holder
                .sums
                .iter()
                .fold(Choice::from(0), |any, known| any | known.ct_eq(&sum));
            if bool::from(any) && !token.is_empty() {
                found = Some(Caller {
                    name: holder.config.name.clone(),
                    role: holder.config.role,
                    authentication: "token",
                });
            }
        }
        found
    }
}

/// A token that can be read, of somebody with the highest role: for those who run commands on this machine.
pub(super) fn first_token(configs: &[TokenConfig]) -> Option<String> {
    let mut configs: Vec<&TokenConfig> = configs.iter().collect();
    configs.sort_by_key(|config| std::cmp::Reverse(config.role));
    configs.into_iter().find_map(|config| {
        let text = std::fs::read_to_string(&config.file).ok()?;
        text.lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .map(str::to_owned)
    })
}

/// The token of `Bearer TOKEN` (RFC 6750, 2.1), or name and token of `Basic …` (RFC 7617, 2), which is all that most clients of Kafka
/// Connect can send. The scheme's case does not matter (RFC 9110, 11.1). No answer asks for the latter, so that no browser keeps one.
fn shown(authorization: &str) -> Option<(Option<String>, String)> {
    let (scheme, text) = authorization.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some((None, text.to_owned()));
    }
    let decoded = STANDARD
        .decode(text)
        .ok()
        .filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (name, token) = decoded.split_once(':')?;
    Some((Some(name.to_owned()), token.to_owned()))
}

// === impl Holder ===

impl Holder {
    fn open(config: TokenConfig) -> Result<Self> {
        let (sums, stamp) = read(&config.file)?;
        Ok(Self {
            config,
            sums,
            seen: Some(stamp),
            looked_at: Instant::now(),
        })
    }

    /// Reads the file again where it is another one.
    fn look(&mut self) {
        if self.looked_at.elapsed() < LOOK_INTERVAL {
            return;
        }
        self.looked_at = Instant::now();
        let now = std::fs::metadata(&self.config.file).ok().as_ref().map(FileStamp::of);
        if now.is_some() && now == self.seen {
            return;
        }
        match read(&self.config.file) {
            Ok((sums, stamp)) => {
                tracing::info!(name = self.config.name, "a changed file of tokens is read");
                (self.sums, self.seen) = (sums, Some(stamp));
            }
            Err(error) => {
                if !self.sums.is_empty() {
                    tracing::error!(name = self.config.name, code = error.code(), "{}", error.report());
                }
                self.sums.clear();
                self.seen = None;
            }
        }
    }
}

// === impl FileStamp ===

impl FileStamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            changed_s: metadata.ctime(),
            changed_ns: metadata.ctime_nsec(),
            bytes: metadata.len(),
        }
    }
}

/// The sums of the tokens in a file that nobody else can read or exchange.
fn read(path: &Path) -> Result<(Vec<[u8; 32]>, FileStamp)> {
    let failed = |reason: String| {
        let message = format!("the file of tokens {} is not used: {reason}", path.display());
        Error::definite(UNTRUSTED, message)
    };
    let opened = OpenOptions::new().read(true).custom_flags(NON_BLOCKING).open(path);
    let file = opened.map_err(|error| failed(format!("{error}; make it with `openssl rand -hex 32`")))?;
    let metadata = file.metadata().map_err(|error| failed(error.to_string()))?;
    distrust(path, &metadata).map_or(Ok(()), |reason| Err(failed(reason)))?;
    let text = contents(&file).map_err(|error| failed(error.to_string()))?;
    let tokens: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if tokens.is_empty() {
        return Err(failed(
            "it holds no token; make one with `openssl rand -hex 32`".to_owned(),
        ));
    }
    if let Some(reason) = tokens.iter().find_map(|token| weakness(token)) {
        return Err(failed(reason));
    }
    let sums = tokens.iter().map(|token| Sha256::digest(token.as_bytes()).into());
    Ok((sums.collect(), FileStamp::of(&metadata)))
}

fn contents(file: &File) -> std::io::Result<String> {
    let mut text = String::new();
    file.take(TOKEN_FILE_BYTES_MAXIMUM).read_to_string(&mut text)?;
    Ok(text)
}

/// Why others may know what is in a file, or exchange it. Secrets of Kubernetes are links of root to files of root that a group may read, in a
/// folder where others can write and exchange nothing that is not theirs: those are believed.
fn distrust(path: &Path, metadata: &Metadata) -> Option<String> {
    let (ours, root) = (rustix::process::geteuid().as_raw(), 0);
    let is_theirs = |metadata: &Metadata| metadata.uid() != ours && metadata.uid() != root;
    if !metadata.is_file() {
        return Some("it is no regular file".to_owned());
    }
    if metadata.len() > TOKEN_FILE_BYTES_MAXIMUM {
        return Some(format!("it has more than {TOKEN_FILE_BYTES_MAXIMUM} bytes"));
    }
    if is_theirs(metadata) {
        return Some(format!(
            "it belongs to user {}; `chown` it to Tailrace's",
            metadata.uid()
        ));
    }
    let others = if metadata.uid() == root && ours != root {
        0o027
    } else {
        0o077
    };
    if metadata.mode() & others != 0 {
        return Some(format!("others may read it; run `chmod 600 {}`", path.display()));
    }
    let link = std::fs::symlink_metadata(path)
        .ok()
        .filter(|link| link.file_type().is_symlink());
    if let Some(link) = link {
        let folder = path.parent().and_then(|folder| std::fs::metadata(folder).ok());
        let is_safe = folder.is_some_and(|folder| {
            let (is_closed, is_sticky) = (folder.mode() & 0o022 == 0, folder.mode() & 0o1000 != 0);
            !is_theirs(&folder) && (is_closed || is_sticky && !is_theirs(&link))
        });
        if !is_safe {
            return Some("it is a link in a folder that others can write; name the file itself".to_owned());
        }
    }
    None
}

/// Why a token is none.
fn weakness(token: &str) -> Option<String> {
    let mut different: Vec<char> = token.chars().collect();
    different.sort_unstable();
    different.dedup();
    if token.chars().count() < TOKEN_CHARACTERS_MINIMUM {
        return Some(format!(
            "a token has less than {TOKEN_CHARACTERS_MINIMUM} characters; make one with `openssl rand -hex 32`"
        ));
    }
    if different.len() < 8 || !token.is_ascii() || token.contains(' ') {
        return Some("a token was not made at random; make one with `openssl rand -hex 32`".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn place(text: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, file)
    }

    fn refused(path: &Path) -> String {
        read(path).map(|_| ()).unwrap_err().report()
    }

    #[test]
    fn a_file_that_cannot_be_trusted_is_refused() {
        let table = [
            ("", 0o600, "holds no token"),
            ("\n\n", 0o600, "holds no token"),
            ("changeme", 0o600, "less than 32"),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0o600, "not made at random"),
            (TOKEN, 0o644, "chmod 600"),
            (TOKEN, 0o640, "chmod 600"),
            (TOKEN, 0o602, "chmod 600"),
        ];
        for (text, mode, expected) in table {
            let (_folder, file) = place(text, mode);
            let said = refused(&file);
            assert!(said.contains(expected), "{text} {mode:o}: {said}");
            assert!(!said.contains(TOKEN), "{said}");
        }
    }

    #[test]
    fn only_a_regular_file_is_read_and_nothing_is_waited_for() {
        let (folder, file) = place(TOKEN, 0o600);
        assert!(refused(folder.path()).contains("no regular file"));
        assert!(refused(Path::new("/dev/zero")).contains("no regular file"));
        assert!(refused(&folder.path().join("missing")).contains("openssl rand"));
        let link = folder.path().join("link");
        symlink(&file, &link).unwrap();
        assert!(read(&link).is_ok(), "a link in a folder of our own");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(refused(&link).contains("a link in a folder that others can write"));
        // As Kubernetes mounts secrets: others may add files, and not exchange ours.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(read(&link).is_ok());
    }

    #[test]
    fn every_line_is_a_token_and_nothing_else_is_one() {
        let second = "fedcba9876543210fedcba9876543210";
        let (_folder, file) = place(&format!("{TOKEN}\n{second}\n"), 0o600);
        let config = TokenConfig {
            name: "alice".to_owned(),
            role: Role::Operate,
            file,
        };
        let access = Access {
            certificates: Vec::new(),
            holders: vec![Mutex::new(Holder::open(config).unwrap())],
            asks_who: true,
        };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for (authorization, expected) in [
            (Some(format!("Bearer {TOKEN}")), true),
            (Some(format!("bearer {second}")), true),
            (Some(format!("Bearer {TOKEN}x")), false),
            (Some(format!("Bearer {}", TOKEN.split_at(31).0)), false),
            (Some(format!("Basic {TOKEN}")), false),
            (Some(basic(&format!("alice:{TOKEN}"))), true),
            (Some(basic(&format!("bob:{TOKEN}"))), false),
            (Some(basic(&format!(":{TOKEN}"))), false),
            (Some(basic("alice:")), false),
            (Some(basic("alice")), false),
            (Some(basic(TOKEN)), false),
            (Some("Bearer ".to_owned()), false),
            (Some(TOKEN.to_owned()), false),
            (None, false),
        ] {
            let caller = access.caller(&[], authorization.as_deref());
            assert_eq!(caller.is_some(), expected, "{authorization:?}");
            assert!(caller.is_none_or(|caller| caller.name == "alice" && caller.role == Role::Operate));
        }
    }
}
