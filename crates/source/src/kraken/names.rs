//! Kraken's names of assets and pairs, and ours.
//!
//! Kraken writes one pair in three ways: a key with class letters (`XXBTZUSD`), a short
//! name (`XBTUSD`) and a name of the websocket (`XBT/USD`). It takes each of them. We
//! write `BTC-USD`.

use foretell_market::Instrument;

use super::wire::AssetPair;

/// Assets that Kraken calls otherwise than everybody else: its name, ours.
const OTHERWISE: [(&str, &str); 2] = [("XBT", "BTC"), ("XDG", "DOGE")];

fn krakens(asset: &str) -> &str {
    OTHERWISE.iter().find(|(_, ours)| *ours == asset).map_or(asset, |(kraken, _)| kraken)
}

fn ours(asset: &str) -> &str {
    OTHERWISE.iter().find(|(kraken, _)| *kraken == asset).map_or(asset, |(_, ours)| ours)
}

/// Kraken's short name of an instrument's pair: `XBTUSD` for `BTC-USD`.
pub fn pair_of(instrument: &Instrument) -> String {
    format!("{}{}", krakens(instrument.base()), krakens(instrument.quote()))
}

impl AssetPair {
    /// Our name of the pair. `None` for dark pools, which have no name on the websocket,
    /// and for names that are no instrument of ours (staked assets such as `ETH2.S`).
    pub fn instrument(&self) -> Option<Instrument> {
        let (base, quote) = self.wsname.as_deref()?.split_once('/')?;
        format!("{}-{}", ours(base), ours(quote)).parse().ok()
    }

    /// Whether Kraken takes this name for the pair.
    pub fn is_named(&self, name: &str) -> bool {
        [Some(&self.altname), Some(&self.key), self.wsname.as_ref()]
            .contains(&Some(&name.to_owned()))
    }
}
