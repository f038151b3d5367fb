//! What all vendors share of HTTP: settings, rate budgets, retries and limits.

mod budget;
mod client;
mod settings;

pub use self::budget::{Budgets, RateBudget};
pub(crate) use self::client::{Ask, Client, Verdict, by_status, endpoint, shown};
pub use self::settings::{HttpSettings, Pause, TokioPause};
