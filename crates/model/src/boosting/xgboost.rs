//! The exchange with XGBoost: its JSON model format, written and read.
//!
//! Format: <https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html>, the
//! layout of XGBoost 3 (`reg:quantileerror`, one output per level, trees of a round in
//! level order). Only numeric splits and our nine levels have a counterpart here.

use serde_json::{Value, json};

use super::{BoostedTree, BoostingState};
use crate::{LEVELS, ModelError, QUANTILE_LEVELS, Schema};

/// What XGBoost writes as the parent of a root.
const NO_PARENT: i32 = i32::MAX;

impl BoostingState {
    /// The model as XGBoost's JSON, which Python `xgboost` (3 and later) loads with
    /// `Booster.load_model`; its nine outputs are the quantiles before re-ordering.
    pub fn to_xgboost_json(&self, schema: &Schema) -> Vec<u8> {
        let columns = schema.feature_names.len();
        let trees: Vec<Value> =
            self.trees.iter().enumerate().map(|(id, t)| tree_json(id, t, columns)).collect();
        let groups: Vec<usize> = (0..self.trees.len()).map(|t| t % LEVELS).collect();
        let rounds: Vec<usize> = (0..=self.rounds()).map(|r| r * LEVELS).collect();
        let types = vec!["float"; columns];
        let document = json!({
            "version": [3, 0, 0],
            "learner": {
                "attributes": {},
                "feature_names": schema.feature_names,
                "feature_types": types,
                "gradient_booster": {
                    "name": "gbtree",
                    "model": {
                        "gbtree_model_param": {
                            "num_parallel_tree": "1",
                            "num_trees": self.trees.len().to_string(),
                        },
                        "cats": { "enc": [], "feature_segments": [], "sorted_idx": [] },
                        "iteration_indptr": rounds,
                        "tree_info": groups,
                        "trees": trees,
                    },
                },
                "learner_model_param": {
                    "base_score": list(&self.base),
                    "boost_from_average": "1",
                    "num_class": "0",
                    "num_feature": columns.to_string(),
                    "num_target": LEVELS.to_string(),
                },
                "objective": {
                    "name": "reg:quantileerror",
                    "quantile_loss_param": {
                        "quantile_alpha": list(&QUANTILE_LEVELS.map(|p| p as f32)),
                    },
                },
            },
        });
        document.to_string().into_bytes()
    }

    /// Reads a model of our nine levels that XGBoost or [`Self::to_xgboost_json`] wrote;
    /// the names are empty when it was trained without.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] naming the field, when the bytes are no such model.
    pub fn from_xgboost_json(bytes: &[u8]) -> Result<(Self, Vec<String>), ModelError> {
        let root: Value = serde_json::from_slice(bytes).map_err(|e| {
            refusal(&format!("line {}, column {}", e.line(), e.column()), &e.to_string())
        })?;
        let objective = text(&root, "/learner/objective/name")?;
        if objective != "reg:quantileerror" {
            let message = format!("`{objective}` is not `reg:quantileerror`");
            return Err(refusal("/learner/objective/name", &message));
        }
        let place = "/learner/objective/quantile_loss_param/quantile_alpha";
        if numbers(&root, place)? != QUANTILE_LEVELS.map(|p| p as f32) {
            return Err(refusal(place, "the levels are not Foretell's nine"));
        }
        let place = "/learner/learner_model_param/base_score";
        let listed = numbers(&root, place)?;
        let base = match listed[..] {
            [one] => [one; LEVELS],
            _ => listed
                .try_into()
                .map_err(|_| refusal(place, "there is not one number per level"))?,
        };
        let place = "/learner/learner_model_param/num_feature";
        let columns: usize =
            text(&root, place)?.parse().map_err(|_| refusal(place, "this is no number"))?;
        let names = strings(&root, "/learner/feature_names");
        let model = "/learner/gradient_booster/model";
        if text(&root, "/learner/gradient_booster/name")? != "gbtree" {
            return Err(refusal("/learner/gradient_booster/name", "only `gbtree` is read"));
        }
        let groups: Vec<usize> = array(&root, &format!("{model}/tree_info"))?;
        if groups.iter().enumerate().any(|(t, group)| *group != t % LEVELS) {
            let message = "the trees are not one per level and round";
            return Err(refusal(&format!("{model}/tree_info"), message));
        }
        let documents: Vec<Value> = array(&root, &format!("{model}/trees"))?;
        let trees: Result<Vec<_>, _> = documents.iter().map(tree_of).collect();
        let state = Self { base, trees: trees? };
        if state.trees.len() != groups.len() {
            return Err(refusal(&format!("{model}/tree_info"), "there is not one entry per tree"));
        }
        state.check(columns)?;
        Ok((state, names))
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

fn numbers(root: &Value, place: &str) -> Result<Vec<f32>, ModelError> {
    let inner = text(root, place)?.trim_start_matches('[').trim_end_matches(']');
    let parse = |v: &str| v.trim().parse().map_err(|_| refusal(place, "this is no number"));
    inner.split(',').map(parse).collect()
}

fn text<'a>(root: &'a Value, place: &str) -> Result<&'a str, ModelError> {
    let found = root.pointer(place).and_then(Value::as_str);
    found.ok_or_else(|| refusal(place, "the text is missing"))
}

fn strings(root: &Value, place: &str) -> Vec<String> {
    array(root, place).unwrap_or_default()
}

fn array<T: serde::de::DeserializeOwned>(root: &Value, place: &str) -> Result<Vec<T>, ModelError> {
    let found = root.pointer(place).ok_or_else(|| refusal(place, "the list is missing"))?;
    serde_json::from_value(found.clone()).map_err(|e| refusal(place, &e.to_string()))
}

fn tree_json(id: usize, tree: &BoostedTree, columns: usize) -> Value {
    let n = tree.len();
    let mut parents = vec![NO_PARENT; n];
    for i in (0..n).filter(|i| !tree.is_leaf(*i)) {
        parents[tree.left[i] as usize] = i as i32;
        parents[tree.right[i] as usize] = i as i32;
    }
    let child = |children: &[u32], i: usize| {
        if tree.is_leaf(i) { -1 } else { children[i] as i32 }
    };
    let weight = |i: usize| if tree.is_leaf(i) { tree.threshold[i] } else { 0.0 };
    json!({
        "id": id,
        "tree_param": {
            "num_deleted": "0",
            "num_feature": columns.to_string(),
            "num_nodes": n.to_string(),
            "size_leaf_vector": "1",
        },
        "left_children": (0..n).map(|i| child(&tree.left, i)).collect::<Vec<_>>(),
        "right_children": (0..n).map(|i| child(&tree.right, i)).collect::<Vec<_>>(),
        "parents": parents,
        "split_indices": tree.feature,
        "split_conditions": tree.threshold,
        "default_left": vec![0; n],
        "base_weights": (0..n).map(weight).collect::<Vec<_>>(),
        "loss_changes": tree.gain,
        "sum_hessian": tree.cover,
        "split_type": vec![0; n],
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
    })
}

fn tree_of(document: &Value) -> Result<BoostedTree, ModelError> {
    if array::<i64>(document, "/split_type")?.iter().any(|t| *t != 0) {
        return Err(refusal("/split_type", "categorical splits are not read"));
    }
    let children = |place: &str| -> Result<Vec<u32>, ModelError> {
        // A leaf has -1, which is our 0: no child is the root.
        let listed: Vec<i64> = array(document, place)?;
        listed
            .into_iter()
            .map(|c| u32::try_from(c.max(0)).map_err(|_| refusal(place, "the index is too large")))
            .collect()
    };
    Ok(BoostedTree {
        feature: array(document, "/split_indices")?,
        threshold: array(document, "/split_conditions")?,
        left: children("/left_children")?,
        right: children("/right_children")?,
        gain: array(document, "/loss_changes")?,
        cover: array(document, "/sum_hessian")?,
    })
}
