//! Seeded feeds with everything that goes wrong in one.

use foretell_market::{Arrival, FeedEvent, Instrument, Side, Timestamp, Trade};
use foretell_stream::codec::{Encoding, encode_arrival, product_id};
use foretell_stream::{Record, partition_of};

/// A generator of numbers (splitmix64): the same on every machine.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Between 0 and 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// How untidy a feed is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Faults {
    /// Out of a thousand trades, how many come up to two minutes late.
    pub(crate) late: u64,
    /// Out of a thousand, how many come twice.
    pub(crate) twice: u64,
    /// Out of a thousand, after how many the feed is quiet for minutes, with heartbeats.
    pub(crate) quiet: u64,
    /// Out of a thousand, after how many there is a gap; every second one is repaired.
    pub(crate) gaps: u64,
}

pub(crate) const FAULTS: Faults = Faults { late: 20, twice: 10, quiet: 2, gaps: 2 };

pub(crate) fn instruments() -> Vec<Instrument> {
    ["BTC-USD", "ETH-USD", "SOL-EUR"].iter().map(|n| n.parse().unwrap()).collect()
}

/// The arrivals of all instruments, in the order in which they came.
pub(crate) fn arrivals(seed: u64, trades: usize, faults: Faults) -> Vec<Arrival> {
    let mut numbers = Numbers(seed);
    let mut all = Vec::new();
    for (n, instrument) in instruments().into_iter().enumerate() {
        let mut time: i64 = 1_718_616_960_000_000 + n as i64 * 333_000;
        let mut price = 100.0 * (n + 1) as f64;
        for id in 0..trades as i64 {
            time += numbers.below(16_000_000) as i64;
            if numbers.below(1000) < faults.quiet {
                for _ in 0..numbers.below(200) {
                    time += 2_000_000;
                    let event = FeedEvent::Heartbeat {
                        instrument: instrument.clone(),
                        time: Timestamp::from_micros(time),
                    };
                    all.push(arrive(event, time + 2_000_000, false));
                }
            }
            if numbers.below(1000) < faults.gaps {
                let from = Timestamp::from_micros(time);
                time += numbers.below(90_000_000) as i64;
                let to = Timestamp::from_micros(time + 1);
                let reason = "the connection was lost".to_owned();
                let gap = FeedEvent::Gap { instrument: instrument.clone(), from, to, reason };
                all.push(arrive(gap, time + 100_000, false));
                if id % 2 == 0 {
                    let repaired = FeedEvent::Repaired { instrument: instrument.clone(), from, to };
                    all.push(arrive(repaired, time + 5_000_000, false));
                }
            }
            price *= 1.0 + (numbers.share() - 0.5) * 0.002;
            let trade = Trade {
                instrument: instrument.clone(),
                time: Timestamp::from_micros(time),
                id: Some(id),
                price: (price * 100.0).round() / 100.0,
                quantity: (1 + numbers.below(5000)) as f64 / 1000.0,
                side: Some(if numbers.below(2) == 0 { Side::Buy } else { Side::Sell }),
            };
            let late = numbers.below(1000) < faults.late;
            let delay =
                if late { numbers.below(120_000_000) } else { 50_000 + numbers.below(90_000) };
            let at = time + delay as i64;
            all.push(arrive(FeedEvent::Trade(trade.clone()), at, late));
            if numbers.below(1000) < faults.twice {
                let again = at + numbers.below(20_000_000) as i64;
                all.push(arrive(FeedEvent::Trade(trade), again, true));
            }
        }
    }
    all.sort_by_key(|a| a.at);
    all
}

fn arrive(event: FeedEvent, at: i64, backfilled: bool) -> Arrival {
    Arrival { event, at: Timestamp::from_micros(at), backfilled }
}

/// Their records, each with its partition.
pub(crate) fn records(
    arrivals: &[Arrival],
    encoding: Encoding,
    partitions: u32,
) -> Vec<(u32, Record)> {
    let record = |arrival: &Arrival| {
        let key = product_id(arrival.event.instrument());
        let mut value = Vec::new();
        encode_arrival(arrival, encoding, &mut value);
        let partition = partition_of(key.as_bytes(), partitions);
        (partition, Record { key: key.into(), value: value.into(), time: arrival.at })
    };
    arrivals.iter().map(record).collect()
}
