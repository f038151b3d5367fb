//! A pipeline file, parsed at the door into plain data.
//!
//! The file says what is forecast, from which rows, under which checks, with which
//! features and models, how they are evaluated and when one is promoted. Reading
//! it touches nothing but its text; paths stay relative to the file's folder.

mod diagnostic;
mod ensembles;
mod explain;
mod keys;
mod live;
mod search;
mod section;
mod source;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use foretell_feature::{ContextSpec, FeatureError, FeatureSet, LabelSpec, Params, ReturnWindows};
use foretell_market::{Fingerprint, FingerprintHasher, Instrument, Interval, Timestamp};
use foretell_model::EstimatorSpec;
use foretell_model::evaluate::Recipe;
use foretell_panel::{LockBox, TrainWindow, WalkForward};
use serde::Serialize;
use toml::de::{DeTable, DeValue};

use crate::cards;

pub use diagnostic::{Diagnostic, Diagnostics};
pub use explain::{json_schema, reference, template};
pub use keys::{Key, Kind, SEARCH, TABLES, Table, Variant};
pub use live::LiveSettings;
use section::Section;
pub(crate) use section::nearest;

/// A pipeline as its file describes it; every key is resolved.
#[derive(Debug, Clone, Serialize)]
pub struct Pipeline {
    /// The file as the user named it.
    #[serde(skip)]
    pub file: PathBuf,
    /// Its text, which a run stores.
    #[serde(skip)]
    pub text: String,
    /// Its name.
    pub name: String,
    /// What is forecast.
    pub instrument: Instrument,
    /// Length of one row's interval.
    pub interval: Interval,
    /// What counts as the present.
    pub as_of: Present,
    /// Seed of everything random.
    pub seed: u64,
    /// Where rows come from.
    pub source: SourceSettings,
    /// What rows must satisfy.
    pub gate: GateSettings,
    /// What models may know.
    pub features: FeatureSettings,
    /// What is forecast.
    pub label: LabelSettings,
    /// How models are judged.
    pub evaluation: EvaluationSettings,
    /// Length of the spans whose realised variance is forecast.
    pub volatility_span: Interval,
    /// The span that ordinary runs never read.
    pub lock_box: Option<LockBox>,
    /// Whether the final refit of a recipe that has opened the box learns from it too.
    pub refit_includes_lock_box: bool,
    /// The candidates.
    pub models: Vec<Recipe>,
    /// The rate of false promotions.
    pub alpha: f64,
    /// Age after which a forecast abstains.
    pub time_to_live: Interval,
    /// Whose trades are followed live.
    pub live: Option<LiveSettings>,
}

/// What counts as the present of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Present {
    /// The clock.
    Now,
    /// The close of the last row: a historical demo.
    EndOfData,
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceSettings {
    /// The kind and its keys.
    pub kind: SourceKind,
    /// How long after its close a back-filled row counts as known, in seconds.
    pub lag_secs: i64,
    /// First instant.
    pub from: Option<Timestamp>,
    /// First instant after the last.
    pub to: Option<Timestamp>,
    /// How often the vendor may be asked; its public limit when `None`.
    pub requests_per_minute: Option<u32>,
}

/// The kinds of source, with the keys of each.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SourceKind {
    /// A file.
    File {
        /// Absolute, or relative to the working directory.
        path: PathBuf,
        /// How its rows are written.
        #[serde(flatten)]
        form: FileForm,
    },
    /// Kraken's public REST interface.
    Kraken {
        /// Kraken's name of the pair.
        pair: Option<String>,
        /// Whether candles are built from trades.
        trades: bool,
        /// Where it is.
        base_url: String,
    },
    /// Binance's public klines.
    Binance {
        /// Binance's symbol.
        symbol: Option<String>,
        /// Where it is.
        base_url: String,
    },
    /// CoinGecko's market_chart.
    CoinGecko {
        /// CoinGecko's id.
        coin: String,
        /// Days back.
        days: u32,
        /// Where it is.
        base_url: String,
        /// Environment variable of the key.
        key_env: Option<String>,
    },
    /// A Kaggle dataset.
    Kaggle {
        /// `owner/name`.
        dataset: String,
        /// File in the archive.
        file: Option<String>,
        /// Where it is.
        base_url: String,
        /// Environment variable of the key.
        key_env: String,
        /// Environment variable of the user name.
        user_env: String,
        /// How the file's rows are written.
        #[serde(flatten)]
        form: FileForm,
    },
}

/// How rows are written in a file, wherever the file comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileForm {
    /// `csv`, `parquet`, `json` or `coingecko`.
    pub format: Option<String>,
    /// Our name of a column → the file's.
    pub columns: BTreeMap<String, String>,
    /// strftime form, or `s`, `ms`, `us`, `ns`.
    pub time_format: Option<String>,
    /// IANA name.
    pub zone: String,
    /// Which symbol's rows, in a file of many instruments.
    pub symbol: Option<String>,
    /// Names of the columns, for a file without a header line.
    pub header: Vec<String>,
    /// Whether times are ends of intervals.
    pub time_is_close: bool,
}

/// The gate's keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateSettings {
    /// `candles` or `snapshots`.
    pub expect: String,
    /// Fewest rows.
    pub min_rows: usize,
    /// Largest share of missing values.
    pub max_null_share: f64,
    /// Largest relative move.
    pub max_move: f64,
    /// Intervals after which data is stale.
    pub stale_after: usize,
    /// Smallest share of intervals present.
    pub min_completeness: f64,
    /// `refuse`, `first`, `last` or `most-precise`.
    pub duplicates: String,
    /// Whether gaps are filled from the row before.
    pub fill_previous: bool,
    /// Checks that block.
    pub block: Vec<String>,
    /// Checks that warn.
    pub warn: Vec<String>,
    /// Checks that are off.
    pub off: Vec<String>,
}

/// The features' keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureSettings {
    /// Name of the set.
    pub set: String,
    /// Parameters of the set.
    pub params: BTreeMap<String, f64>,
    /// Which of its features are taken; all of them when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// The season of the seasonal baseline.
    pub season: Interval,
    /// Decay of the exponentially weighted variance.
    pub ewma_lambda: f64,
    /// Steps of every feature that a row holds. A row of one step is what there always
    /// was, and hashes as it did.
    #[serde(skip_serializing_if = "is_one")]
    pub window: usize,
}

fn is_one(steps: &usize) -> bool {
    *steps == 1
}

/// The label's keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelSettings {
    /// How far ahead.
    pub horizon: Interval,
    /// Which column.
    pub price: String,
}

/// The evaluation's keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvaluationSettings {
    /// Folds.
    pub walk_forward: WalkForward,
    /// Level of the intervals.
    pub coverage: f64,
    /// Bootstrap draws.
    pub bootstrap_draws: usize,
    /// Cost of a turn, basis points.
    pub cost_bp: f64,
    /// Floor of refits.
    pub min_refits: usize,
    /// With how many seeds a model that draws is judged.
    pub seeds: usize,
    /// How many of the last refits are judged; all of them when `None`.
    pub folds: Option<usize>,
    /// Upper bound of every network's epochs.
    pub epochs: Option<usize>,
    /// After how long no further seed is begun.
    pub time_budget: Option<Interval>,
}

/// The seeds of an evaluation in full.
const FULL_SEEDS: usize = 20;

impl Pipeline {
    /// Reads a pipeline from its text; `file` is its path as the user named it and
    /// the base of relative paths.
    ///
    /// # Errors
    /// Everything that is wrong in the file, each with its line and a remedy.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Box<Diagnostics>> {
        Self::parse_checked(text, file, |root, pipeline, faults| {
            source::check(root, pipeline, faults);
            check_devices(root, faults);
        })
    }

    /// Reads a pipeline that a run has stored: its rows and models are there, so it does not
    /// matter whether they could still be asked for, or trained, in that way.
    ///
    /// # Errors
    /// When the text is no pipeline.
    pub(crate) fn parse_stored(text: &str, file: &Path) -> Result<Self, Box<Diagnostics>> {
        Self::parse_checked(text, file, |_, _, _| ())
    }

    fn parse_checked(
        text: &str,
        file: &Path,
        check: impl FnOnce(&DeTable<'_>, &Self, &mut Vec<Diagnostic>),
    ) -> Result<Self, Box<Diagnostics>> {
        let mut faults = Vec::new();
        let parsed = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let message = error.message().to_lowercase();
                let label = "this is not TOML".to_owned();
                return Err(refuse(text, file, vec![Diagnostic { message, span, label }]));
            }
        };
        let pipeline = Self::read(parsed.get_ref(), file, &mut faults);
        // What follows from keys that cannot be read would only confuse.
        if faults.is_empty() {
            check(parsed.get_ref(), &pipeline, &mut faults);
        }
        match faults.is_empty() {
            true => Ok(Self { text: text.to_owned(), ..pipeline }),
            false => Err(refuse(text, file, faults)),
        }
    }

    fn read(root: &DeTable<'_>, file: &Path, faults: &mut Vec<Diagnostic>) -> Self {
        let names: Vec<&str> = keys::TABLES.iter().map(|t| t.name).collect();
        let head = Section::open(keys::table(""), Some((root, 0..0)), &names, faults);
        head.whole("version", faults);
        let name = head.text("name", faults);
        let well_formed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !name.chars().all(well_formed) || name.len() > 64 {
            let message = "`name` must be at most 64 letters, digits, dashes".to_owned();
            let span = head.span_of("name");
            faults.push(Diagnostic { message, span, label: String::new() });
        }
        let interval = head.interval("interval", faults).unwrap_or(Interval::HOUR);
        let instrument = head.text("instrument", faults).parse();
        let instrument = instrument.unwrap_or_else(|_| "BASE-QUOTE".parse().expect("a valid name"));
        let label = Self::read_label(root, interval, faults);
        let features = Self::read_features(root, &label, faults);
        let mut sections = Sections { root, faults };
        let volatility_span = Self::read_volatility(&mut sections, interval, features.season);
        let (lock_box, refit_includes_lock_box) = Self::read_lock_box(&mut sections).unzip();
        let serve = sections.open("serve");
        let promotion = sections.open("promotion");
        let time_to_live = serve.interval("time_to_live", sections.faults);
        let twice = Interval::from_secs(2 * label.horizon.secs()).unwrap_or(label.horizon);
        let live = LiveSettings::read(&mut sections, interval);
        let alpha = promotion.number("alpha", sections.faults);
        let evaluation = Self::read_evaluation(&mut sections);
        let models = Self::read_models(&mut sections, evaluation.epochs);
        Self {
            file: file.to_owned(),
            text: String::new(),
            name,
            instrument,
            interval,
            as_of: match head.text("as_of", sections.faults).as_str() {
                "end-of-data" => Present::EndOfData,
                _ => Present::Now,
            },
            seed: head.whole("seed", sections.faults).unsigned_abs(),
            source: Self::read_source(&mut sections, file),
            gate: Self::read_gate(&mut sections),
            features,
            label,
            evaluation,
            volatility_span,
            lock_box,
            refit_includes_lock_box: refit_includes_lock_box.unwrap_or_default(),
            models,
            alpha,
            time_to_live: time_to_live.unwrap_or(twice),
            live,
        }
        .with_costs()
    }

    /// The sign strategies of trials pay what those of recipes do.
    fn with_costs(mut self) -> Self {
        let cost_bp = self.evaluation.cost_bp;
        for recipe in &mut self.models {
            if let EstimatorSpec::Search(search) = &mut recipe.spec {
                search.cost_bp = cost_bp;
            }
        }
        self
    }

    fn read_source(sections: &mut Sections<'_, '_>, file: &Path) -> SourceSettings {
        let section = sections.open("source");
        let faults = &mut *sections.faults;
        Self::check_variables(&section, faults);
        let kind = match section.kind() {
            Some("kraken") => SourceKind::Kraken {
                pair: section.optional_text("pair", faults),
                trades: section.text("feed", faults) == "trades",
                base_url: section.text("base_url", faults),
            },
            Some("binance") => SourceKind::Binance {
                symbol: section.optional_text("symbol", faults),
                base_url: section.text("base_url", faults),
            },
            Some("coingecko") => SourceKind::CoinGecko {
                coin: section.text("coin", faults),
                days: u32::try_from(section.whole("days", faults)).unwrap_or(1),
                base_url: section.text("base_url", faults),
                key_env: section.optional_text("key_env", faults),
            },
            Some("kaggle") => SourceKind::Kaggle {
                dataset: section.text("dataset", faults),
                file: section.optional_text("file", faults),
                base_url: section.text("base_url", faults),
                key_env: section.text("key_env", faults),
                user_env: section.text("user_env", faults),
                form: Self::read_form(&section, faults),
            },
            Some("file") => SourceKind::File {
                path: tidy(
                    &file.parent().unwrap_or(Path::new("")).join(section.text("path", faults)),
                ),
                form: Self::read_form(&section, faults),
            },
            // The missing or unknown kind is a fault already; there is nothing to read.
            _ => {
                let file = SourceKind::Binance { symbol: None, base_url: String::new() };
                return SourceSettings {
                    kind: file,
                    lag_secs: 0,
                    from: None,
                    to: None,
                    requests_per_minute: None,
                };
            }
        };
        let rate = section.has("requests_per_minute");
        let rate = rate.then(|| section.whole("requests_per_minute", faults));
        SourceSettings {
            kind,
            lag_secs: section.interval("lag", faults).map_or(0, Interval::secs),
            from: section.time("from", faults),
            to: section.time("to", faults),
            requests_per_minute: rate.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0),
        }
    }

    fn read_form(section: &Section<'_>, faults: &mut Vec<Diagnostic>) -> FileForm {
        FileForm {
            format: section.optional_text("format", faults),
            columns: section.text_table("columns", faults),
            time_format: section.optional_text("time_format", faults),
            zone: section.text("zone", faults),
            symbol: section.optional_text("symbol", faults),
            header: section.texts("header", faults),
            time_is_close: section.text("time_is", faults) == "close",
        }
    }

    /// Only variables that are made for vendors' keys may be named: a pipeline that came
    /// from elsewhere must not be able to send others away.
    fn check_variables(section: &Section<'_>, faults: &mut Vec<Diagnostic>) {
        for name in ["key_env", "user_env"] {
            if !section.has(name) {
                continue;
            }
            let variable = section.text(name, faults);
            let allowed = ["COINGECKO_", "KAGGLE_", "FORETELL_KEY_"];
            if !variable.is_empty() && !allowed.iter().any(|p| variable.starts_with(p)) {
                let message = format!("`{name}` in [source] may not read `{variable}`");
                let label = format!("its name must begin with {}", allowed.join(", "));
                faults.push(Diagnostic { message, span: section.span_of(name), label });
            }
        }
    }

    fn read_gate(sections: &mut Sections<'_, '_>) -> GateSettings {
        let section = sections.open("gate");
        let faults = &mut *sections.faults;
        for list in ["block", "warn", "off"] {
            for name in section.texts(list, faults) {
                if !keys::CHECKS.contains(&name.as_str()) {
                    let near = section::nearest(&name, &keys::CHECKS);
                    let label = near.map_or_else(
                        || format!("the checks are {}", keys::CHECKS.join(", ")),
                        |near| format!("did you mean `{near}`?"),
                    );
                    let message = format!("`{list}` in [gate] names the unknown check `{name}`");
                    faults.push(Diagnostic { message, span: section.span_of(list), label });
                }
            }
        }
        let count = |n: i64| usize::try_from(n).unwrap_or(1);
        GateSettings {
            expect: section.text("expect", faults),
            min_rows: count(section.whole("min_rows", faults)),
            max_null_share: section.number("max_null_share", faults),
            max_move: section.number("max_move", faults),
            stale_after: count(section.whole("stale_after", faults)),
            min_completeness: section.number("min_completeness", faults),
            duplicates: section.text("duplicates", faults),
            fill_previous: section.text("fill", faults) == "previous",
            block: section.texts("block", faults),
            warn: section.texts("warn", faults),
            off: section.texts("off", faults),
        }
    }

    fn read_features(
        root: &DeTable<'_>,
        label: &LabelSettings,
        faults: &mut Vec<Diagnostic>,
    ) -> FeatureSettings {
        let mut sections = Sections { root, faults };
        let section = sections.open("features");
        let settings = FeatureSettings {
            set: section.text("set", sections.faults),
            params: section.number_table("params", sections.faults),
            only: section.texts("only", sections.faults),
            season: section.interval("season", sections.faults).unwrap_or(Interval::DAY),
            ewma_lambda: section.number("ewma_lambda", sections.faults),
            window: usize::try_from(section.whole("window", sections.faults)).unwrap_or(1),
        };
        if settings.season < label.horizon {
            let message = format!(
                "`season` ({}) must be at least the horizon ({}): a shorter one would look ahead",
                settings.season, label.horizon
            );
            let span = section.span_of("season");
            sections.faults.push(Diagnostic { message, span, label: String::new() });
        }
        if !settings.set.is_empty()
            && let Err(error) = settings.feature_set()
        {
            let key = match error {
                FeatureError::UnknownFeature { .. } | FeatureError::DuplicateFeature(_) => "only",
                _ => "params",
            };
            let (message, span) = (error.to_string(), section.span_of(key));
            sections.faults.push(Diagnostic { message, span, label: String::new() });
        }
        settings
    }

    fn read_label(
        root: &DeTable<'_>,
        interval: Interval,
        faults: &mut Vec<Diagnostic>,
    ) -> LabelSettings {
        let mut sections = Sections { root, faults };
        let section = sections.open("label");
        let horizon = section.interval("horizon", sections.faults).unwrap_or(interval);
        if interval.divides(horizon).is_none() {
            let message = format!("`horizon` must be a multiple of the interval ({interval})");
            let span = section.span_of("horizon");
            sections.faults.push(Diagnostic { message, span, label: String::new() });
        }
        LabelSettings { horizon, price: section.text("price", sections.faults) }
    }

    fn read_evaluation(sections: &mut Sections<'_, '_>) -> EvaluationSettings {
        let section = sections.open("evaluation");
        let faults = &mut *sections.faults;
        let window = section.text("window", faults);
        let window = match window.parse() {
            Ok(length) => TrainWindow::Rolling(length),
            Err(_) => {
                if !window.is_empty() && window != "expanding" {
                    let message = "`window` must be \"expanding\" or a length such as \"365d\"";
                    let span = section.span_of("window");
                    let message = message.to_owned();
                    faults.push(Diagnostic { message, span, label: String::new() });
                }
                TrainWindow::Expanding
            }
        };
        let count = |n: i64| usize::try_from(n).unwrap_or(1);
        let min_refits = count(section.whole("min_refits", faults));
        let folds = section.optional_count("folds", faults);
        if let Some(few) = folds.filter(|few| *few < min_refits) {
            let message = format!("`folds` ({few}) is below `min_refits` ({min_refits})");
            let label = "judge more refits, or lower `min_refits`".to_owned();
            faults.push(Diagnostic { message, span: section.span_of("folds"), label });
        }
        EvaluationSettings {
            walk_forward: WalkForward {
                initial_train: section.interval("initial_train", faults).unwrap_or(Interval::DAY),
                refit_every: section.interval("refit_every", faults).unwrap_or(Interval::DAY),
                window,
            },
            coverage: section.number("coverage", faults),
            bootstrap_draws: count(section.whole("bootstrap_draws", faults)),
            cost_bp: section.number("cost_bp", faults),
            min_refits,
            seeds: count(section.whole("seeds", faults)),
            folds,
            epochs: section.optional_count("epochs", faults),
            time_budget: section.interval("time_budget", faults),
        }
    }

    fn read_volatility(
        sections: &mut Sections<'_, '_>,
        interval: Interval,
        season: Interval,
    ) -> Interval {
        let section = sections.open("volatility");
        let Some(span) = section.interval("horizon", sections.faults) else { return season };
        if interval.divides(span).is_none_or(|n| n < 2) {
            let message = format!(
                "`horizon` in [volatility] must be two or more intervals ({interval}): realised \
                 variance is summed inside it"
            );
            let span = section.span_of("horizon");
            sections.faults.push(Diagnostic { message, span, label: String::new() });
        }
        span
    }

    fn read_lock_box(sections: &mut Sections<'_, '_>) -> Option<(LockBox, bool)> {
        let value = sections.root.iter().find(|(k, _)| k.get_ref() == "lock_box");
        value?;
        let section = sections.open("lock_box");
        let from = section.time("from", sections.faults)?;
        let to = section.time("to", sections.faults)?;
        if from >= to {
            let message = "the lock-box ends before it begins".to_owned();
            let (span, label) = (section.span_of("to"), "`to` must come after `from`".to_owned());
            sections.faults.push(Diagnostic { message, span, label });
        }
        let refit_includes = section.boolean("refit_includes", sections.faults);
        Some((LockBox { from, to }, refit_includes))
    }

    fn read_models(sections: &mut Sections<'_, '_>, epochs: Option<usize>) -> Vec<Recipe> {
        let Some((_, value)) = sections.root.iter().find(|(k, _)| k.get_ref() == "models") else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            let message = "`models` must be written as [[models]] tables".to_owned();
            sections.faults.push(Diagnostic { message, span: value.span(), label: String::new() });
            return Vec::new();
        };
        let mut recipes: Vec<Recipe> = Vec::new();
        let members = ensembles::Members::of(items);
        for item in items {
            let faults = &mut *sections.faults;
            let Some(table) = item.get_ref().as_table() else {
                let message = "`models` must be written as [[models]] tables".to_owned();
                faults.push(Diagnostic { message, span: item.span(), label: String::new() });
                continue;
            };
            let place = Some((table, item.span()));
            let section = Section::open(keys::table("models"), place, &["search"], faults);
            let Some(kind) = section.kind() else { continue };
            let mut object = section.variant_object(faults);
            if section.has("members") && !members.resolve(&section, &mut object, faults) {
                continue;
            }
            let name = section.optional_text("name", faults);
            let searched = table.iter().any(|(k, _)| k.get_ref() == "search");
            let plain = || match (kind.replace('_', " "), searched) {
                (kind, true) => format!("{kind}, searched"),
                (kind, false) => kind,
            };
            let name = name.unwrap_or_else(plain);
            if recipes.iter().any(|r| r.name == name) {
                let message = format!("two models are named `{name}`: give one another `name`");
                let span = section.span();
                faults.push(Diagnostic { message, span, label: String::new() });
            }
            match serde_json::from_value::<EstimatorSpec>(object.into()) {
                Ok(spec) => {
                    if let Err(error) = spec.build() {
                        let (message, span) = (error.to_string(), section.span());
                        faults.push(Diagnostic { message, span, label: String::new() });
                    }
                    let spec = search::wrap(spec, table, section.variant_keys(), faults);
                    let spec = match epochs {
                        Some(most) => spec.with_epochs_at_most(most),
                        None => spec,
                    };
                    if let Some(same) = recipes.iter().find(|r| r.spec == spec && r.name != name) {
                        let message = format!(
                            "`{}` and `{name}` are the same model: change a setting of one, or \
                             remove it",
                            same.name
                        );
                        let span = section.span();
                        faults.push(Diagnostic { message, span, label: String::new() });
                    }
                    recipes.push(Recipe { name, spec });
                }
                Err(error) => {
                    let (message, span) = (format!("{kind}: {error}"), section.span());
                    faults.push(Diagnostic { message, span, label: String::new() });
                }
            }
        }
        recipes
    }

    /// The same, judged in full: twenty seeds on every fold, however long it takes.
    #[must_use]
    pub fn in_full(mut self) -> Self {
        let settings = &mut self.evaluation;
        settings.seeds = settings.seeds.max(FULL_SEEDS);
        (settings.folds, settings.time_budget) = (None, None);
        self
    }

    /// The label of the feature crate.
    pub fn label_spec(&self) -> LabelSpec {
        LabelSpec { horizon: self.label.horizon, price_column: self.label.price.clone() }
    }

    /// The columns for baselines and classical models: windows of returns as far as one of
    /// the pipeline's models reads them.
    pub fn context_spec(&self) -> ContextSpec {
        ContextSpec {
            horizon: self.label.horizon,
            season: self.features.season,
            ewma_lambda: self.features.ewma_lambda,
            returns: self.models.iter().fold(ReturnWindows::default(), |all, recipe| {
                let (lags, cascade) = (recipe.spec.return_lags(), recipe.spec.reads_cascade());
                all.join(ReturnWindows { lags, cascade })
            }),
        }
    }

    /// The hash of one recipe: everything that decides its forecasts, source and
    /// file names excluded.
    pub fn recipe_hash(&self, recipe: &Recipe) -> Fingerprint {
        let mut hasher = FingerprintHasher::new("recipe/1");
        let json = serde_json::json!({
            "instrument": self.instrument, "interval": self.interval, "seed": self.seed,
            "features": self.features, "label": self.label,
            "walk_forward": self.evaluation.walk_forward, "spec": recipe.spec,
        });
        hasher.text(&json.to_string());
        hasher.finish()
    }
}

impl FeatureSettings {
    /// The feature set that these keys name.
    ///
    /// # Errors
    /// When a parameter is unknown or out of range.
    pub fn feature_set(&self) -> Result<FeatureSet, foretell_feature::FeatureError> {
        let add = |params: Params, (name, value): (&String, &f64)| params.with(name, *value);
        let params = self.params.iter().fold(Params::new(), add);
        let set = FeatureSet::chosen(&self.set, &params, &self.only)?;
        Ok(set.windowed(self.window))
    }
}

/// The tables of a file and the faults found so far.
struct Sections<'a, 'f> {
    root: &'a DeTable<'a>,
    faults: &'f mut Vec<Diagnostic>,
}

impl<'a> Sections<'a, '_> {
    fn open(&mut self, name: &'static str) -> Section<'a> {
        let spec = keys::table(name);
        let found = self.root.iter().find(|(key, _)| key.get_ref() == name);
        let place = found.and_then(|(key, value)| match value.get_ref() {
            DeValue::Table(table) => Some((table, value.span())),
            _ => {
                let message = format!("`{name}` must be a table: write [{name}]");
                let label = String::new();
                self.faults.push(Diagnostic { message, span: key.span(), label });
                None
            }
        });
        if place.is_none() && found.is_none() && !spec.optional {
            let message = format!("the table [{name}] is missing");
            self.faults.push(Diagnostic { message, span: 0..0, label: spec.doc.to_owned() });
            // Its own required keys are not reported one by one.
            let mut unheard = Vec::new();
            return Section::open(spec, None, &[], &mut unheard);
        }
        Section::open(spec, place, &[], self.faults)
    }
}

/// Refuses a network that is to be trained on a card by a program that knows none.
fn check_devices(root: &DeTable<'_>, faults: &mut Vec<Diagnostic>) {
    let models = root.iter().find(|(key, _)| key.get_ref() == "models");
    let tables = models.and_then(|(_, value)| value.get_ref().as_array());
    let tables = tables.into_iter().flatten().filter_map(|item| item.get_ref().as_table());
    for (_, value) in tables.flat_map(|t| t.iter()).filter(|(key, _)| key.get_ref() == "device") {
        let device = value.get_ref().as_str().unwrap_or("cpu");
        if device != "cpu" && !cards::are_built_in() {
            faults.push(Diagnostic {
                message: format!(
                    "`device = \"{device}\"` in [models]: this program was built without the \
                     feature `gpu`"
                ),
                span: value.span(),
                label: "build it with `cargo build --release --features gpu`, or leave `device` \
                        out"
                .to_owned(),
            });
        }
    }
}

/// A path without the detours of `a/../b`, as people would write it.
fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir
                if matches!(tidied.components().next_back(), Some(Component::Normal(_))) =>
            {
                tidied.pop();
            }
            Component::CurDir => {}
            other => tidied.push(other),
        }
    }
    tidied
}

fn refuse(text: &str, file: &Path, mut items: Vec<Diagnostic>) -> Box<Diagnostics> {
    items.sort_by_key(|i| i.span.start);
    items.dedup();
    Box::new(Diagnostics { file: file.display().to_string(), text: text.to_owned(), items })
}

#[cfg(test)]
mod tests;
