//! The evaluation of a set's graph over one frame, every node once.
//!
//! The columns that a set exports lie side by side in one piece of memory, because the
//! system hands out one large piece much faster than many small ones. Other nodes have
//! their own column, dropped after its last reader.

use foretell_market::Timestamp;
use foretell_panel::Frame;
use foretell_panel::arrow::buffer::ScalarBuffer;

use crate::FeatureError;
use crate::definition::Kernel;
use crate::graph::{Input, Node};
use crate::kernel::calendar;
use crate::kernel::rolling::{self, Request, Statistic};
use crate::recursion::Recursion;
use crate::runs::{self, Runs};
use crate::set::FeatureSet;
use crate::workspace::{Workspace, zeros};

/// Where a node's values are.
#[derive(Clone)]
enum Place {
    /// Not computed, or dropped.
    Nowhere,
    /// In the shared piece of memory, at this column.
    Slot(usize),
    /// In a buffer of its own, or one of the frame.
    Own(ScalarBuffer<f64>),
}

/// What a kernel may read: the frame, and the nodes before it.
struct Reader<'a> {
    frame: &'a Frame,
    places: &'a [Place],
    done: &'a [f64],
}

impl Reader<'_> {
    fn values(&self, input: &Input) -> &[f64] {
        let rows = self.frame.len();
        match input {
            Input::Column(name) => self.frame.column(name).expect("required columns were checked"),
            Input::Node(index) => match &self.places[*index] {
                Place::Slot(slot) => &self.done[slot * rows..(slot + 1) * rows],
                Place::Own(buffer) => buffer,
                Place::Nowhere => unreachable!("inputs come before their readers"),
            },
        }
    }
}

/// Evaluates every node, and keeps the values of those that a feature names; others are
/// dropped after their last reader.
pub(crate) fn evaluate(
    set: &FeatureSet,
    frame: &Frame,
    workspace: &mut Workspace,
) -> Result<Vec<Option<ScalarBuffer<f64>>>, FeatureError> {
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
    let contiguous = runs::contiguous(frame.rows(), frame.interval());
    let views_lags = contiguous.len() <= 1;
    let needs_slot = |i: usize| match nodes[i].kind.kernel {
        Kernel::Share => false,
        Kernel::Lag => last_reader[i] == usize::MAX && !views_lags,
        _ => last_reader[i] == usize::MAX,
    };
    let exported: Vec<bool> = (0..nodes.len()).map(needs_slot).collect();
    let slots = exported.iter().filter(|e| **e).count();
    workspace.begin();
    let mut stage = Stage {
        frame,
        nodes,
        exported,
        slab: workspace.take(slots * frame.len()),
        workspace,
        used: 0,
        places: vec![Place::Nowhere; nodes.len()],
        contiguous,
        finite: Vec::new(),
        padded: Vec::new(),
    };
    for (i, node) in nodes.iter().enumerate() {
        if matches!(stage.places[i], Place::Nowhere) {
            match node.kind.kernel {
                Kernel::Share => stage.places[i] = stage.share(&node.inputs[0]),
                Kernel::Lag if views_lags => {
                    let view = stage.lagged_view(node);
                    stage.places[i] = Place::Own(view);
                }
                Kernel::Lag => stage.pairs(i, |_, past, out| out.copy_from_slice(past)),
                Kernel::Pair(f) => stage.pairs(i, f),
                Kernel::Clock(value, span) => stage.clock(i, value, span),
                Kernel::Rolling(_) => stage.roll(i),
                Kernel::Run(f) => stage.run(i, f),
                Kernel::Recursion(new) => stage.recursion(i, new),
            }
        }
        for j in (0..=i).filter(|&j| last_reader[j] <= i) {
            stage.places[j] = Place::Nowhere;
        }
    }
    let rows = frame.len();
    let slab: ScalarBuffer<f64> = stage.slab.into();
    stage.workspace.hold(&slab);
    stage.workspace.end();
    let value = |place: Place| match place {
        Place::Nowhere => None,
        Place::Slot(slot) => Some(slab.slice(slot * rows, rows)),
        Place::Own(buffer) => Some(buffer),
    };
    Ok(stage.places.into_iter().map(value).collect())
}

/// The frame and what has been computed from it so far.
struct Stage<'a> {
    frame: &'a Frame,
    nodes: &'a [Node],
    /// Which nodes have a column in the shared piece of memory.
    exported: Vec<bool>,
    slab: Vec<f64>,
    workspace: &'a mut Workspace,
    /// How many columns of the slab are taken.
    used: usize,
    places: Vec<Place>,
    /// Runs of rows without a missing interval.
    contiguous: Runs,
    /// Runs of finite values of the inputs asked for so far.
    finite: Vec<(Input, Runs)>,
    /// Inputs behind as many missing values as the longest lag of theirs.
    padded: Vec<(Input, usize, ScalarBuffer<f64>)>,
}

impl Stage<'_> {
    /// Gives columns to nodes and lets `write` fill them from what is there.
    fn write(&mut self, nodes: &[usize], write: impl FnOnce(&Reader<'_>, &mut [&mut [f64]])) {
        let rows = self.frame.len();
        let wanted = nodes.iter().filter(|&&i| self.exported[i]).count();
        let (done, rest) = self.slab.split_at_mut(self.used * rows);
        let reader = Reader { frame: self.frame, places: &self.places, done };
        let mut own: Vec<Vec<f64>> =
            nodes.iter().filter(|&&i| !self.exported[i]).map(|_| zeros(rows)).collect();
        // Zero rows have zero columns of zero length, which `chunks_mut` cannot give.
        let mut slots = rest[..wanted * rows].chunks_mut(rows.max(1));
        let mut owned = own.iter_mut();
        let mut outs: Vec<&mut [f64]> = Vec::with_capacity(nodes.len());
        for &i in nodes {
            let out = if self.exported[i] {
                slots.next().unwrap_or_default()
            } else {
                owned.next().map(Vec::as_mut_slice).unwrap_or_default()
            };
            outs.push(out);
        }
        write(&reader, &mut outs);
        let mut own = own.into_iter();
        for &i in nodes {
            self.places[i] = if self.exported[i] {
                self.used += 1;
                Place::Slot(self.used - 1)
            } else {
                Place::Own(own.next().unwrap_or_default().into())
            };
        }
    }

    fn share(&self, input: &Input) -> Place {
        match input {
            Input::Column(name) => {
                let column = self.frame.columns().iter().find(|c| c.name == *name);
                Place::Own(column.expect("required columns were checked").values.clone())
            }
            Input::Node(index) => self.places[*index].clone(),
        }
    }

    /// The runs in which every input has a finite value.
    fn joint_runs(&mut self, inputs: &[Input]) -> Runs {
        let mut joint: Option<Runs> = None;
        for input in inputs {
            let at = match self.finite.iter().position(|(known, _)| known == input) {
                Some(at) => at,
                None => {
                    let (frame, places, done) = (self.frame, &self.places[..], &self.slab[..]);
                    let reader = Reader { frame, places, done };
                    let found = runs::finite(&self.contiguous, reader.values(input));
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

    /// From the rows' own times.
    fn clock(&mut self, i: usize, value: fn(Timestamp) -> f64, span: calendar::Span) {
        let step = self.frame.interval().secs();
        let ahead = self.nodes[i].numbers[0] as i64 * step;
        let contiguous = self.contiguous.clone();
        self.write(&[i], |reader, outs| {
            for run in contiguous {
                let start = reader.frame.rows()[run.start].time.plus_secs(ahead);
                calendar::fill(value, span, start, step, &mut outs[0][run]);
            }
        });
    }

    /// Run by run, from inputs without a missing value.
    fn run(&mut self, i: usize, kernel: fn(&[f64], &[&[f64]], &mut [f64])) {
        let node = &self.nodes[i];
        let runs = self.joint_runs(&node.inputs);
        self.write(&[i], |reader, outs| {
            let out = &mut *outs[0];
            let inputs: Vec<&[f64]> = node.inputs.iter().map(|i| reader.values(i)).collect();
            let mut slices: Vec<&[f64]> = Vec::with_capacity(inputs.len());
            let mut done = 0;
            for run in runs {
                out[done..run.start].fill(f64::NAN);
                slices.clear();
                slices.extend(inputs.iter().map(|x| &x[run.clone()]));
                kernel(&node.numbers, &slices, &mut out[run.clone()]);
                done = run.end;
            }
            out[done..].fill(f64::NAN);
        });
    }

    /// The input moved by a number of intervals, in a frame without a gap: all lags of
    /// an input are views of one buffer that begins with missing values.
    fn lagged_view(&mut self, node: &Node) -> ScalarBuffer<f64> {
        let (input, steps, rows) = (&node.inputs[0], node.numbers[0] as usize, self.frame.len());
        let at = match self.padded.iter().position(|(known, ..)| known == input) {
            Some(at) => at,
            None => {
                let alike =
                    |n: &&Node| matches!(n.kind.kernel, Kernel::Lag) && n.inputs[0] == *input;
                let lags = self.nodes.iter().filter(alike).map(|n| n.numbers[0] as usize);
                let longest = lags.max().unwrap_or(steps);
                let (frame, places, done) = (self.frame, &self.places[..], &self.slab[..]);
                let reader = Reader { frame, places, done };
                let mut padded = self.workspace.take(longest + rows);
                padded[..longest].fill(f64::NAN);
                padded[longest..].copy_from_slice(reader.values(input));
                let padded = padded.into();
                self.workspace.hold(&padded);
                self.padded.push((input.clone(), longest, padded));
                self.padded.len() - 1
            }
        };
        let (_, longest, buffer) = &self.padded[at];
        buffer.slice(longest - steps, rows)
    }

    /// A cell against the one a number of intervals before it, wherever that row stands.
    fn pairs(&mut self, i: usize, kernel: fn(&[f64], &[f64], &mut [f64])) {
        let node = &self.nodes[i];
        let steps = node.numbers[0] as usize;
        let contiguous = self.contiguous.clone();
        self.write(&[i], |reader, outs| {
            let (x, out) = (reader.values(&node.inputs[0]), &mut *outs[0]);
            let rows = reader.frame.rows();
            let back = steps as i64 * reader.frame.interval().micros();
            for run in contiguous {
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
        });
    }

    /// Every rolling statistic of one input in one pass, node `first` and later ones.
    fn roll(&mut self, first: usize) {
        let inputs = &self.nodes[first].inputs;
        let asked: Vec<(usize, Statistic, usize)> = (first..self.nodes.len())
            .filter(|&j| self.nodes[j].inputs == *inputs)
            .filter_map(|j| match self.nodes[j].kind.kernel {
                Kernel::Rolling(statistic) => {
                    Some((j, statistic, self.nodes[j].numbers[0] as usize))
                }
                _ => None,
            })
            .collect();
        let runs = self.joint_runs(inputs);
        let nodes: Vec<usize> = asked.iter().map(|(j, ..)| *j).collect();
        self.write(&nodes, |reader, outs| {
            let x = reader.values(&inputs[0]);
            let mut done = 0;
            for run in runs.into_iter().chain(std::iter::once(x.len()..x.len())) {
                for out in outs.iter_mut() {
                    out[done..run.start].fill(f64::NAN);
                }
                let mut requests: Vec<Request<'_>> = asked
                    .iter()
                    .zip(outs.iter_mut())
                    .map(|(&(_, statistic, width), out)| Request {
                        statistic,
                        width,
                        out: &mut out[run.clone()],
                    })
                    .collect();
                rolling::roll(&x[run.clone()], &mut requests);
                done = run.end;
            }
        });
    }

    /// Feeds a memory from its origin. A later node of the same kind on the same inputs is
    /// fed along.
    fn recursion(&mut self, i: usize, new: fn(&[f64]) -> Recursion) {
        let node = &self.nodes[i];
        let alike = |j: &usize| {
            let other = &self.nodes[*j];
            std::ptr::eq(other.kind, node.kind) && other.inputs == node.inputs
        };
        let waits = |j: &usize| matches!(self.places[*j], Place::Nowhere);
        let mut group = vec![i];
        group.extend((i + 1..self.nodes.len()).filter(alike).find(waits));
        let mut fed: Vec<Recursion> = group.iter().map(|&j| new(&self.nodes[j].numbers)).collect();
        let runs = self.joint_runs(&node.inputs);
        self.write(&group, |reader, outs| {
            let inputs: Vec<&[f64]> = node.inputs.iter().map(|i| reader.values(i)).collect();
            let rows = reader.frame.rows();
            let interval = reader.frame.interval();
            let mut done = 0;
            let mut last = None;
            for run in runs {
                let first = rows[run.start].time;
                let missing = last.map_or(0, |last| interval.steps(last, first) - 1);
                let missing = missing.max(0) as u64;
                let slices: Vec<&[f64]> = inputs.iter().map(|x| &x[run.clone()]).collect();
                for out in outs.iter_mut() {
                    out[done..run.start].fill(f64::NAN);
                }
                match (&mut fed[..], &mut *outs) {
                    ([a, b], [x, y]) => Recursion::run_two(
                        (a, b),
                        missing,
                        &slices,
                        (&mut x[run.clone()], &mut y[run.clone()]),
                    ),
                    (fed, outs) => fed[0].run(missing, &slices, &mut outs[0][run.clone()]),
                }
                last = Some(rows[run.end - 1].time);
                done = run.end;
            }
            for out in outs.iter_mut() {
                out[done..].fill(f64::NAN);
            }
        });
    }
}
