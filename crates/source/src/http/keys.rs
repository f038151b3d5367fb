//! Where a key may travel: to its own vendor over TLS, or to this very machine.

use url::{Host, Url};

/// The vendors that take keys, with their domain.
const DOMAINS: [(&str, &str); 2] = [("coingecko", "coingecko.com"), ("kaggle", "kaggle.com")];

/// Whether a key of a vendor may be sent to an address: over https to the vendor's domain
/// or a name below it, or to this machine (a proxy, a test).
pub fn may_hold_keys(vendor: &str, url: &Url) -> bool {
    let this_machine = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let own = url.host_str().is_some_and(|host| {
        DOMAINS.iter().any(|(name, domain)| {
            let below = host.strip_suffix(domain);
            *name == vendor && below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    });
    this_machine || (own && url.scheme() == "https")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_to_their_vendor_alone() {
        for (vendor, url, may) in [
            ("coingecko", "https://api.coingecko.com", true),
            ("coingecko", "https://pro-api.coingecko.com/x", true),
            ("kaggle", "https://kaggle.com", true),
            ("coingecko", "http://127.0.0.1:8080", true),
            ("coingecko", "http://localhost:8080", true),
            ("kaggle", "http://[::1]:8080", true),
            ("coingecko", "http://api.coingecko.com", false),
            ("coingecko", "https://www.kaggle.com", false),
            ("coingecko", "https://coingecko.com.example", false),
            ("coingecko", "https://notcoingecko.com", false),
            ("kaggle", "https://10.0.0.1", false),
            ("kraken", "https://api.kraken.com", false),
        ] {
            assert_eq!(may_hold_keys(vendor, &url.parse().unwrap()), may, "{vendor} {url}");
        }
    }
}
