//! What all vendors share of HTTP: settings, rate budgets, retries and limits.

mod budget;
mod client;
mod keys;
mod settings;

pub use self::budget::{Budgets, RateBudget};
pub(crate) use self::client::{Ask, Client, Verdict, Wait, by_status, endpoint, shown};
pub use self::keys::may_hold_keys;
pub use self::settings::{HttpSettings, Pause, TokioPause};
