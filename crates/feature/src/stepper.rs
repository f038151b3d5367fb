//! A feature set worked out for streams: what each node reads, and for how long it is kept.

use std::sync::Arc;

use foretell_market::{Fingerprint, FingerprintHasher, Instrument, Interval, Timestamp};

use crate::FeatureError;
use crate::context::{ContextSpec, Variance};
use crate::definition::Kernel;
use crate::graph::{Graph, Input, Node};
use crate::history::{Fed, History, Kept};
use crate::kernel::rolling::Statistic;
use crate::label::LabelSpec;
use crate::live::RowState;
use crate::recursion::Recursion;
use crate::returns::ReturnWindows;
use crate::set::FeatureSet;

/// The most columns that a kernel reads.
pub(crate) const MOST_INPUTS: usize = 8;

/// How a node's value of one row is made.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// From the row's time, moved by seconds.
    Clock(fn(Timestamp) -> f64, i64),
    /// From a value and the one some intervals ago.
    Pair(fn(&[f64], &[f64], &mut [f64]), usize),
    /// The value some intervals ago.
    Lag(usize),
    /// From the last values.
    Rolling(Statistic, usize),
    /// From the last values of several columns.
    Run(fn(&[f64], &[&[f64]], &mut [f64]), usize),
    /// From the memory with this number.
    Recursion(usize),
}

/// A node that computes something.
pub(crate) struct Stepped {
    pub(crate) step: Step,
    pub(crate) numbers: Vec<f64>,
    /// The columns that it reads.
    pub(crate) inputs: Vec<usize>,
    /// The column that it writes.
    pub(crate) column: usize,
}

/// The columns of the context.
pub(crate) struct ContextColumns {
    pub(crate) horizon: usize,
    pub(crate) season: usize,
    pub(crate) price: usize,
    pub(crate) returns: usize,
    pub(crate) squares: usize,
    /// The most returns that its windows hold.
    pub(crate) reach: usize,
    pub(crate) widths: [usize; 4],
}

/// Makes the rows of one set, context and label on one interval, one after the other, for
/// any number of instruments: each has its [`RowState`].
///
/// A row costs what its windows hold: nothing is computed for the rows before it.
pub struct RowStepper {
    pub(crate) made_for: Fingerprint,
    pub(crate) feature_set: Fingerprint,
    pub(crate) interval: Interval,
    pub(crate) spec: ContextSpec,
    pub(crate) price_column: String,
    pub(crate) inputs: Vec<String>,
    pub(crate) nodes: Vec<Stepped>,
    /// Per column, where its last values are kept; `None` where only the row's own is read.
    pub(crate) kept: Vec<Option<Kept>>,
    /// How many numbers and how many columns are kept.
    pub(crate) size: (usize, usize),
    /// The memories before the first row.
    pub(crate) origins: Vec<Recursion>,
    /// The column of each feature.
    pub(crate) features: Vec<usize>,
    pub(crate) context: ContextColumns,
    pub(crate) names: Arc<[String]>,
    pub(crate) context_names: Arc<[String]>,
    /// How many intervals before a row its window begins.
    pub(crate) reach: usize,
    /// The value of each column in the row at hand.
    pub(crate) now: Vec<f64>,
    /// What a kernel writes.
    pub(crate) out: Vec<f64>,
}

impl std::fmt::Debug for RowStepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowStepper").field("made_for", &self.made_for).finish_non_exhaustive()
    }
}

/// Columns while they are planned: how many of the last values of each are read.
struct Depths(Vec<usize>);

impl Depths {
    fn column(&mut self) -> usize {
        self.0.push(1);
        self.0.len() - 1
    }

    fn need(&mut self, column: usize, values: usize) {
        self.0[column] = self.0[column].max(values);
    }
}

impl RowStepper {
    /// For a set, its context and its label on an interval.
    ///
    /// # Errors
    /// When horizon or season do not fit the interval.
    pub fn new(
        set: &FeatureSet,
        spec: &ContextSpec,
        label: &LabelSpec,
        interval: Interval,
    ) -> Result<Self, FeatureError> {
        label.steps(interval)?;
        let (horizon, season) = spec.steps(interval)?;
        let mut inputs: Vec<String> = set.inputs().into_iter().map(str::to_owned).collect();
        if !inputs.contains(&label.price_column) {
            inputs.push(label.price_column.clone());
        }
        let mut depths = Depths(vec![1; inputs.len()]);
        let mut origins = Vec::new();
        let (nodes, columns) = plan(&set.graph, &inputs, interval, &mut depths, &mut origins);

        let price = inputs.iter().position(|name| *name == label.price_column).unwrap_or(0);
        let reach = spec.returns.reach(interval, spec.horizon);
        let widths = ReturnWindows::widths(interval, spec.horizon);
        let (returns, squares) = (depths.column(), depths.column());
        depths.need(price, season + 1);
        depths.need(returns, spec.returns.lags.max(1));
        depths.need(squares, season.max(reach));
        let context = ContextColumns { horizon, season, price, returns, squares, reach, widths };

        let (mut end, mut index) = (0, 0);
        let keep = |&depth: &usize| {
            (depth > 1).then(|| {
                end += depth;
                index += 1;
                Kept { index: index - 1, end, depth }
            })
        };
        let kept: Vec<Option<Kept>> = depths.0.iter().map(keep).collect();
        let size = (end, index);
        let longest = depths.0.iter().copied().max().unwrap_or(1);
        let context_names = ContextSpec::NAMES.iter().map(|name| (*name).to_owned());
        Ok(Self {
            made_for: identity(set, spec, label, interval),
            feature_set: set.fingerprint(),
            interval,
            spec: *spec,
            price_column: label.price_column.clone(),
            inputs,
            nodes,
            size,
            origins,
            features: set.features.iter().map(|f| columns[f.node]).collect(),
            context,
            names: set.features.iter().map(|f| f.name.clone()).collect(),
            context_names: context_names.chain(spec.returns.names()).collect(),
            reach: set.warm_up().max(spec.warm_up(interval)),
            now: vec![f64::NAN; kept.len()],
            out: vec![f64::NAN; longest],
            kept,
        })
    }

    /// The columns that each row has to bring, in this order: those that the set reads, and
    /// the price.
    pub fn inputs(&self) -> &[String] {
        &self.inputs
    }

    /// The state before the first row of an instrument: the origin.
    pub fn origin(&self, instrument: Instrument) -> RowState {
        let depths = self.kept.iter().flatten().map(|kept| kept.depth);
        let fed = self.origins.iter().map(|memory| Fed { memory: memory.clone(), last: None });
        RowState::origin(
            self.made_for,
            instrument,
            History::new(depths),
            fed.collect(),
            Variance::new(&self.spec),
        )
    }

    /// The features of the row that was made last, missing ones (NaN) included.
    pub fn features(&self) -> impl Iterator<Item = f64> {
        self.features.iter().map(|&column| self.now[column])
    }
}

/// The steps of a graph's nodes, and the column of each node.
fn plan(
    graph: &Graph,
    inputs: &[String],
    interval: Interval,
    depths: &mut Depths,
    origins: &mut Vec<Recursion>,
) -> (Vec<Stepped>, Vec<usize>) {
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    let mut columns: Vec<usize> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let of = |input: &Input| match input {
            Input::Column(name) => inputs.iter().position(|known| known == name).unwrap_or(0),
            Input::Node(index) => columns[*index],
        };
        let read: Vec<usize> = node.inputs.iter().map(of).collect();
        let Some((step, values)) = step(node, interval, origins) else {
            // It is its input.
            columns.push(read[0]);
            continue;
        };
        for column in &read {
            depths.need(*column, values);
        }
        let column = depths.column();
        columns.push(column);
        nodes.push(Stepped { step, numbers: node.numbers.clone(), inputs: read, column });
    }
    (nodes, columns)
}

/// How a node is computed and how many of the last values of its inputs it reads; `None`
/// where it is its input.
fn step(node: &Node, interval: Interval, origins: &mut Vec<Recursion>) -> Option<(Step, usize)> {
    let first = || node.numbers[0] as usize;
    Some(match node.kind.kernel {
        Kernel::Share => return None,
        Kernel::Clock(value, _) => {
            (Step::Clock(value, node.numbers[0] as i64 * interval.secs()), 1)
        }
        Kernel::Pair(kernel) => (Step::Pair(kernel, first()), first() + 1),
        Kernel::Lag => (Step::Lag(first()), first() + 1),
        Kernel::Rolling(statistic) => (Step::Rolling(statistic, first()), first()),
        Kernel::Run(kernel) => {
            // Its own warm-up is how far it looks back at its inputs.
            let values = (node.kind.warm_up)(&node.numbers) + 1;
            (Step::Run(kernel, values), values)
        }
        Kernel::Recursion(new) => {
            origins.push(new(&node.numbers));
            (Step::Recursion(origins.len() - 1), 1)
        }
    })
}

/// What a state has to be made for to fit.
fn identity(
    set: &FeatureSet,
    spec: &ContextSpec,
    label: &LabelSpec,
    interval: Interval,
) -> Fingerprint {
    let mut hasher = FingerprintHasher::new("row-state/2");
    hasher.fingerprint(&set.fingerprint()).i64(interval.secs());
    hasher.i64(spec.horizon.secs()).i64(spec.season.secs()).f64(spec.ewma_lambda);
    hasher.u64(spec.returns.lags as u64).u64(u64::from(spec.returns.cascade));
    hasher.text(&label.price_column);
    hasher.finish()
}
