//! What an id or a name means: itself, the one that begins so, or an error with the near.

use foretell_registry::{
    ForecastFilter, ForecastRecord, ModelFilter, ModelVersion, RegistryError, Run as RunRecord,
    RunFilter,
};

use crate::error::PlatformError;
use crate::forecasting::CHAMPION;
use crate::store::Store;

/// The shortest beginning of an id that stands for it.
const BEGINNING: usize = 6;
/// How many near ids or names an error shows.
const SHOWN: usize = 3;
/// How many of the latest forecasts a beginning is looked up in.
const LATEST: u32 = 1_000;

/// The one id that begins with a text, without regard to case.
pub(crate) fn begun<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    let begins =
        |id: &&&str| id.get(..text.len()).is_some_and(|head| head.eq_ignore_ascii_case(text));
    let mut found = known.iter().filter(begins);
    match (found.next(), found.next()) {
        (Some(id), None) if text.len() >= BEGINNING => Some(id),
        _ => None,
    }
}

/// The known words nearest to one that is not known, the nearest first.
fn near<'a>(word: &str, known: &[&'a str]) -> Vec<&'a str> {
    let far = word.len() / 3 + 1;
    let distance = |k: &str| match k.starts_with(word) || word.starts_with(k) {
        true => 0,
        false => strsim::damerau_levenshtein(word, k),
    };
    let mut found: Vec<(usize, &str)> = known.iter().map(|k| (distance(k), *k)).collect();
    found.retain(|(distance, _)| *distance <= far);
    found.sort_unstable();
    found.dedup();
    found.into_iter().take(SHOWN).map(|(_, k)| k).collect()
}

/// There is no such thing; the hint names what is near, or where everything is listed.
pub(crate) fn unknown(kind: &str, word: &str, known: &[&str], list: &str) -> PlatformError {
    let quoted: Vec<String> = near(word, known).iter().map(|k| format!("`{k}`")).collect();
    let hint = match quoted.is_empty() {
        true => list.to_owned(),
        false => format!("did you mean {}? {list}", quoted.join(" or ")),
    };
    PlatformError::not_found(format!("{kind} `{word}`"), hint)
}

impl Store {
    /// The run of an id or of the beginning of one.
    ///
    /// # Errors
    /// When there is none, or several begin so.
    pub(crate) async fn run_named(&self, id: &str) -> Result<RunRecord, PlatformError> {
        match self.registry.run(id).await {
            Err(RegistryError::NotFound { .. }) => {}
            other => return Ok(other?),
        }
        let runs = self.registry.runs(&RunFilter::default()).await?;
        let ids: Vec<&str> = runs.iter().map(|r| r.id.as_str()).collect();
        match begun(id, &ids) {
            Some(whole) => Ok(self.registry.run(whole).await?),
            None => Err(unknown("run", id, &ids, "`foretell runs list` shows them")),
        }
    }

    /// The forecast of an id or of the beginning of one.
    ///
    /// # Errors
    /// When there is none, or several begin so.
    pub(crate) async fn forecast_named(&self, id: &str) -> Result<ForecastRecord, PlatformError> {
        match self.registry.forecast(id).await {
            Err(RegistryError::NotFound { .. }) => {}
            other => return Ok(other?),
        }
        let filter = ForecastFilter { limit: Some(LATEST), ..Default::default() };
        let forecasts = self.registry.forecasts(&filter).await?;
        let ids: Vec<&str> = forecasts.iter().map(|f| f.id.as_str()).collect();
        let list = "`foretell forecast` shows the id of the latest; a provisional one is not kept";
        match begun(id, &ids) {
            Some(whole) => Ok(self.registry.forecast(whole).await?),
            None => Err(unknown("forecast", id, &ids, list)),
        }
    }

    /// A version of a model; without a number the champion, or the newest where there is
    /// none.
    ///
    /// # Errors
    /// When there is no such model or version.
    pub(crate) async fn model_named(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<ModelVersion, PlatformError> {
        let filter = ModelFilter { name: Some(name.to_owned()), ..Default::default() };
        let versions = self.registry.model_versions(&filter).await?;
        if versions.is_empty() {
            let all = self.registry.model_versions(&ModelFilter::default()).await?;
            let names: Vec<&str> = all.iter().map(|v| v.name.as_str()).collect();
            return Err(unknown("model", name, &names, "`foretell models list` shows them"));
        }
        let Some(number) = version else {
            let champion = self.registry.aliased(name, CHAMPION).await?;
            let newest = || versions.into_iter().next();
            return champion.or_else(newest).ok_or_else(|| {
                PlatformError::not_found(format!("version of `{name}`"), String::new())
            });
        };
        let numbers = versions.iter().map(|v| v.version);
        let (first, last) = (numbers.clone().min(), numbers.max());
        let found = versions.into_iter().find(|v| v.version == number);
        found.ok_or_else(|| {
            let span = first.zip(last).map_or_else(String::new, |(a, b)| format!("{a} to {b}"));
            let hint = format!("it has the versions {span}: `foretell models list` shows them");
            PlatformError::not_found(format!("version {number} of `{name}`"), hint)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_stands_for_the_one_id_that_has_it() {
        let known = ["01K9ABCDEF", "01K9ABZZZZ", "01M0000000"];
        assert_eq!(begun("01k9abc", &known), Some("01K9ABCDEF"));
        assert_eq!(begun("01K9AB", &known), None, "two begin so");
        assert_eq!(begun("01M00", &known), None, "too short to be meant");
        assert_eq!(begun("01M0000000X", &known), None);
    }

    #[test]
    fn what_is_near_is_named_and_what_is_far_is_not() {
        let known = ["btc-usd-hourly", "btc-usd-daily", "eth-usd-hourly"];
        assert_eq!(near("btc-usd-hourli", &known)[0], "btc-usd-hourly");
        assert_eq!(near("btc", &known), ["btc-usd-daily", "btc-usd-hourly"]);
        assert_eq!(near("zzz", &known), [""; 0]);
        let error = unknown("model", "btc-usd-dayly", &known, "`foretell models list` shows them");
        let hint = error.hint().unwrap_or_default();
        assert!(hint.starts_with("did you mean `btc-usd-daily`"), "{hint}");
    }
}
