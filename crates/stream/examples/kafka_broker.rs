//! A Kafka broker in memory, for benches: the test broker of `krafka`.
//!
//! Prints its address and serves until its standard input ends.
#![allow(clippy::print_stdout, reason = "whoever starts it has to know the address")]

use std::sync::Arc;
use std::time::Duration;

use krafka::testing::FakeBroker;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Arc::new(FakeBroker::start().await?);
    println!("{}", broker.bootstrap_servers());
    let serving = Arc::clone(&broker);
    // It remembers every request, and looks at all of them for each.
    tokio::spawn(async move {
        loop {
            serving.clear_requests();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let end = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(end).await??;
    Ok(())
}
