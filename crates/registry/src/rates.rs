//! The error rate that the promotions of an instrument and horizon share, fixed by its
//! first use: who could raise it after a result would be promised nothing by it.

use foretell_market::{Instrument, Interval};

use crate::row::Columns;
use crate::{Registry, RegistryError, Written};

const KIND: &str = "promotion rate";

impl Registry {
    /// Fixes the rate of an instrument and horizon.
    ///
    /// # Errors
    /// When another one is registered ([`RegistryError::Conflict`]), or it is not between 0
    /// and 1.
    pub async fn insert_promotion_rate(
        &self,
        instrument: &Instrument,
        horizon: Interval,
        alpha: f64,
    ) -> Result<Written, RegistryError> {
        let id = format!("{instrument} {horizon}");
        let mut write = self.write().await?;
        let done = sqlx::query(
            "INSERT INTO promotion_rates (instrument, horizon, alpha) VALUES (?1, ?2, ?3) \
             ON CONFLICT (instrument, horizon) DO NOTHING",
        )
        .bind(instrument.as_str())
        .bind(horizon.to_string())
        .bind(alpha)
        .execute(&mut *write)
        .await
        .map_err(|e| RegistryError::of_write(e, KIND, &id, "nothing"))?;
        write.commit().await?;
        if done.rows_affected() == 1 {
            return Ok(Written::New);
        }
        match self.promotion_rate(instrument, horizon).await? {
            Some(stored) if stored == alpha => Ok(Written::Same),
            _ => Err(RegistryError::Conflict { kind: KIND, id, what: "value" }),
        }
    }

    /// The rate of an instrument and horizon, once it was used.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn promotion_rate(
        &self,
        instrument: &Instrument,
        horizon: Interval,
    ) -> Result<Option<f64>, RegistryError> {
        let row =
            sqlx::query("SELECT alpha FROM promotion_rates WHERE instrument = ?1 AND horizon = ?2")
                .bind(instrument.as_str())
                .bind(horizon.to_string())
                .fetch_optional(&self.readers)
                .await?;
        row.map(|row| Columns::new(&row, KIND).get("alpha")).transpose()
    }
}
