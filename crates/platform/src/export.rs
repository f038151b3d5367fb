//! Models in the formats of other programs.

use foretell_model::{Body, ModelState, SavedModel, xgboost_to_json};

use crate::error::PlatformError;

/// A format that other programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// XGBoost's JSON.
    XgboostJson,
    /// XGBoost's binary document.
    Ubjson,
    /// Tensors under PyTorch's names; our JSON stands among the metadata.
    Safetensors,
    /// Our JSON, with every number.
    Json,
}

impl ExportFormat {
    /// The name as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::XgboostJson => "xgboost-json",
            Self::Ubjson => "ubj",
            Self::Safetensors => "safetensors",
            Self::Json => "json",
        }
    }
}

/// A stored model in another format.
///
/// # Errors
/// When the bytes are no model, or its kind has no such form.
pub fn export(stored: &[u8], format: ExportFormat) -> Result<Vec<u8>, PlatformError> {
    let failed = || PlatformError::model("the export");
    let saved = SavedModel::from_bytes(stored).map_err(failed())?;
    let none = |forms: &str| PlatformError::Usage {
        message: format!("a {} has no form `{}`", saved.spec.kind(), format.name()),
        hint: format!("give --format {forms}"),
    };
    let schema = saved.schema();
    match (format, &saved.state) {
        (ExportFormat::XgboostJson, ModelState::GradientBoosting(state)) => {
            Ok(state.to_xgboost_json(&schema))
        }
        (ExportFormat::Ubjson, ModelState::GradientBoosting(state)) => {
            Ok(state.to_xgboost_ubjson(&schema))
        }
        (ExportFormat::XgboostJson | ExportFormat::Ubjson, ModelState::Imported(state)) => {
            match (&state.model.body, format) {
                (Body::Xgboost { document }, ExportFormat::Ubjson) => Ok(document.clone()),
                (Body::Xgboost { document }, _) => xgboost_to_json(document).map_err(failed()),
                _ => Err(none("safetensors or json")),
            }
        }
        (ExportFormat::Safetensors, _) if saved.extension() == "safetensors" => {
            Ok(saved.to_bytes())
        }
        (ExportFormat::Json, _) => Ok(serde_json::to_vec(&saved).unwrap_or_default()),
        (_, ModelState::Neural(_)) => Err(none("safetensors or json")),
        (ExportFormat::Safetensors, ModelState::GradientBoosting(_)) => {
            Err(none("xgboost-json, ubj or json"))
        }
        _ => Err(none("json")),
    }
}
