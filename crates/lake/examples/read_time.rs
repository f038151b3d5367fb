//! How long a fresh process takes to read a table, and how much memory it needs.
//!
//! `read_time write <directory or URL> <rows> <columns> <files>` makes one,
//! `read_time read <directory or URL>` reads it and prints the times. The settings of
//! a bucket come from variables such as `AWS_REGION` and `AWS_ENDPOINT`.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for people")]

use std::collections::BTreeMap;
use std::time::Instant;

use foretell_lake::{AsOf, CommitInfo, Lake, Layer};
use foretell_market::{Interval, Timestamp};
use foretell_panel::{Column, Frame, RowMeta};
use url::Url;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let started = Instant::now();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let url = Url::parse(&arguments[1])
        .unwrap_or_else(|_| Url::from_directory_path(&arguments[1]).unwrap());
    let settings: BTreeMap<String, String> = std::env::vars()
        .filter(|(name, _)| name.starts_with("AWS_") || name.starts_with("AZURE_"))
        .map(|(name, value)| (name.to_lowercase(), value))
        .collect();
    let lake = Lake::open(&url, &settings).unwrap();
    let table = lake.table(Layer::Clean, "t");
    if arguments[0] == "write" {
        let number = |i: usize| arguments[i].parse::<i64>().unwrap();
        let (rows, columns, files) = (number(2), number(3), number(4));
        for file in 0..files {
            let (from, to) = (rows * file / files, rows * (file + 1) / files);
            let hours = from..to;
            let meta = hours.clone().map(|h| {
                RowMeta::at_close(
                    Timestamp::from_secs(1_600_000_000 / 3600 * 3600 + h * 3600),
                    Interval::HOUR,
                )
            });
            let columns = (0..columns).map(|c| {
                let value = |h: i64| (h as f64 * 0.37 + c as f64).sin() * 1e4;
                Column::new(format!("c{c}"), hours.clone().map(value).collect())
            });
            let frame = Frame::new(
                "BTC-USD".parse().unwrap(),
                Interval::HOUR,
                meta.collect(),
                columns.collect(),
            );
            let info = CommitInfo::new("run", Timestamp::from_secs(file));
            let begun = Instant::now();
            table.append(&frame.unwrap().to_record_batch(), &info).await.unwrap();
            println!("append {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
        }
        return;
    }
    for _ in 0..3 {
        let begun = Instant::now();
        let batch = table.read(AsOf::Latest, None).await.unwrap();
        println!("{} rows in {:.1} ms", batch.num_rows(), begun.elapsed().as_secs_f64() * 1e3);
    }
    let begun = Instant::now();
    table.fingerprint(AsOf::Latest).await.unwrap();
    println!("read and fingerprint in {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let shown = |l: &&str| l.starts_with("VmHWM") || l.starts_with("Threads");
    println!("{}", status.lines().filter(shown).collect::<Vec<_>>().join(", "));
    println!("whole process {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
}
