//! Feature sets: named lists of features with their parameters and one content hash.

use foretell_market::{Fingerprint, FingerprintHasher};

use crate::definition::{Fallback, Kind, Memory};
use crate::graph::{Graph, Input};
use crate::kinds::{KERNEL_VERSION, kinds};
use crate::params::{ParamValue, Params};
use crate::{FeatureError, shipped};

/// One feature of a custom set, as a pipeline file lists it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FeatureSpec {
    /// The column's name.
    pub name: String,
    /// The kind's id.
    pub kind: String,
    /// Its parameters; what is absent takes its default.
    #[serde(default)]
    pub params: Params,
}

impl FeatureSpec {
    /// A feature with default parameters.
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { name: name.into(), kind: kind.into(), params: Params::new() }
    }

    /// The same feature with one more parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<ParamValue>) -> Self {
        self.params = self.params.with(name, value);
        self
    }
}

/// A feature with every parameter settled.
#[derive(Debug, Clone)]
pub(crate) struct Feature {
    pub(crate) name: String,
    pub(crate) kind: &'static Kind,
    columns: Vec<String>,
    numbers: Vec<f64>,
    pub(crate) node: usize,
}

/// What one feature of a set is, for people and for the docs.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FeatureDoc {
    /// The column's name.
    pub name: String,
    /// The kind's id.
    pub kind: String,
    /// What it is.
    pub definition: String,
    /// Where the definition comes from.
    pub source: String,
    /// Rows before its first value.
    pub warm_up: usize,
    /// Whether it remembers everything since an origin.
    pub recursive: bool,
    /// Its parameters with their values.
    pub parameters: Vec<(String, ParamValue)>,
}

/// Features in the order of their columns.
#[derive(Debug, Clone)]
pub struct FeatureSet {
    name: String,
    pub(crate) features: Vec<Feature>,
    pub(crate) graph: Graph,
    fingerprint: Fingerprint,
}

impl FeatureSet {
    /// The names of the shipped sets.
    pub const NAMES: [&'static str; 3] = ["coingecko-62", "kraken-62", "candle-base"];

    /// A shipped set. Parameters are written `feature.parameter`, for example
    /// `bb_width.window`; a parameter that a feature's own name states is not open.
    ///
    /// # Errors
    /// When there is no such set, feature or parameter, or a value is out of range.
    pub fn named(name: &str, params: &Params) -> Result<Self, FeatureError> {
        Self::chosen(name, params, &[])
    }

    /// Some features of a shipped set, in the order given; all of them when none is named.
    ///
    /// # Errors
    /// As [`FeatureSet::named`], and when the set has no such feature.
    pub fn chosen(name: &str, params: &Params, only: &[String]) -> Result<Self, FeatureError> {
        let mut specs = shipped::list(name).ok_or_else(|| FeatureError::UnknownSet {
            name: name.to_owned(),
            known: Self::NAMES.map(|n| format!("`{n}`")).join(", "),
        })?;
        for (key, value) in params.iter() {
            let (feature, parameter) = key.rsplit_once('.').unwrap_or((key, ""));
            let unknown = |known: String| FeatureError::UnknownParameter {
                feature: feature.to_owned(),
                parameter: parameter.to_owned(),
                known,
            };
            let Some(entry) = specs.iter_mut().find(|s| s.name == feature) else {
                return Err(unknown(format!("no such feature in the set `{name}`")));
            };
            let fixed = entry.params.get(parameter).is_some_and(|now| {
                matches!(now, ParamValue::Number(n) if states(&entry.name, *n)) && now != value
            });
            if fixed {
                return Err(unknown("no value for it but the one in its name".to_owned()));
            }
            entry.params = std::mem::take(&mut entry.params).with(parameter, value.clone());
        }
        if !only.is_empty() {
            let named = |feature: &String| {
                let found = specs.iter().find(|s| s.name == *feature).cloned();
                found.ok_or_else(|| FeatureError::UnknownFeature {
                    feature: feature.clone(),
                    set: name.to_owned(),
                    known: specs.iter().map(|s| &s.name[..]).collect::<Vec<_>>().join(", "),
                })
            };
            specs = only.iter().map(named).collect::<Result<_, _>>()?;
        }
        Self::build(name, &specs)
    }

    /// A set of any features.
    ///
    /// # Errors
    /// When the list is empty, a name appears twice, or a kind or parameter is unknown
    /// or out of range.
    pub fn custom(name: &str, specs: &[FeatureSpec]) -> Result<Self, FeatureError> {
        Self::build(name, specs)
    }

    fn build(name: &str, specs: &[FeatureSpec]) -> Result<Self, FeatureError> {
        if specs.is_empty() {
            return Err(FeatureError::Empty);
        }
        let mut graph = Graph::default();
        let mut features: Vec<Feature> = Vec::with_capacity(specs.len());
        for spec in specs {
            if features.iter().any(|f| f.name == spec.name) {
                return Err(FeatureError::DuplicateFeature(spec.name.clone()));
            }
            features.push(settle(spec, &mut graph)?);
        }
        let fingerprint = fingerprint_of(&features);
        Ok(Self { name: name.to_owned(), features, graph, fingerprint })
    }

    /// The same features with `steps` steps of each in a row, the oldest first: for two
    /// features and three steps `x[-2], y[-2], x[-1], y[-1], x, y`. What sequence models
    /// read. A window with a missing interval is null, as every lag is.
    #[must_use]
    pub fn windowed(mut self, steps: usize) -> Self {
        if steps <= 1 {
            return self;
        }
        let lag = kinds().find(|k| k.id == "lag").expect("lag is a kind");
        let last = std::mem::take(&mut self.features);
        for behind in (1..steps).rev() {
            for feature in &last {
                let numbers = vec![behind as f64];
                let Input::Node(node) =
                    self.graph.node(lag, &[Input::Node(feature.node)], &numbers)
                else {
                    unreachable!("a node is a node")
                };
                let name = format!("{}[-{behind}]", feature.name);
                let columns = vec![feature.name.clone()];
                self.features.push(Feature { name, kind: lag, columns, numbers, node });
            }
        }
        self.features.extend(last);
        self.fingerprint = fingerprint_of(&self.features);
        self
    }

    /// The set's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hash of definitions, parameters and kernel version, in column order. The
    /// set's own name does not enter.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The names of the columns.
    pub fn names(&self) -> Vec<&str> {
        self.features.iter().map(|f| f.name.as_str()).collect()
    }

    /// The number of features.
    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// Whether there is no feature (never).
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// The columns that the input frame must have, each once, in order of use.
    pub fn inputs(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = Vec::new();
        let all = self.graph.nodes.iter().flat_map(|n| &n.inputs);
        for input in all {
            if let Input::Column(name) = input
                && !columns.contains(&name.as_str())
            {
                columns.push(name);
            }
        }
        columns
    }

    /// Rows before the first row that has every feature.
    pub fn warm_up(&self) -> usize {
        self.graph.nodes.iter().map(|n| n.warm_up).max().unwrap_or(0)
    }

    /// Whether a feature remembers everything since an origin.
    pub fn is_recursive(&self) -> bool {
        self.graph.nodes.iter().any(|n| n.recursive)
    }

    /// What each feature is.
    pub fn definitions(&self) -> Vec<FeatureDoc> {
        self.features.iter().map(|f| f.doc(&self.graph)).collect()
    }
}

impl Feature {
    fn doc(&self, graph: &Graph) -> FeatureDoc {
        let mut columns = self.columns.iter();
        let mut numbers = self.numbers.iter();
        let parameters = self.kind.parameters.iter().map(|p| {
            let value = match p.fallback {
                Fallback::Column(_) => columns.next().map(|c| ParamValue::Text(c.clone())),
                _ => numbers.next().map(|n| ParamValue::Number(*n)),
            };
            (p.name.to_owned(), value.expect("every parameter is settled"))
        });
        let node = &graph.nodes[self.node];
        FeatureDoc {
            name: self.name.clone(),
            kind: self.kind.id.to_owned(),
            definition: self.kind.definition.to_owned(),
            source: self.kind.source.to_owned(),
            warm_up: node.warm_up,
            recursive: node.recursive,
            parameters: parameters.collect(),
        }
    }
}

/// Whether a name states a number, as `price_lag_3h` states 3.
fn states(name: &str, number: f64) -> bool {
    name.split(|c: char| !c.is_ascii_digit()).any(|digits| digits == number.to_string())
}

fn settle(spec: &FeatureSpec, graph: &mut Graph) -> Result<Feature, FeatureError> {
    let kind = kinds().find(|k| k.id == spec.kind).ok_or_else(|| {
        let nearest = kinds().min_by_key(|k| distance(k.id, &spec.kind));
        FeatureError::UnknownKind {
            feature: spec.name.clone(),
            kind: spec.kind.clone(),
            nearest: nearest.map_or(String::new(), |k| k.id.to_owned()),
        }
    })?;
    for (parameter, _) in spec.params.iter() {
        if kind.parameters.iter().all(|p| p.name != parameter) {
            return Err(FeatureError::UnknownParameter {
                feature: spec.name.clone(),
                parameter: parameter.to_owned(),
                known: kind.parameter_names(),
            });
        }
    }
    let (mut columns, mut numbers) = (Vec::new(), Vec::new());
    for parameter in kind.parameters {
        let given = spec.params.get(parameter.name);
        let bad = |remedy: String| FeatureError::BadParameter {
            feature: spec.name.clone(),
            parameter: parameter.name.to_owned(),
            value: given.map_or(String::new(), ToString::to_string),
            remedy,
        };
        match (parameter.fallback, given) {
            (Fallback::Column(default), None) => columns.push(default.to_owned()),
            (Fallback::Column(_), Some(ParamValue::Text(name))) => columns.push(name.clone()),
            (Fallback::Column(_), Some(_)) => return Err(bad("write a column's name".to_owned())),
            (Fallback::Count { value, .. }, None) => numbers.push(f64::from(value)),
            (Fallback::Count { min, max, .. }, Some(ParamValue::Number(n)))
                if n.fract() == 0.0 && (f64::from(min)..=f64::from(max)).contains(n) =>
            {
                numbers.push(*n);
            }
            (Fallback::Count { min, max, .. }, Some(_)) => {
                return Err(bad(format!("write a whole number from {min} to {max}")));
            }
            (Fallback::Number { value, .. }, None) => numbers.push(value),
            (Fallback::Number { min, max, .. }, Some(ParamValue::Number(n)))
                if (min..=max).contains(n) =>
            {
                // Adding zero turns a negative zero into zero, so that equal settings
                // have equal hashes.
                numbers.push(*n + 0.0);
            }
            (Fallback::Number { min, max, .. }, Some(_)) => {
                return Err(bad(format!("write a number from {min} to {max}")));
            }
        }
    }
    let on: Vec<_> = columns.iter().map(|c| Input::Column(c.clone())).collect();
    let Input::Node(node) = graph.node(kind, &on, &numbers) else {
        unreachable!("a node is a node")
    };
    Ok(Feature { name: spec.name.clone(), kind, columns, numbers, node })
}

fn fingerprint_of(features: &[Feature]) -> Fingerprint {
    let mut hasher = FingerprintHasher::new("feature-set/1");
    hasher.u64(KERNEL_VERSION).u64(features.len() as u64);
    for feature in features {
        hasher.text(&feature.name).text(feature.kind.id).text(feature.kind.definition);
        hasher.u64(match feature.kind.memory {
            Memory::Cells => 0,
            Memory::Window => 1,
            Memory::Recursive => 2,
        });
        hasher.u64(feature.columns.len() as u64);
        for column in &feature.columns {
            hasher.text(column);
        }
        hasher.f64s(&feature.numbers);
    }
    hasher.finish()
}

/// Edit distance (Levenshtein, 1966), to name the nearest known id.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            let least = cost.min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], least);
        }
    }
    row[b.len()]
}
