//! A folder with a seeded market, its pipeline file and the binary at hand.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use foretell_market::Timestamp;
use foretell_testkit::{normal, rng};
use tempfile::TempDir;

/// How the next return hangs on the present one.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Not at all.
    Noise,
    /// It takes back half of it.
    Reverting,
    /// Only by its size: large moves follow large ones.
    Clustered,
}

/// A folder, deleted at the end of its test.
pub(crate) struct Market {
    folder: TempDir,
}

/// Daily candles from 2020-01-01 as CSV.
pub(crate) fn candles(kind: Kind, rows: usize, seed: u64) -> String {
    let mut rng = rng(seed);
    let mut text = String::from("time,open,high,low,close,volume\n");
    let start = Timestamp::from_secs(1_577_836_800);
    let (mut price, mut last, mut log_variance) = (100.0f64, 0.0, 0.0f64);
    for i in 0..rows {
        let pull = if kind == Kind::Reverting { -0.5 * last } else { 0.0 };
        if kind == Kind::Clustered {
            log_variance = 0.97 * log_variance + 0.3 * normal(&mut rng);
        }
        last = pull + 0.01 * (log_variance / 2.0).exp() * normal(&mut rng);
        let (open, close) = (price, price * last.exp());
        let high = open.max(close) * (1.0 + 0.002 * normal(&mut rng).abs());
        let low = open.min(close) * (1.0 - 0.002 * normal(&mut rng).abs());
        let day = start.plus_secs(i as i64 * 86_400).date_string();
        let volume = 10.0 + normal(&mut rng).abs();
        let _ = writeln!(text, "{day},{open:.6},{high:.6},{low:.6},{close:.6},{volume:.3}");
        price = close;
    }
    text
}

/// The pipeline of the seeded market.
pub(crate) const PIPELINE: &str = r#"name = "seeded-daily"
instrument = "AAA-USD"
interval = "1d"
as_of = "end-of-data"

[source]
kind = "file"
path = "candles.csv"

[features]
set = "candle-base"
season = "7d"

[label]
horizon = "1d"

[evaluation]
initial_train = "400d"
refit_every = "30d"
bootstrap_draws = 100
min_refits = 5

[[models]]
kind = "historical_mean"

[[models]]
kind = "ridge"
alpha = 10.0
"#;

impl Market {
    pub(crate) fn new(kind: Kind, rows: usize, seed: u64) -> Self {
        let market = Self { folder: tempfile::tempdir().expect("a folder") };
        market.write("candles.csv", &candles(kind, rows, seed));
        market.write("pipeline.toml", PIPELINE);
        market
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).expect("written");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).expect("read")
    }

    /// The binary in this folder, with the folder's own data directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foretell"));
        command.current_dir(self.path()).args(arguments).stdin(Stdio::null());
        command.env_remove("FORETELL_TOKEN_FILE").env_remove("FORETELL_DATA_DIR");
        command.env_remove("RUST_LOG");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary starts")
    }

    /// Runs and expects success; answers with standard output.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?} failed: {errors}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs with --json and reads the answer.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let arguments = [arguments, &["--json"]].concat();
        serde_json::from_str(&self.ok(&arguments)).expect("JSON")
    }

    /// Runs and expects an exit code; answers with standard error.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.starts_with("error: "), "{errors}");
        assert!(!errors.contains("panicked"), "{errors}");
        errors
    }

    /// Serves the data directory on a free port until the value is dropped.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Serving {
        let arguments = [&["serve", "--json", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut child =
            self.command(&arguments).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("piped");
        let mut stream =
            serde_json::Deserializer::from_reader(stdout).into_iter::<serde_json::Value>();
        let first = stream.next().expect("a line").expect("JSON");
        let url = first["serving"].as_str().expect("an address").to_owned();
        Serving { child, url }
    }
}

/// A serving process.
pub(crate) struct Serving {
    child: Child,
    pub(crate) url: String,
}

impl Serving {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit code, once the process has ended.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let status = self.child.try_wait().expect("it can be asked")?;
        Some(status.code().expect("it ends by itself"))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), process.to_string()]).status();
    assert!(sent.expect("kill is there").success());
}
