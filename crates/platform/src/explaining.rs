//! What each feature added to a forecast: the stored inputs and the stored model again, taken
//! apart.

use foretell_lake::AsOf;
use foretell_model::Explanations;
use foretell_panel::Matrix;

use crate::error::PlatformError;
use crate::forecasting::{StoredForecast, row_at};
use crate::prove::pipeline_of;
use crate::service::Service;
use crate::store::Store;
use crate::views::{ExplanationView, FeaturePart};

/// A log return in basis points.
const BASIS_POINTS: f64 = 1e4;

impl Service {
    /// Takes the point forecast of one forecast apart, by its id or the beginning of it.
    ///
    /// # Errors
    /// When there is no such forecast, it abstained, or its rows or model are gone.
    pub async fn explain(&self, id: &str) -> Result<ExplanationView, PlatformError> {
        self.store.explain(id).await
    }
}

impl Store {
    async fn explain(&self, id: &str) -> Result<ExplanationView, PlatformError> {
        let record = self.forecast_named(id).await?;
        let stored = StoredForecast::read(&record)?;
        let of = &stored.forecast;
        if let Some(reason) = &of.abstained {
            return Err(PlatformError::Usage {
                message: format!("forecast {} abstained: {reason}", of.id),
                hint: "explain a forecast that names a price".to_owned(),
            });
        }
        let pipeline = pipeline_of(&self.run_named(&stored.run).await?)?;
        let version = self.registry.model_version(&of.model.name, of.model.version).await?;
        let served = self.served_version(&pipeline, &version, &of.model.alias).await?;
        let row = match stored.row.clone() {
            Some(row) => row,
            None => {
                let pinned = AsOf::Version(stored.raw_version);
                let (clean, changed_at) = self.rows_behind(&pipeline, &stored, pinned).await?;
                let mut row = row_at(&pipeline, served.model.schema(), &clean, of.as_of)?;
                row.known_at = changed_at.map_or(row.known_at, |at| at.max(row.known_at));
                row
            }
        };
        // What is taken apart are the very inputs of the forecast.
        if row.hash() != of.features.row {
            return Err(PlatformError::Mismatch(format!(
                "the feature row of {} does not recompute: `foretell verify {}` tells more",
                of.id, of.id
            )));
        }
        let features = Matrix::new(1, row.features.len(), row.features.clone());
        let context = Matrix::new(1, row.context.len(), row.context.clone());
        let told = served.model.explain(&features, &context);
        let told = told.map_err(PlatformError::model(of.model.name.clone()))?;
        let evidence = crate::run::evidence_of(&version)?;
        let value = |name: &str| {
            let at = row.names.iter().position(|n| n == name);
            at.map(|i| row.features[i])
        };
        Ok(view(of, &evidence.recipe, &told, value))
    }
}

fn view(
    of: &foretell_forecaster::Forecast,
    recipe: &str,
    told: &Explanations,
    value: impl Fn(&str) -> Option<f64>,
) -> ExplanationView {
    let row = told.rows.first().cloned().unwrap_or_default();
    let part = |(name, part): (&String, &f64)| FeaturePart {
        feature: name.clone(),
        value: value(name),
        bp: part * BASIS_POINTS,
    };
    let mut parts: Vec<FeaturePart> = told.names.iter().zip(&row.features).map(part).collect();
    parts.sort_by(|a, b| b.bp.abs().total_cmp(&a.bp.abs()).then_with(|| a.feature.cmp(&b.feature)));
    ExplanationView {
        forecast: of.id.clone(),
        instrument: of.instrument.clone(),
        recipe: recipe.to_owned(),
        model: of.model.name.clone(),
        version: of.model.version,
        as_of: of.as_of,
        target_time: of.target_time,
        base_price: of.base_price,
        point: of.point,
        base_bp: row.base * BASIS_POINTS,
        parts,
        rest_bp: row.rest * BASIS_POINTS,
        forecast_bp: row.forecast * BASIS_POINTS,
        historical_demo: of.historical_demo,
    }
}
