//! From a frame to its features: every node once, straight into its own column.

use std::ops::Range;

use foretell_market::{RowFlags, Timestamp};
use foretell_panel::arrow::buffer::ScalarBuffer;
use foretell_panel::{Column, Frame, RowMeta};

use crate::FeatureError;
use crate::definition::Kernel;
use crate::graph::{Input, Node};
use crate::kernel::calendar;
use crate::recursion::Recursion;
use crate::runs::{self, Runs};
use crate::set::FeatureSet;

/// A recursive node's memory after the last row that it was fed.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Fed {
    pub(crate) memory: Recursion,
    /// The open time of the last fed row.
    pub(crate) last: Option<Timestamp>,
}

/// What a continued computation brings along: for each recursive node (in node order)
/// its memory and its values of the rows already seen.
pub(crate) struct Resume<'a> {
    /// How many rows of the frame have been seen.
    pub(crate) seen: usize,
    pub(crate) nodes: &'a [(Fed, Vec<f64>)],
}

/// All node values, and the memories of the recursive ones.
pub(crate) struct Evaluated {
    pub(crate) values: Vec<Option<ScalarBuffer<f64>>>,
    pub(crate) fed: Vec<Fed>,
}

/// Computes every feature of a set.
///
/// The result has the frame's rows (a missing interval has no row) and one column per
/// feature, NaN while it warms up, when its window has a missing interval, and where
/// its value would not be finite. A row's `known_at` is the latest of all rows that its
/// features read, and its flags are those of its window, or-ed.
///
/// # Errors
/// When the frame lacks a column that the set reads.
pub fn compute(set: &FeatureSet, frame: &Frame) -> Result<Frame, FeatureError> {
    let evaluated = evaluate(set, frame, None, false)?;
    frame_of(set, frame, evaluated)
}

/// The feature frame of evaluated nodes.
pub(crate) fn frame_of(
    set: &FeatureSet,
    frame: &Frame,
    evaluated: Evaluated,
) -> Result<Frame, FeatureError> {
    let columns = set.features.iter().map(|f| Column {
        name: f.name.clone(),
        values: evaluated.values[f.node].clone().expect("the values of a feature are kept"),
    });
    let columns = columns.collect();
    let rows = window_meta(frame, set.warm_up(), set.is_recursive());
    Ok(Frame::new(frame.instrument().clone(), frame.interval(), rows, columns)?)
}

/// Evaluates every node; those that no feature names are dropped after their last
/// reader unless all are to be kept.
pub(crate) fn evaluate(
    set: &FeatureSet,
    frame: &Frame,
    resume: Option<&Resume<'_>>,
    keep_all: bool,
) -> Result<Evaluated, FeatureError> {
    for column in set.inputs() {
        frame.require(column)?;
    }
    let nodes = &set.graph.nodes;
    let mut last_reader: Vec<usize> = (0..nodes.len()).collect();
    for (i, node) in nodes.iter().enumerate() {
        for input in &node.inputs {
            if let Input::Node(j) = input {
                last_reader[*j] = i;
            }
        }
    }
    for feature in &set.features {
        last_reader[feature.node] = usize::MAX;
    }
    let mut stage = Stage {
        frame,
        contiguous: runs::contiguous(frame.rows(), frame.interval()),
        values: vec![None; nodes.len()],
        finite: Vec::new(),
    };
    let mut fed = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        let brought = resume.and_then(|r| r.nodes.get(fed.len()).map(|node| (r.seen, node)));
        let values = match node.kernel_kind() {
            Kernel::Recursion(new) => {
                let (values, memory) = stage.recursive(node, new, brought);
                fed.push(memory);
                values.into()
            }
            Kernel::Share => stage.shared(&node.inputs[0]),
            kernel => stage.plain(node, kernel).into(),
        };
        stage.values[i] = Some(values);
        if !keep_all {
            for j in (0..i).filter(|&j| last_reader[j] == i) {
                stage.values[j] = None;
            }
        }
    }
    Ok(Evaluated { values: stage.values, fed })
}

impl Node {
    fn kernel_kind(&self) -> Kernel {
        self.kind.kernel
    }
}

/// The frame and what has been computed from it so far.
struct Stage<'a> {
    frame: &'a Frame,
    contiguous: Runs,
    values: Vec<Option<ScalarBuffer<f64>>>,
    /// Runs of finite values of the inputs asked for so far.
    finite: Vec<(Input, Runs)>,
}

impl Stage<'_> {
    fn shared(&self, input: &Input) -> ScalarBuffer<f64> {
        match input {
            Input::Column(name) => {
                let column = self.frame.columns().iter().find(|c| c.name == *name);
                column.expect("required columns were checked").values.clone()
            }
            Input::Node(index) => {
                self.values[*index].clone().expect("inputs come before their readers")
            }
        }
    }

    /// The runs in which every input has a finite value.
    fn joint_runs(&mut self, inputs: &[Input], buffers: &[ScalarBuffer<f64>]) -> Runs {
        let mut joint: Option<Runs> = None;
        for (input, values) in inputs.iter().zip(buffers) {
            let at = match self.finite.iter().position(|(known, _)| known == input) {
                Some(at) => at,
                None => {
                    let found = runs::finite(&self.contiguous, values);
                    self.finite.push((input.clone(), found));
                    self.finite.len() - 1
                }
            };
            let own = &self.finite[at].1;
            joint = Some(match joint {
                None => own.clone(),
                Some(so_far) if so_far == *own => so_far,
                Some(so_far) => runs::intersect(&so_far, own),
            });
        }
        joint.unwrap_or_else(|| self.contiguous.clone())
    }

    fn plain(&mut self, node: &Node, kernel: Kernel) -> Vec<f64> {
        let buffers: Vec<_> = node.inputs.iter().map(|i| self.shared(i)).collect();
        // Fresh zero pages cost nothing until they are written, and every cell is
        // written once: by a kernel inside runs, as NaN between them.
        let mut out = vec![0.0; self.frame.len()];
        match kernel {
            Kernel::Clock(value, span) => {
                let ahead = node.numbers[0] as i64 * self.frame.interval().secs();
                let times = self.frame.rows().iter().map(|r| r.time.plus_secs(ahead));
                calendar::fill(value, span, times, &mut out);
            }
            Kernel::Pair(f) => self.pairs(f, node.numbers[0] as usize, &buffers[0], &mut out),
            Kernel::Run(f) => {
                let runs = self.joint_runs(&node.inputs, &buffers);
                let mut done = 0;
                let mut slices: Vec<&[f64]> = Vec::with_capacity(buffers.len());
                for run in runs {
                    out[done..run.start].fill(f64::NAN);
                    slices.clear();
                    slices.extend(buffers.iter().map(|b| &b[run.clone()]));
                    f(&node.numbers, &slices, &mut out[run.clone()]);
                    done = run.end;
                }
                out[done..].fill(f64::NAN);
            }
            Kernel::Share | Kernel::Recursion(_) => unreachable!("handled by the caller"),
        }
        out
    }

    /// A cell against the one `steps` intervals before it, wherever that row stands.
    fn pairs(
        &self,
        kernel: fn(&[f64], &[f64], &mut [f64]),
        steps: usize,
        x: &[f64],
        out: &mut [f64],
    ) {
        let rows = self.frame.rows();
        let back = steps as i64 * self.frame.interval().micros();
        for run in &self.contiguous {
            let split = (run.start + steps).min(run.end);
            let earlier = |i: usize| {
                let wanted = Timestamp::from_micros(rows[i].time.micros() - back);
                let found = rows[..run.start].binary_search_by_key(&wanted, |r| r.time);
                found.map_or(f64::NAN, |j| x[j])
            };
            let past: Vec<f64> = (run.start..split).map(earlier).collect();
            kernel(&x[run.start..split], &past, &mut out[run.start..split]);
            if split < run.end {
                let past = &x[split - steps..run.end - steps];
                kernel(&x[split..run.end], past, &mut out[split..run.end]);
            }
        }
    }

    fn recursive(
        &mut self,
        node: &Node,
        new: fn(&[f64]) -> Recursion,
        brought: Option<(usize, &(Fed, Vec<f64>))>,
    ) -> (Vec<f64>, Fed) {
        let buffers: Vec<_> = node.inputs.iter().map(|i| self.shared(i)).collect();
        let runs = self.joint_runs(&node.inputs, &buffers);
        let mut out = vec![0.0; self.frame.len()];
        let (mut done, mut fed) = match brought {
            Some((seen, (fed, values))) => {
                out[..seen].copy_from_slice(values);
                (seen, fed.clone())
            }
            None => (0, Fed { memory: new(&node.numbers), last: None }),
        };
        let rows = self.frame.rows();
        let interval = self.frame.interval();
        for run in runs {
            let run: Range<usize> = run.start.max(done)..run.end;
            if run.is_empty() {
                continue;
            }
            out[done..run.start].fill(f64::NAN);
            let missing = fed.last.map_or(0, |last| interval.steps(last, rows[run.start].time) - 1);
            let slices: Vec<&[f64]> = buffers.iter().map(|b| &b[run.clone()]).collect();
            fed.memory.run(missing.max(0) as u64, &slices, &mut out[run.clone()]);
            fed.last = Some(rows[run.end - 1].time);
            done = run.end;
        }
        out[done..].fill(f64::NAN);
        (out, fed)
    }
}

/// Per row, the latest known-at time and all flags of its window of `warm_up + 1`
/// intervals; of all earlier rows for the known-at time when a feature is recursive.
pub(crate) fn window_meta(frame: &Frame, warm_up: usize, recursive: bool) -> Vec<RowMeta> {
    let rows = frame.rows();
    let reach = warm_up as i64 * frame.interval().micros();
    let mut out = Vec::with_capacity(rows.len());
    // For each flag, the time of the last row that carried it.
    let mut marked = [i64::MIN; 32];
    let mut any = 0u32;
    // The row with the latest known-at time among those still inside the window.
    let mut latest = 0;
    for (i, row) in rows.iter().enumerate() {
        let from = row.time.micros().saturating_sub(reach);
        let mut bits = row.flags.bits();
        any |= bits;
        while bits != 0 {
            marked[bits.trailing_zeros() as usize] = row.time.micros();
            bits &= bits - 1;
        }
        let mut flags = 0;
        let mut candidates = any;
        while candidates != 0 {
            let bit = candidates.trailing_zeros();
            flags |= u32::from(marked[bit as usize] >= from) << bit;
            candidates &= candidates - 1;
        }
        if row.known_at >= rows[latest].known_at {
            latest = i;
        } else if !recursive && rows[latest].time.micros() < from {
            let first = rows[..=i].partition_point(|r| r.time.micros() < from);
            latest = (first..=i).max_by_key(|&j| rows[j].known_at).unwrap_or(i);
        }
        let known_at = rows[latest].known_at;
        out.push(RowMeta { known_at, flags: RowFlags::from_bits(flags), ..*row });
    }
    out
}
