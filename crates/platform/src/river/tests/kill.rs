//! Killed at any point, the river of a data directory goes on where its last commits were.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::*;

/// Names the folder of the river in the process that is to be killed.
const FOLDER: &str = "FORETELL_TEST_UP";
const KILLS: usize = 200;

/// What the killed process does: candles, rows, forecasts and the registry, each a part of its
/// own. Without the variable there is nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_river_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let plan = plan(&folder, &NAMES);
    let service = open(&folder.join("data")).await;
    let log = embedded(&folder.join("data"));
    println!("ready");
    // Little at a time, so that there are many points to be killed at.
    work(&service, Logs::of(&log), &plan, 600).await;
    println!("done");
    loop {
        std::thread::park();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_two_hundred_times_it_forecasts_what_it_would_have_forecast() {
    let world = World::new(&NAMES).await;
    let arrivals = arrivals(&NAMES, 2_000, 3);
    let (whole, kept) = {
        let (service, log) = (world.service("whole").await, embedded(&world.path("whole")));
        world.seed(&service, &log).await;
        append(&*log, &world.plan, &arrivals).await;
        work(&service, Logs::of(&log), &world.plan, 1 << 20).await;
        (written(&*log, &world.plan).await, registered(&service).await)
    };
    let made = counts(&whole);
    for (what, least) in [("ohlcv", 2_300), ("feature", 400), ("forecast", 800), ("outcome", 350)] {
        assert!(made[what] > least, "{what}: {made:?}");
    }
    {
        let (service, log) = (world.service("data").await, embedded(&world.path("data")));
        world.seed(&service, &log).await;
    }
    let mut numbers = Numbers(std::process::id().into());
    let mut unfinished = 0;
    // How long a process may live at most; it follows the machine, so that about half of them
    // die at work.
    let mut longest = 60_000;
    for piece in arrivals.chunks(arrivals.len().div_ceil(KILLS)) {
        append(&*embedded(&world.path("data")), &world.plan, piece).await;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "river::tests::kill::a_river_that_is_killed", "--nocapture"])
            .env(FOLDER, world.folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while !lines.next().unwrap().unwrap().ends_with("ready") {}
        // The moment of the kill is what is random here; nothing waits for it to be enough.
        tokio::time::sleep(Duration::from_micros(numbers.below(longest))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let done = lines.any(|line| line.unwrap().ends_with("done"));
        unfinished += usize::from(!done);
        longest = if done { longest * 9 / 10 + 1 } else { longest * 11 / 10 + 1 };
    }
    let (service, log) = (world.service("data").await, embedded(&world.path("data")));
    work(&service, Logs::of(&log), &world.plan, 1 << 20).await;
    let after = written(&*log, &world.plan).await;
    assert_eq!(counts(&after), made);
    assert_eq!(after, whole);
    assert_eq!(registered(&service).await, kept);
    assert!(unfinished > KILLS / 4, "{unfinished} of {KILLS} died at work");
}
