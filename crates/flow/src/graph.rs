//! Steps and what they need: a directed graph without cycles, and its order.
//!
//! Knows names and needs only; what a step does is its executor's.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{RetryError, RetryPolicy};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name, unique in its graph.
    pub name: String,
    /// The steps that must have succeeded before. Default: none.
    #[serde(default)]
    pub needs: Vec<String>,
    /// When it is tried again. Default: [`RetryPolicy::default`].
    #[serde(default)]
    pub retry: RetryPolicy,
}

impl Step {
    /// A step with what it needs and the usual retries.
    pub fn new(name: impl Into<String>, needs: &[&str]) -> Self {
        let needs = needs.iter().map(|n| (*n).to_owned()).collect();
        Self { name: name.into(), needs, retry: RetryPolicy::default() }
    }

    /// The same step with another policy.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }
}

/// Why steps form no graph that can be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two steps of one name.
    #[error("step `{0}` is there twice: give each step its own name")]
    Duplicate(String),
    /// A step needs one that is not there.
    #[error("step `{step}` needs `{need}`, which is not there (steps: {present})")]
    Unknown {
        /// The step.
        step: String,
        /// What it needs.
        need: String,
        /// The steps there are.
        present: String,
    },
    /// Steps need each other in a ring.
    #[error("steps wait for each other: {}", ring(.0))]
    Cycle(Vec<String>),
    /// A step's retry policy cannot be meant.
    #[error("step `{step}`: {error}")]
    Retry {
        /// The step.
        step: String,
        /// What is wrong with its policy.
        error: RetryError,
    },
}

/// `a needs b needs a`.
fn ring(names: &[String]) -> String {
    let closed = names.iter().chain(names.first());
    closed.map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" needs ")
}

/// Steps in an order in which each stands after all that it needs. Among steps that
/// could stand at one place, the one that was declared first does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Graph {
    steps: Vec<Step>,
    #[serde(skip)]
    needs: Vec<Vec<usize>>,
}

impl Graph {
    /// Orders steps.
    ///
    /// # Errors
    /// When a name is there twice, a need is not there, or steps form a cycle; the
    /// error names them.
    pub fn new(steps: Vec<Step>) -> Result<Self, GraphError> {
        let mut index: BTreeMap<&str, usize> = BTreeMap::new();
        for (i, step) in steps.iter().enumerate() {
            if index.insert(&step.name, i).is_some() {
                return Err(GraphError::Duplicate(step.name.clone()));
            }
            if let Err(error) = step.retry.validate() {
                return Err(GraphError::Retry { step: step.name.clone(), error });
            }
        }
        let mut needs: Vec<BTreeSet<usize>> = Vec::with_capacity(steps.len());
        for step in &steps {
            let of = |need: &String| {
                index.get(need.as_str()).copied().ok_or_else(|| GraphError::Unknown {
                    step: step.name.clone(),
                    need: need.clone(),
                    present: steps.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", "),
                })
            };
            needs.push(step.needs.iter().map(of).collect::<Result<_, _>>()?);
        }
        let order = order(&needs).map_err(|ring| {
            GraphError::Cycle(ring.iter().map(|&i| steps[i].name.clone()).collect())
        })?;
        let mut place = vec![0; steps.len()];
        for (at, &i) in order.iter().enumerate() {
            place[i] = at;
        }
        let mut slots: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
        let ordered = order.iter().filter_map(|&i| slots[i].take()).collect();
        let needs = order.iter().map(|&i| needs[i].iter().map(|&n| place[n]).collect()).collect();
        Ok(Self { steps: ordered, needs })
    }

    /// The steps in their order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The number of steps.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The place of a step in the order.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|s| s.name == name)
    }

    /// The places of what a step needs directly.
    ///
    /// # Panics
    /// When there is no such place.
    pub fn needs(&self, place: usize) -> &[usize] {
        &self.needs[place]
    }

    /// The names of all steps that come before a step because it needs them, itself
    /// included, in order; empty when there is no such step.
    pub fn upstream(&self, name: &str) -> Vec<&str> {
        let Some(target) = self.place(name) else { return Vec::new() };
        let mut taken = BTreeSet::from([target]);
        for place in (0..=target).rev() {
            if taken.contains(&place) {
                taken.extend(&self.needs[place]);
            }
        }
        taken.into_iter().map(|i| self.steps[i].name.as_str()).collect()
    }

    /// The places of all steps that need a step, directly or not, in order.
    pub(crate) fn downstream(&self, place: usize) -> Vec<usize> {
        let mut taken = BTreeSet::from([place]);
        for later in place + 1..self.len() {
            if self.needs[later].iter().any(|n| taken.contains(n)) {
                taken.insert(later);
            }
        }
        taken.remove(&place);
        taken.into_iter().collect()
    }

    /// The graph of some steps and all that they need.
    ///
    /// # Errors
    /// When a name is not there.
    pub fn only(&self, names: &[&str]) -> Result<Self, GraphError> {
        let mut taken = BTreeSet::new();
        for name in names {
            if self.place(name).is_none() {
                let present: Vec<_> = self.steps.iter().map(|s| s.name.as_str()).collect();
                let (step, need) = ("the selection".to_owned(), (*name).to_owned());
                return Err(GraphError::Unknown { step, need, present: present.join(", ") });
            }
            taken.extend(self.upstream(name));
        }
        Self::new(self.steps.iter().filter(|s| taken.contains(s.name.as_str())).cloned().collect())
    }
}

impl<'de> Deserialize<'de> for Graph {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Steps {
            steps: Vec<Step>,
        }
        let steps = Steps::deserialize(deserializer)?.steps;
        Self::new(steps).map_err(serde::de::Error::custom)
    }
}

/// An order by needs (Kahn, 1962), or the members of a ring in the order of needing.
fn order(needs: &[BTreeSet<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut left: Vec<usize> = needs.iter().map(BTreeSet::len).collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (i, of) in needs.iter().enumerate() {
        for &n in of {
            needed_by[n].push(i);
        }
    }
    let mut free: BTreeSet<usize> = (0..needs.len()).filter(|&i| left[i] == 0).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(i) = free.pop_first() {
        order.push(i);
        for &later in &needed_by[i] {
            left[later] -= 1;
            if left[later] == 0 {
                free.insert(later);
            }
        }
    }
    if order.len() == needs.len() {
        return Ok(order);
    }
    // What is left waits for something that is left: walking along the needs must come
    // back to a step already met.
    let stuck = |i: &usize| left[*i] > 0;
    let mut walk: Vec<usize> = (0..needs.len()).filter(stuck).take(1).collect();
    while let Some(&last) = walk.last() {
        let Some(next) = needs[last].iter().copied().find(stuck) else { break };
        if let Some(start) = walk.iter().position(|&w| w == next) {
            return Err(walk.split_off(start));
        }
        walk.push(next);
    }
    Err(walk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(graph: &Graph) -> Vec<&str> {
        graph.steps().iter().map(|s| s.name.as_str()).collect()
    }

    #[test]
    fn steps_stand_after_what_they_need() {
        let graph = Graph::new(vec![
            Step::new("report", &["train", "gate"]),
            Step::new("train", &["features"]),
            Step::new("extract", &[]),
            Step::new("features", &["gate"]),
            Step::new("gate", &["extract"]),
        ])
        .unwrap();
        assert_eq!(names(&graph), ["extract", "gate", "features", "train", "report"]);
        assert_eq!(graph.upstream("features"), ["extract", "gate", "features"]);
        assert_eq!(names(&graph.only(&["features"]).unwrap()), ["extract", "gate", "features"]);
        let error = graph.only(&["deploy"]).unwrap_err().to_string();
        assert!(error.starts_with("step `the selection` needs `deploy`"), "{error}");
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        let error = |steps| Graph::new(steps).unwrap_err().to_string();
        assert_eq!(
            error(vec![
                Step::new("extract", &[]),
                Step::new("a", &["extract", "c"]),
                Step::new("b", &["a"]),
                Step::new("c", &["b"]),
                Step::new("d", &["c"]),
            ]),
            "steps wait for each other: `a` needs `c` needs `b` needs `a`"
        );
        assert_eq!(error(vec![Step::new("a", &["a"])]), "steps wait for each other: `a` needs `a`");
        assert_eq!(
            error(vec![Step::new("a", &[]), Step::new("a", &[])]),
            "step `a` is there twice: give each step its own name"
        );
        assert_eq!(
            error(vec![Step::new("a", &["b"])]),
            "step `a` needs `b`, which is not there (steps: a)"
        );
    }

    /// A graph without a ring: each step needs some of those before it, and all are
    /// declared in a shuffled order.
    fn acyclic() -> impl Strategy<Value = Vec<Step>> {
        let edges =
            prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 1..14);
        edges
            .prop_map(|edges| {
                let step = |(i, needs): (usize, Vec<prop::sample::Index>)| {
                    let needs = needs.iter().filter(|_| i > 0).map(|n| format!("s{}", n.index(i)));
                    Step { needs: needs.collect(), ..Step::new(format!("s{i}"), &[]) }
                };
                edges.into_iter().enumerate().map(step).collect::<Vec<_>>()
            })
            .prop_shuffle()
    }

    proptest! {
        #[test]
        fn every_need_stands_before_its_step(steps in acyclic()) {
            let graph = Graph::new(steps.clone()).unwrap();
            prop_assert_eq!(graph.len(), steps.len());
            for step in &steps {
                for need in &step.needs {
                    prop_assert!(graph.place(need) < graph.place(&step.name));
                }
            }
        }

        #[test]
        fn a_ring_is_found_and_named(
            steps in acyclic(), a: prop::sample::Index, b: prop::sample::Index,
        ) {
            let graph = Graph::new(steps).unwrap();
            let (a, b) = (a.index(graph.len()), b.index(graph.len()));
            let mut steps = graph.steps().to_vec();
            let (early, late) = (steps[a.min(b)].name.clone(), steps[a.max(b)].name.clone());
            // The early step now needs the late one, and the late one the early one.
            steps[a.min(b)].needs.push(late);
            steps[a.max(b)].needs.push(early);
            let Err(GraphError::Cycle(ring)) = Graph::new(steps.clone()) else {
                return Err(TestCaseError::fail("the ring was not seen"));
            };
            let needs = |name: &str| &steps.iter().find(|s| s.name == name).unwrap().needs;
            for (i, name) in ring.iter().enumerate() {
                prop_assert!(needs(name).contains(&ring[(i + 1) % ring.len()]));
            }
        }
    }
}
