//! `foretell simulate`: an exchange as its users start, ask and end it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// The command at work; it ends with the test.
struct Simulation {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Simulation {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_foretell"))
            .arg("simulate")
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line
    }

    /// What it says first, as JSON.
    fn told(&mut self) -> Value {
        let mut text = String::new();
        while !text.trim_end().ends_with('}') {
            text += &self.line();
        }
        serde_json::from_str(&text).expect("JSON")
    }

    /// Ctrl-C, and how it ended.
    fn interrupt(mut self) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().expect("kill is there");
        assert!(sent.success());
        let code = self.child.wait().expect("it ends").code();
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.lines, &mut rest).expect("its last words");
        (code, rest)
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        // Fails when it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn an_exchange_says_where_it_is_answers_and_ends_on_ctrl_c() {
    for (venue, path) in [
        ("kraken", "0/public/Trades?pair=XBTUSD&since=0"),
        ("binance", "api/v3/trades?symbol=BTCUSD"),
        ("coinbase", "products/BTC-USD/trades"),
    ] {
        let arguments = [venue, "--symbols", "BTC-USD,ETH-USD", "--length", "60s", "--json"];
        let mut simulation = Simulation::start(&arguments);
        let told = simulation.told();
        assert_eq!(told["venue"], venue);
        assert_eq!(told["instruments"], serde_json::json!(["BTC-USD", "ETH-USD"]));
        // 2 × 10 × 60 by chance: six standard deviations are 208.
        let trades = told["trades"].as_u64().expect("a count");
        assert!((992..1_408).contains(&trades), "{trades}");
        assert!(told["socket_url"].as_str().expect("a URL").starts_with("ws://127.0.0.1:"));
        let url = format!("{}{path}", told["http_url"].as_str().expect("a URL"));
        let answer = reqwest::get(&url).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200, "{url}");
        // Nobody has subscribed: nothing has happened yet.
        let answer: Value = answer.json().await.expect("JSON");
        let none = answer["result"]["XBTUSD"].as_array().or(answer.as_array());
        assert_eq!(none.map(Vec::len), Some(0), "{answer}");
        let (code, _) = simulation.interrupt();
        assert_eq!(code, Some(0));
    }
}

#[test]
fn people_are_told_what_is_played_and_wrong_faults_which_there_are() {
    let mut simulation =
        Simulation::start(&["kraken", "--fault", "drop=0.001", "--at", "5:skip:3"]);
    let said: Vec<String> = (0..8).map(|_| simulation.line()).collect();
    let said = said.concat();
    for word in ["simulating kraken", "ws://127.0.0.1:", "BTC-USD", "2 kinds", "curl", "Ctrl-C"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let (code, last) = simulation.interrupt();
    assert_eq!(code, Some(0));
    assert!(last.contains("ended"), "{last}");

    let refused = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_foretell"))
            .arg("simulate")
            .args(arguments)
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refused(&["kraken", "--fault", "dorp=0.1"]).contains("mid-frame"));
    assert!(refused(&["kraken", "--fault", "drop=2"]).contains("from 0 to 1"));
    assert!(refused(&["kraken", "--at", "drop"]).contains("500:drop"));
    assert!(refused(&["kraken", "--speed", "0"]).contains("max"));
    assert!(refused(&["bitmex"]).contains("coinbase"));
    assert!(refused(&["kraken", "--rate", "0"]).contains("tape"));
}
