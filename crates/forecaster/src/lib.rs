//! From a version, its calibration and a feature row to a forecast with its passport.
//!
//! [`forecast()`] is a pure function: the same version, calibration, row and times give
//! the same bits, so that a forecast can be made again and compared. [`view()`] is what
//! a reader sees at a given instant, [`judge()`] what came of it, [`contest()`] a
//! champion and its challengers side by side. No IO, no clock, no registry: whoever
//! calls hands over the version and keeps the forecast.

mod awaited;
mod contest;
mod error;
mod forecast;
mod judge;
mod passport;
mod skill;
mod verify;
mod version;
mod view;

pub use awaited::Awaited;
pub use contest::{Contest, Entrant, contest};
pub use error::ForecastError;
pub use forecast::{Terms, forecast};
pub use judge::{Judgement, judge, observe};
pub use passport::{
    FORECAST_FORMAT, FeaturesUsed, Forecast, ForecastInterval, InputQuality, ModelUsed,
    QuantilePrice, forecast_id,
};
pub use skill::{Skill, Verdict};
pub use verify::{Difference, differences};
pub use version::{FeatureRange, ServedVersion};
pub use view::{ForecastView, view};
