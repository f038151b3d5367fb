//! The exchange with XGBoost: its model format, as JSON and as UBJSON, written and read.
//!
//! Format: <https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html>, the
//! layout of XGBoost 3 (`reg:quantileerror`, one output per level, trees of a round in
//! level order). Only numeric splits and our nine levels have a counterpart here. The
//! document is typed, not a tree of values: 32-bit numbers keep their bits both ways.

use serde::{Deserialize, Serialize};

use super::{BoostedTree, BoostingState, ubjson};
use crate::{LEVELS, ModelError, QUANTILE_LEVELS, Schema};

/// What XGBoost writes as the parent of a root.
const NO_PARENT: i32 = i32::MAX;

#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(skip_deserializing)]
    version: [u32; 3],
    learner: Learner,
}

#[derive(Serialize, Deserialize)]
struct Learner {
    #[serde(skip_deserializing)]
    attributes: Empty,
    #[serde(default)]
    feature_names: Vec<String>,
    #[serde(skip_deserializing)]
    feature_types: Vec<&'static str>,
    gradient_booster: Booster,
    learner_model_param: Parameters,
    objective: Objective,
}

#[derive(Serialize, Default)]
struct Empty {}

#[derive(Serialize, Deserialize)]
struct Booster {
    name: String,
    // Other boosters keep other things here; the name is judged first.
    model: Option<Model>,
}

#[derive(Serialize, Deserialize)]
struct Model {
    #[serde(skip_deserializing)]
    gbtree_model_param: TreeCount,
    #[serde(skip_deserializing)]
    cats: Categories,
    #[serde(skip_deserializing)]
    iteration_indptr: Vec<usize>,
    tree_info: Vec<usize>,
    trees: Vec<Tree>,
}

#[derive(Serialize, Default)]
struct TreeCount {
    num_parallel_tree: String,
    num_trees: String,
}

#[derive(Serialize, Default)]
struct Categories {
    enc: [u8; 0],
    feature_segments: [u8; 0],
    sorted_idx: [u8; 0],
}

#[derive(Serialize, Deserialize)]
struct Parameters {
    base_score: String,
    #[serde(skip_deserializing)]
    boost_from_average: &'static str,
    #[serde(skip_deserializing)]
    num_class: &'static str,
    num_feature: String,
    #[serde(skip_deserializing)]
    num_target: String,
}

#[derive(Serialize, Deserialize)]
struct Objective {
    name: String,
    quantile_loss_param: Option<QuantileLoss>,
}

#[derive(Serialize, Deserialize)]
struct QuantileLoss {
    quantile_alpha: String,
}

#[derive(Serialize, Deserialize)]
struct Tree {
    #[serde(skip_deserializing)]
    id: usize,
    #[serde(skip_deserializing)]
    tree_param: TreeParameters,
    left_children: Vec<i32>,
    right_children: Vec<i32>,
    #[serde(skip_deserializing)]
    parents: Vec<i32>,
    split_indices: Vec<u32>,
    split_conditions: Vec<f32>,
    #[serde(skip_deserializing)]
    default_left: Vec<u8>,
    #[serde(skip_deserializing)]
    base_weights: Vec<f32>,
    loss_changes: Vec<f32>,
    sum_hessian: Vec<f32>,
    split_type: Vec<u8>,
    #[serde(skip_deserializing)]
    categories: [u8; 0],
    #[serde(skip_deserializing)]
    categories_nodes: [u8; 0],
    #[serde(skip_deserializing)]
    categories_segments: [u8; 0],
    #[serde(skip_deserializing)]
    categories_sizes: [u8; 0],
}

#[derive(Serialize, Default)]
struct TreeParameters {
    num_deleted: String,
    num_feature: String,
    num_nodes: String,
    size_leaf_vector: String,
}

impl BoostingState {
    /// The model as XGBoost's JSON, which Python `xgboost` (3 and later) loads with
    /// `Booster.load_model`; its nine outputs are the quantiles before re-ordering.
    pub fn to_xgboost_json(&self, schema: &Schema) -> Vec<u8> {
        serde_json::to_vec(&self.document(schema)).expect("a model is plain data with text keys")
    }

    /// The same as UBJSON, which is half as long.
    pub fn to_xgboost_ubjson(&self, schema: &Schema) -> Vec<u8> {
        let document = serde_json::to_value(self.document(schema));
        ubjson::write(&document.expect("a model is plain data with text keys"))
    }

    fn document(&self, schema: &Schema) -> Document {
        let columns = schema.feature_names.len();
        let trees: Vec<Tree> =
            self.trees.iter().enumerate().map(|(id, t)| Tree::new(id, t, columns)).collect();
        let model = Model {
            gbtree_model_param: TreeCount {
                num_parallel_tree: "1".to_owned(),
                num_trees: trees.len().to_string(),
            },
            cats: Categories::default(),
            iteration_indptr: (0..=self.rounds()).map(|r| r * LEVELS).collect(),
            tree_info: (0..trees.len()).map(|t| t % LEVELS).collect(),
            trees,
        };
        let levels = QUANTILE_LEVELS.map(|p| p as f32);
        Document {
            version: [3, 0, 0],
            learner: Learner {
                attributes: Empty {},
                feature_names: schema.feature_names.clone(),
                feature_types: vec!["float"; columns],
                gradient_booster: Booster { name: "gbtree".to_owned(), model: Some(model) },
                learner_model_param: Parameters {
                    base_score: list(&self.base),
                    boost_from_average: "1",
                    num_class: "0",
                    num_feature: columns.to_string(),
                    num_target: LEVELS.to_string(),
                },
                objective: Objective {
                    name: "reg:quantileerror".to_owned(),
                    quantile_loss_param: Some(QuantileLoss { quantile_alpha: list(&levels) }),
                },
            },
        }
    }

    /// Reads a model of our nine levels that XGBoost or [`Self::to_xgboost_json`] wrote, as
    /// JSON or UBJSON; the names are empty when it was trained without.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] naming the field, when the bytes are no such model.
    pub fn from_xgboost(bytes: &[u8]) -> Result<(Self, Vec<String>), ModelError> {
        let document: Document = match ubjson::begins(bytes) {
            true => serde_json::from_value(ubjson::read(bytes)?)
                .map_err(|e| refusal("document", &e.to_string()))?,
            false => serde_json::from_slice(bytes).map_err(|e| not_json(&e))?,
        };
        let learner = document.learner;
        if learner.objective.name != "reg:quantileerror" {
            let message = format!("`{}` is not `reg:quantileerror`", learner.objective.name);
            return Err(refusal("objective.name", &message));
        }
        let alpha = learner.objective.quantile_loss_param.map(|p| p.quantile_alpha);
        let levels = numbers("quantile_alpha", &alpha.unwrap_or_default())?;
        if levels != QUANTILE_LEVELS.map(|p| p as f32) {
            return Err(refusal("quantile_alpha", "the levels are not Foretell's nine"));
        }
        let base: [f32; LEVELS] =
            match numbers("base_score", &learner.learner_model_param.base_score)?[..] {
                [one] => [one; LEVELS],
                ref each => each
                    .try_into()
                    .map_err(|_| refusal("base_score", "there is not one number per level"))?,
            };
        let columns: usize = learner
            .learner_model_param
            .num_feature
            .parse()
            .map_err(|_| refusal("num_feature", "this is no number"))?;
        let names = learner.feature_names;
        if !names.is_empty() && names.len() != columns {
            return Err(refusal("feature_names", &format!("the model has {columns} columns")));
        }
        if learner.gradient_booster.name != "gbtree" {
            return Err(refusal("gradient_booster.name", "only `gbtree` is read"));
        }
        let model = learner.gradient_booster.model;
        let model = model.ok_or_else(|| refusal("gradient_booster.model", "it is missing"))?;
        if model.tree_info.len() != model.trees.len() {
            return Err(refusal("tree_info", "there is not one entry per tree"));
        }
        if model.tree_info.iter().enumerate().any(|(t, group)| *group != t % LEVELS) {
            return Err(refusal("tree_info", "the trees are not one per level and round"));
        }
        let trees: Result<Vec<_>, _> = model.trees.into_iter().map(Tree::adopt).collect();
        let state = Self { base, trees: trees? };
        state.check(columns)?;
        Ok((state, names))
    }
}

fn not_json(e: &serde_json::Error) -> ModelError {
    refusal(&format!("line {}, column {}", e.line(), e.column()), &e.to_string())
}

/// A model of XGBoost as UBJSON, whichever of its two forms it came in.
///
/// # Errors
/// [`ModelError::Damaged`] when it is neither.
pub fn xgboost_to_ubjson(bytes: &[u8]) -> Result<Vec<u8>, ModelError> {
    Ok(ubjson::write(&either(bytes)?))
}

/// A model of XGBoost as JSON, whichever of its two forms it came in.
///
/// # Errors
/// [`ModelError::Damaged`] when it is neither.
pub fn xgboost_to_json(bytes: &[u8]) -> Result<Vec<u8>, ModelError> {
    Ok(serde_json::to_vec(&either(bytes)?).expect("a value is JSON"))
}

/// The names of the columns that a model of XGBoost was trained on; none when it was trained
/// without.
///
/// # Errors
/// [`ModelError::Damaged`] when it is neither JSON nor UBJSON.
pub fn xgboost_feature_names(bytes: &[u8]) -> Result<Vec<String>, ModelError> {
    let document = either(bytes)?;
    let names = document.pointer("/learner/feature_names").and_then(|names| names.as_array());
    let names = names.into_iter().flatten().filter_map(|name| name.as_str());
    Ok(names.map(str::to_owned).collect())
}

fn either(bytes: &[u8]) -> Result<serde_json::Value, ModelError> {
    let mut document: serde_json::Value = match ubjson::begins(bytes) {
        true => ubjson::read(bytes)?,
        false => serde_json::from_slice(bytes).map_err(|e| not_json(&e))?,
    };
    // Versions before 3.1 write the one number `5E-1`, later ones the list `[5E-1]`.
    let base = document.pointer_mut("/learner/learner_model_param/base_score");
    if let Some(serde_json::Value::String(base)) = base
        && !base.starts_with('[')
    {
        *base = format!("[{base}]");
    }
    match document.is_object() {
        true => Ok(document),
        false => Err(refusal("document", "it is no object")),
    }
}

fn refusal(place: &str, message: &str) -> ModelError {
    let (place, message) = (place.to_owned(), message.to_owned());
    ModelError::Damaged { what: "XGBoost model", place, message }
}

/// XGBoost writes lists of parameters as one text: `[1E0,2E0]`.
fn list(values: &[f32]) -> String {
    let each: Vec<String> = values.iter().map(|v| format!("{v:E}")).collect();
    format!("[{}]", each.join(","))
}

fn numbers(place: &str, text: &str) -> Result<Vec<f32>, ModelError> {
    let inner = text.trim_start_matches('[').trim_end_matches(']');
    let parse = |v: &str| v.trim().parse().map_err(|_| refusal(place, "this is no number"));
    inner.split(',').map(parse).collect()
}

impl Tree {
    fn new(id: usize, tree: &BoostedTree, columns: usize) -> Self {
        let n = tree.len();
        let mut parents = vec![NO_PARENT; n];
        for i in (0..n).filter(|i| !tree.is_leaf(*i)) {
            parents[tree.left[i] as usize] = i as i32;
            parents[tree.right[i] as usize] = i as i32;
        }
        let children = |of: &[u32]| {
            let child = |i: usize| if tree.is_leaf(i) { -1 } else { of[i] as i32 };
            (0..n).map(child).collect()
        };
        let weight = |i: usize| if tree.is_leaf(i) { tree.threshold[i] } else { 0.0 };
        Self {
            id,
            tree_param: TreeParameters {
                num_deleted: "0".to_owned(),
                num_feature: columns.to_string(),
                num_nodes: n.to_string(),
                size_leaf_vector: "1".to_owned(),
            },
            left_children: children(&tree.left),
            right_children: children(&tree.right),
            parents,
            split_indices: tree.feature.clone(),
            split_conditions: tree.threshold.clone(),
            default_left: vec![0; n],
            base_weights: (0..n).map(weight).collect(),
            loss_changes: tree.gain.clone(),
            sum_hessian: tree.cover.clone(),
            split_type: vec![0; n],
            categories: [],
            categories_nodes: [],
            categories_segments: [],
            categories_sizes: [],
        }
    }

    fn adopt(self) -> Result<BoostedTree, ModelError> {
        if self.split_type.iter().any(|t| *t != 0) {
            return Err(refusal("split_type", "categorical splits are not read"));
        }
        // A leaf has -1, which is our 0: no child is the root.
        let children = |of: Vec<i32>| of.into_iter().map(|c| c.max(0) as u32).collect();
        Ok(BoostedTree {
            feature: self.split_indices,
            threshold: self.split_conditions,
            left: children(self.left_children),
            right: children(self.right_children),
            gain: self.loss_changes,
            cover: self.sum_hessian,
        })
    }
}
