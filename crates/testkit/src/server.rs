//! Servers of others that a test starts on a free port of the loopback and stops: the
//! stores that a lake may lie in, as their own emulators speak them.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it listens.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running server; dropping it stops it and removes what it stored.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Server {
    /// The S3 emulator `moto`, with an empty bucket of this name.
    ///
    /// # Panics
    /// When it is not installed (`make test` does that) or does not start.
    pub fn s3(bucket: &str) -> Self {
        let program = environment().join("bin/moto_server");
        let server = Self::start(|port, _| {
            let mut command = Command::new(&program);
            command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
            command
        });
        let answer = server.request(&format!("PUT /{bucket} HTTP/1.1"), &[]);
        assert!(answer.starts_with("HTTP/1.1 200"), "moto made no bucket: {answer}");
        server
    }

    /// The Azure Blob emulator `azurite`, with an empty container of this name in its
    /// public development account.
    ///
    /// # Panics
    /// When it is not installed (`make test` does that) or does not start.
    pub fn azure(container: &str) -> Self {
        let script = repository().join("tests/servers/node_modules/.bin/azurite-blob");
        let own = environment().join("bin/node");
        let node = if own.exists() { own } else { PathBuf::from("node") };
        let server = Self::start(|port, folder| {
            let mut command = Command::new(&node);
            command.arg(&script).args(["--blobHost", "127.0.0.1"]);
            command.args(["--blobPort", &port.to_string(), "--location"]).arg(folder);
            command.args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"]);
            command
        });
        let made = Command::new(environment().join("bin/python"))
            .args(["-c", MAKE_CONTAINER, &server.url(), container])
            .args([AZURE_ACCOUNT, AZURE_KEY])
            .output()
            .expect("python runs: run `make python`");
        let errors = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "azurite made no container: {errors}");
        server
    }

    /// Its address, without a final slash.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn start(command: impl Fn(u16, &Path) -> Command) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        let port = free.expect("the loopback has a free port").port();
        let folder = std::env::temp_dir().join(format!("foretell-server-{port}"));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let log = folder.join("log");
        let file = std::fs::File::create(&log).expect("the temporary folder can be written");
        let mut command = command(port, &folder);
        command.stdin(Stdio::null()).stderr(file).stdout(Stdio::null());
        let spawned = command.spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(error) => panic!(
                "{} cannot be run ({error}): run `make test`, which installs it",
                command.get_program().display()
            ),
        };
        let mut server = Self { child, port, folder };
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let gone = server.child.try_wait().expect("a child can be asked");
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(
                gone.is_none(),
                "{} ended at once: {}",
                command.get_program().display(),
                said()
            );
            assert!(since.elapsed() < DEADLINE, "it does not listen after a minute: {}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Sends a request without a body and returns the whole answer.
    fn request(&self, line: &str, headers: &[&str]) -> String {
        let mut text = format!("{line}\r\nHost: 127.0.0.1:{}\r\n", self.port);
        for header in headers {
            let _ = write!(text, "{header}\r\n");
        }
        text.push_str("Content-Length: 0\r\nConnection: close\r\n\r\n");
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.write_all(text.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The account of every Azurite, as Microsoft's documentation publishes it.
pub const AZURE_ACCOUNT: &str = "devstoreaccount1";
/// The key of that account: public, and of no use anywhere else.
pub const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Creates a container: url, name, account, key. Signed as "Authorize with Shared Key"
/// of the Azure Storage documentation says.
const MAKE_CONTAINER: &str = r"
import base64, email.utils, hashlib, hmac, sys, urllib.request
url, container, account, key = sys.argv[1:]
headers = {'x-ms-date': email.utils.formatdate(usegmt=True), 'x-ms-version': '2021-12-02'}
named = ''.join(f'{k}:{v}\n' for k, v in sorted(headers.items()))
text = 'PUT' + '\n' * 12 + named + f'/{account}/{account}/{container}\nrestype:container'
digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
headers['authorization'] = f'SharedKey {account}:' + base64.b64encode(digest).decode()
headers['content-length'] = '0'
where = f'{url}/{account}/{container}?restype=container'
request = urllib.request.Request(where, method='PUT', headers=headers)
assert urllib.request.urlopen(request).status == 201
";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The Python environment that `make python` installs.
fn environment() -> PathBuf {
    repository().join(".venv")
}
