//! `explain`: what a forecast is made of, and what a model looks at.

use foretell_platform::{
    Connection, ExplanationView, FeaturePart, ModelDetail, PermutationImportance, PlatformError,
    wording,
};

use super::{Session, serving};
use crate::arguments::ExplainArguments;
use crate::output::{aligned, say, say_json};

/// How many features are shown to people; machines get all.
const SHOWN: usize = 15;

/// What the id of every forecast begins with.
const FORECAST: &str = "f_";

pub(super) async fn explain(s: &Session, args: &ExplainArguments) -> Result<(), PlatformError> {
    let (subject, version) = (&args.subject, args.version);
    let asking = "foretell explain";
    if subject.starts_with(FORECAST) && version.is_none() {
        let put = async |connection| match connection {
            Connection::Local(service) => {
                serving::while_at_work(service, async |service| service.explain(subject).await)
                    .await
            }
            Connection::Remote(remote) => remote.explain(subject).await,
        };
        let told = s.question(asking, put).await?;
        match s.json {
            true => say_json(&told),
            false => show_forecast(&told),
        }
        return Ok(());
    }
    let put = async |connection| match connection {
        Connection::Local(service) => service.model_detail(subject, version).await,
        Connection::Remote(remote) => remote.model_detail(subject, version).await,
    };
    let detail = s.question(asking, put).await?;
    if s.json {
        let m = &detail.model;
        say_json(&serde_json::json!({
            "model": m.name, "version": m.version, "recipe": m.recipe,
            "shap_bp": detail.shap, "permutation": detail.permutation,
        }));
        return Ok(());
    }
    let (m, alias) = (&detail.model, detail.model.aliases.join(", "));
    let alias = if alias.is_empty() { alias } else { format!(" ({alias})") };
    say(&format!("{} version {}{alias}  {}", m.name, m.version, m.recipe));
    show_features(&detail);
    if detail.shap.is_empty() && detail.permutation.is_empty() {
        say(" it reads no feature, or is from before these were kept: run its pipeline again");
    }
    Ok(())
}

/// What a model looks at, under its name.
pub(super) fn show_features(detail: &ModelDetail) {
    if !detail.shap.is_empty() {
        let head = ["feature", "mean |SHAP| bp"].map(str::to_owned).to_vec();
        let row = |(name, bp): &(String, f64)| vec![name.clone(), format!("{bp:.3}")];
        let rows: Vec<_> =
            std::iter::once(head).chain(detail.shap.iter().take(SHOWN).map(row)).collect();
        say(aligned(&rows).trim_end());
    }
    if !detail.permutation.is_empty() {
        let head = ["feature", "error when shuffled bp", "shuffles"].map(str::to_owned).to_vec();
        let row = |p: &PermutationImportance| {
            let deviation = p.deviation_bp.is_finite().then(|| format!("{:.3}", p.deviation_bp));
            let grown = wording::within(signed(p.mean_bp), deviation);
            vec![p.feature.clone(), grown, p.shuffles.to_string()]
        };
        let rows: Vec<_> =
            std::iter::once(head).chain(detail.permutation.iter().take(SHOWN).map(row)).collect();
        say(aligned(&rows).trim_end());
    }
}

fn signed(bp: f64) -> String {
    let sign = if bp < 0.0 { "−" } else { "+" };
    format!("{sign}{:.3}", bp.abs())
}

fn show_forecast(told: &ExplanationView) {
    let point = told.point.map_or_else(|| "–".to_owned(), wording::price);
    say(&format!(
        "{}  {}  {point} from {} by `{}` ({} version {})",
        told.instrument,
        told.target_time.human(),
        wording::price(told.base_price),
        told.recipe,
        told.model,
        told.version
    ));
    let row = |name: &str, value: Option<f64>, bp: f64| {
        let value = value.map_or_else(String::new, |v| format!("{v:.6}"));
        vec![name.to_owned(), value, signed(bp)]
    };
    let head = ["part of the log return", "value", "bp"].map(str::to_owned).to_vec();
    let mut rows = vec![head, row("base, no feature known", None, told.base_bp)];
    let shown = told.parts.iter().take(SHOWN);
    rows.extend(shown.map(|p: &FeaturePart| row(&p.feature, p.value, p.bp)));
    let hidden = told.parts.get(SHOWN..).unwrap_or_default();
    if !hidden.is_empty() {
        let name = format!("{} other features", hidden.len());
        rows.push(row(&name, None, hidden.iter().map(|p| p.bp).sum()));
    }
    // Rounding of the sum is nothing to tell.
    if told.rest_bp.abs() > 1e-4 {
        rows.push(row("rest, no feature's own", None, told.rest_bp));
    }
    rows.push(row("forecast", None, told.forecast_bp));
    say(aligned(&rows).trim_end());
    if told.parts.is_empty() {
        say(" this model reads no feature: all of its forecast is base");
    }
    if told.historical_demo {
        say(" note       historical demo: the present is the end of the data");
    }
}
