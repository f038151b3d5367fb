//! What all vendors share of HTTP: settings, rate budgets, retries and limits.

mod budget;
mod settings;

pub use self::budget::{Budgets, RateBudget};
pub use self::settings::{HttpSettings, Pause, TokioPause};
