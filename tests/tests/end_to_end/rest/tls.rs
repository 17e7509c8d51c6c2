//! Who may ask: tokens, certificates, and nobody else; in the clear nobody at all.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tailrace_tests::daemon::Daemon;
use tailrace_tests::http::Client;
use tailrace_tests::servers::{PostgresVersion, poll_until};

use super::{DEADLINE, ROWS, Shop, refusal};

/// Somebody of each role, and where the tokens are.
pub(crate) struct Tokens {
    pub(crate) read: String,
    pub(crate) operate: String,
    pub(crate) admin: String,
    folder: PathBuf,
}

/// Names that have tokens, and their roles.
const HOLDERS: [(&str, &str); 3] = [("rita", "read"), ("otto", "operate"), ("alice", "admin")];

// === impl Tokens ===

impl Tokens {
    /// The daemon asks for them from its next start on; the test asks as the administrator.
    pub(crate) fn set(daemon: &mut Daemon) -> Tokens {
        let tokens = Tokens::make(daemon.path());
        let settings = tokens.settings();
        let client = Client::at(daemon.port()).with_token(Some(&tokens.admin));
        daemon.set_admin(&settings, client);
        tokens
    }

    fn make(folder: &Path) -> Tokens {
        let token = |role: &str| format!("{role}-{}", unique());
        let tokens = Tokens {
            read: token("read"),
            operate: token("operate"),
            admin: token("admin"),
            folder: folder.to_owned(),
        };
        for (name, token) in [
            ("rita", &tokens.read),
            ("otto", &tokens.operate),
            ("alice", &tokens.admin),
        ] {
            tokens.write(name, token);
        }
        tokens
    }

    fn settings(&self) -> String {
        let folder = self.folder.display();
        let holder = |(name, role)| format!("{{ name: {name}, role: {role}, file: \"{folder}/{name}.token\" }}");
        format!("tokens: [{}]", HOLDERS.map(holder).join(", "))
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.folder.join(format!("{name}.token"));
        private(&file, text);
    }
}

/// A file that nobody else can read, put in the place of the one that is there.
fn private(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(&new, file).unwrap();
}

/// 128 bits that nobody else has, in hexadecimal.
pub(crate) fn unique() -> String {
    use std::io::Read;
    let mut bytes = [0; 16];
    let mut random = std::fs::File::open("/dev/urandom").unwrap();
    random.read_exact(&mut bytes).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Authorities and certificates, made with `openssl` in a folder.
pub(crate) struct Authority {
    folder: PathBuf,
    name: &'static str,
}

// === impl Authority ===

impl Authority {
    pub(crate) fn make(folder: &Path, name: &'static str) -> Authority {
        let authority = Authority {
            folder: folder.to_owned(),
            name,
        };
        authority.openssl(&format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN={name} \
             -keyout {name}.key -out {name}.pem -addext basicConstraints=critical,CA:TRUE"
        ));
        authority
    }

    fn openssl(&self, script: &str) {
        let mut command = Command::new("sh");
        let output = command
            .args(["-ec", script])
            .current_dir(&self.folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn file(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.name))
    }

    /// A certificate for names (`IP:127.0.0.1`, `DNS:otto`), and its key.
    pub(crate) fn sign(&self, file: &str, names: &str, more: &str) -> (PathBuf, PathBuf) {
        let authority = self.name;
        self.openssl(&format!(
            "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={file} -keyout {file}.key -out {file}.csr; \
             echo subjectAltName={names} >{file}.names; \
             openssl x509 -req -in {file}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -extfile {file}.names \
             {more} -out {file}.part; chmod 600 {file}.key; mv {file}.part {file}.pem"
        ));
        let place = |ending: &str| self.folder.join(format!("{file}.{ending}"));
        (place("pem"), place("key"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_may_do_what_it_may_and_no_more() {
    let mut tokens = None;
    let shop = Shop::prepare(PostgresVersion::V17, ROWS, |daemon| tokens = Some(Tokens::set(daemon))).await;
    let tokens = tokens.unwrap();
    shop.daemon.start().unwrap();
    shop.create();
    let asks = |token: Option<&str>, method: &str, path: &str, body: &Value| {
        let client = shop.daemon.client().with_token(token);
        client.json(method, path, body).unwrap()
    };
    let (read, operate, admin) = (Some(&*tokens.read), Some(&*tokens.operate), Some(&*tokens.admin));
    for (token, name, role) in [
        (read, "rita", "read"),
        (operate, "otto", "operate"),
        (admin, "alice", "admin"),
    ] {
        let session = asks(token, "GET", "/session", &Value::Null).json().unwrap();
        assert_eq!(
            session,
            json!({ "name": name, "role": role, "authentication": "token" })
        );
    }
    let wrong = tokens.admin.replace("admin", "nimda");
    let shorter = tokens.admin[..tokens.admin.len() - 1].to_owned();
    let bodies: Vec<String> = [None, Some(&*wrong), Some(&*shorter), Some("")]
        .into_iter()
        .map(|token| {
            let answer = asks(token, "GET", "/status", &Value::Null);
            assert_eq!(answer.status, 401, "{}", answer.body);
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            answer.body
        })
        .collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    for (token, method, path, body, expected) in [
        (read, "PUT", shop.at("/pause"), Value::Null, 403),
        (read, "DELETE", shop.at(""), Value::Null, 403),
        (operate, "DELETE", shop.at(""), Value::Null, 403),
        (operate, "PUT", shop.at("/config"), shop.flat(), 403),
        (operate, "DELETE", shop.at("/offsets"), Value::Null, 403),
        (operate, "PUT", shop.at("/pause"), Value::Null, 202),
        (operate, "PUT", shop.at("/resume"), Value::Null, 202),
        (admin, "PUT", shop.at("/config"), shop.flat(), 200),
    ] {
        let answer = asks(token, method, &path, &body);
        assert_eq!(answer.status, expected, "{method} {path}: {}", answer.body);
        if expected == 403 {
            assert_eq!(refusal(&answer).0, "role_too_low");
        }
    }
    shop.wait_for_entry("otto", "paused", "");
    shop.wait_for_entry("alice", "changed", "");
    shop.wait_for("streaming");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_exchanged_while_it_runs() {
    let mut tokens = None;
    let shop = Shop::prepare(PostgresVersion::V17, ROWS, |daemon| tokens = Some(Tokens::set(daemon))).await;
    let tokens = tokens.unwrap();
    shop.daemon.start().unwrap();
    let status = |token: &str| {
        let client = shop.daemon.client().with_token(Some(token));
        client.get("/session").unwrap().status
    };
    let becomes = |token: &str, wanted: u16| {
        let what = format!("{wanted} for a token");
        let seen = poll_until(&what, DEADLINE, || Ok((status(token) == wanted).then_some(())));
        seen.unwrap();
    };
    let new = format!("new-{}", unique());
    tokens.write("rita", &format!("{}\n{new}\n", tokens.read));
    becomes(&new, 200);
    assert_eq!(status(&tokens.read), 200, "both are good for the time of a change");
    tokens.write("rita", &format!("{new}\n"));
    becomes(&tokens.read, 401);
    assert_eq!(status(&new), 200);
    // A file that cannot be trusted any more lets nobody in, and comes back.
    let file = tokens.folder.join("rita.token");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    becomes(&new, 401);
    assert!(shop.daemon.log().contains("chmod 600"), "{}", shop.daemon.log());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    becomes(&new, 200);
    assert_eq!(status(&tokens.admin), 200);
    for token in [&new, &tokens.read, &tokens.admin] {
        assert!(!shop.daemon.log().contains(token.as_str()));
    }
}

/// A shop whose endpoint asks for certificates of an authority, and knows another one.
struct Certified {
    shop: Shop,
    ours: Authority,
    theirs: Authority,
    certificate: PathBuf,
    key: PathBuf,
    _folder: tempfile::TempDir,
}

// === impl Certified ===

impl Certified {
    async fn start() -> Certified {
        let folder = tempfile::tempdir().unwrap();
        let ours = Authority::make(folder.path(), "ours");
        let theirs = Authority::make(folder.path(), "theirs");
        let (certificate, key) = ours.sign("endpoint", "IP:127.0.0.1,DNS:localhost", "-days 30");
        let shop = Shop::prepare(PostgresVersion::V17, ROWS, |daemon| {
            let tokens = Tokens::make(daemon.path());
            let settings = format!(
                "tls: {{ certificate_file: \"{}\", key_file: \"{}\", client_ca_file: \"{}\" }}, \
                 client_certificates: [{{ name: olga, role: operate }}, {{ name: rene.example.com, role: read }}], {}",
                certificate.display(),
                key.display(),
                ours.file().display(),
                tokens.settings()
            );
            let client = Client {
                authority: Some(ours.file()),
                ..Client::at(daemon.port()).with_token(Some(&tokens.admin))
            };
            daemon.set_admin(&settings, client);
        })
        .await;
        shop.daemon.start().unwrap();
        Certified {
            shop,
            ours,
            theirs,
            certificate,
            key,
            _folder: folder,
        }
    }

    fn nobody(&self) -> Client {
        self.shop.daemon.client().with_token(None)
    }

    /// Somebody whose certificate this authority signed, without a token.
    fn holder(&self, authority: &Authority, name: &str, domain: &str, lifetime: &str) -> Client {
        Client {
            identity: Some(authority.sign(name, &format!("DNS:{domain}"), lifetime)),
            ..self.nobody()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_say_who_is_there() {
    let certified = Certified::start().await;
    let Certified { shop, ours, theirs, .. } = &certified;
    shop.create();
    assert_eq!(certified.nobody().get("/status").unwrap().status, 401);
    for (file, name, role, pause) in [
        ("olga", "olga", "operate", 202),
        ("rene", "rene.example.com", "read", 403),
    ] {
        let client = certified.holder(ours, file, name, "-days 30");
        let session = client.get("/session").unwrap().json().unwrap();
        assert_eq!(
            session,
            json!({ "name": name, "role": role, "authentication": "certificate" })
        );
        let paused = client.json("PUT", &shop.at("/pause"), &Value::Null).unwrap();
        assert_eq!(paused.status, pause, "{}", paused.body);
    }
    shop.wait_for_entry("olga", "paused", "");
    // Known to the authority and to nobody else: as without a certificate.
    let unknown = certified.holder(ours, "unknown", "unknown", "-days 30");
    assert_eq!(unknown.get("/session").unwrap().status, 401);
    // Another authority's, or one that is over: there is no connection at all.
    let foreign = certified.holder(theirs, "foreign", "olga", "-days 30");
    let expired = certified.holder(ours, "expired", "olga", "-days -1");
    for client in [&foreign, &expired] {
        assert!(client.get("/session").is_err());
    }
    // In the clear nothing is answered, and nobody else is kept from asking.
    assert!(Client::at(shop.daemon.port()).get("/livez").is_err());
    assert_eq!(shop.daemon.get("/livez").unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_exchanged_while_it_runs() {
    let certified = Certified::start().await;
    let Certified { shop, theirs, .. } = &certified;
    let (new_certificate, new_key) = theirs.sign("new", "IP:127.0.0.1", "-days 30");
    let renewed = Client {
        authority: Some(theirs.file()),
        ..shop.daemon.client().clone()
    };
    assert!(renewed.get("/livez").is_err());
    std::fs::rename(new_key, &certified.key).unwrap();
    std::fs::rename(new_certificate, &certified.certificate).unwrap();
    let seen = poll_until("the new certificate", DEADLINE, || {
        Ok(renewed
            .get("/livez")
            .ok()
            .filter(|answer| answer.status == 200)
            .map(drop))
    });
    seen.unwrap();
    // What cannot be used leaves it as it was.
    std::fs::write(&certified.certificate, "no certificate").unwrap();
    let told = poll_until("the error", DEADLINE, || {
        assert_eq!(renewed.get("/livez")?.status, 200);
        Ok(shop
            .daemon
            .log()
            .contains("goes on with the certificate that it has")
            .then_some(()))
    });
    told.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_could_reach_is_refused_at_the_start() {
    let shop = Shop::prepare(PostgresVersion::V17, ROWS, |_| {}).await;
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = Authority::make(folder.path(), "ours").sign("endpoint", "IP:127.0.0.1", "-days 30");
    let tokens = Tokens::make(folder.path());
    let tls = format!(
        "tls: {{ certificate_file: \"{}\", key_file: \"{}\" }}",
        certificate.display(),
        key.display()
    );
    let stream = format!(
        "streams: {{ events: {{ type: file, path: \"{}\" }} }}",
        folder.path().display()
    );
    for (settings, part) in [
        ("listen: \"0.0.0.0:0\"".to_owned(), "can be reached from other machines"),
        (
            format!("listen: \"0.0.0.0:0\", {}", tokens.settings()),
            "can be reached",
        ),
        (format!("listen: \"[::]:0\", {tls}"), "can be reached"),
    ] {
        let text = format!("version: 1\nadmin: {{ {settings} }}\n{stream}\n");
        std::fs::write(shop.daemon.config_file(), text).unwrap();
        let ended = shop.daemon.run_to_end(&[]).unwrap();
        assert_eq!(ended.code(), Some(2), "{settings}");
        assert!(shop.daemon.newest_log().contains(part), "{}", shop.daemon.newest_log());
    }
    for (text, part) in [("", "holds no token"), ("changeme", "less than 32")] {
        tokens.write("rita", text);
        let file = format!(
            "version: 1\nadmin: {{ listen: \"127.0.0.1:0\", {} }}\n{stream}\n",
            tokens.settings()
        );
        std::fs::write(shop.daemon.config_file(), file).unwrap();
        let ended = shop.daemon.run_to_end(&[]).unwrap();
        assert!(!ended.success());
        assert!(shop.daemon.newest_log().contains(part), "{}", shop.daemon.newest_log());
    }
}
