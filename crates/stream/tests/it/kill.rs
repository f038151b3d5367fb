//! Killed at any point, the river goes on where its last commit was.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use foretell_stream::codec::Encoding;

use crate::market::{FAULTS, Numbers, arrivals, records};
use crate::river::{append, create, open, reference, river, written};

/// Names the folder of the log in the process that is to be killed.
const FOLDER: &str = "FORETELL_TEST_RIVER";

const KILLS: usize = 200;

/// What the killed process does. Without the variable there is nothing to do.
#[tokio::test]
async fn a_process_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let log = open(&PathBuf::from(folder));
    println!("ready");
    // Little at a time, so that there are many points to be killed at.
    river(log.clone(), Encoding::Avro, 300).drain().await.unwrap();
    println!("done");
    loop {
        std::thread::park();
    }
}

#[tokio::test]
async fn killed_two_hundred_times_it_writes_what_it_would_have_written() {
    let all = records(&arrivals(11, 4000, FAULTS), Encoding::Avro, 2);
    let whole = reference(&all, Encoding::Avro).await;
    assert!(whole.iter().map(Vec::len).sum::<usize>() > 2000);
    let folder = tempfile::tempdir().unwrap();
    let mut numbers = Numbers(std::process::id().into());
    let mut unfinished = 0;
    let piece = all.len().div_ceil(KILLS);
    for piece in all.chunks(piece) {
        {
            let log = open(folder.path());
            create(&*log).await;
            append(&*log, piece).await;
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::a_process_that_is_killed", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while !lines.next().unwrap().unwrap().ends_with("ready") {}
        // The moment of the kill is what is random here; nothing waits for it to be enough.
        tokio::time::sleep(Duration::from_micros(numbers.below(3_000))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        unfinished += usize::from(!lines.any(|line| line.unwrap().ends_with("done")));
    }
    let log = open(folder.path());
    river(log.clone(), Encoding::Avro, 1 << 16).drain().await.unwrap();
    assert_eq!(written(&*log).await, whole);
    assert!(unfinished > KILLS / 4, "{unfinished} of {KILLS} died at work");
}
