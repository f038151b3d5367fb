//! Matrices in panels of 16 columns, and the three products that training needs.
//!
//! A panel holds 16 neighbouring columns of all rows, row after row, so that every
//! product reads and writes whole vectors in order. A matrix may consist of several
//! blocks side by side (the gates of a layer), each with panels of its own. Columns that
//! fill up the last panel of a block are zero and stay zero.

#![allow(clippy::inline_always, reason = "see vector.rs")]
#![allow(clippy::needless_range_loop, reason = "two arrays of registers are walked at once")]

use std::ops::Range;

use crate::real::Real;
use crate::vector::{LANES, Lane, Task, Vector};

/// A matrix of `rows × (blocks × columns)`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Panels<T> {
    rows: usize,
    blocks: usize,
    columns: usize,
    data: Vec<Lane<T>>,
}

impl<T: Real> Panels<T> {
    /// A matrix of zeros.
    pub(crate) fn zeros(rows: usize, blocks: usize, columns: usize) -> Self {
        let data = vec![[T::ZERO; LANES]; blocks * columns.div_ceil(LANES) * rows];
        Self { rows, blocks, columns, data }
    }

    /// How many rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns a block has.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// How many blocks stand side by side.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    /// How many panels a block has.
    #[inline(always)]
    pub(crate) fn panels_of_block(&self) -> usize {
        self.columns.div_ceil(LANES)
    }

    /// How many panels there are.
    #[inline(always)]
    pub(crate) fn panels(&self) -> usize {
        self.blocks * self.panels_of_block()
    }

    /// How many columns of panel `p` are in use.
    #[inline(always)]
    fn width(&self, p: usize) -> usize {
        (self.columns - p % self.panels_of_block() * LANES).min(LANES)
    }

    /// All rows of one panel.
    #[inline(always)]
    pub(crate) fn panel(&self, p: usize) -> &[Lane<T>] {
        &self.data[p * self.rows..(p + 1) * self.rows]
    }

    /// All rows of one panel, to be written.
    #[inline(always)]
    pub(crate) fn panel_mut(&mut self, p: usize) -> &mut [Lane<T>] {
        &mut self.data[p * self.rows..(p + 1) * self.rows]
    }

    /// Everything, panel after panel.
    pub(crate) fn data(&self) -> &[Lane<T>] {
        &self.data
    }

    /// Everything, to be written.
    pub(crate) fn data_mut(&mut self) -> &mut [Lane<T>] {
        &mut self.data
    }

    /// Sets everything to zero.
    pub(crate) fn clear(&mut self) {
        self.data.fill([T::ZERO; LANES]);
    }

    /// One number; columns count through the blocks without what fills up their panels.
    pub(crate) fn get(&self, row: usize, column: usize) -> T {
        let (panel, lane) = self.place(column);
        self.panel(panel)[row][lane]
    }

    /// Sets one number.
    pub(crate) fn set(&mut self, row: usize, column: usize, value: T) {
        let (panel, lane) = self.place(column);
        self.panel_mut(panel)[row][lane] = value;
    }

    fn place(&self, column: usize) -> (usize, usize) {
        let (block, within) = (column / self.columns, column % self.columns);
        (block * self.panels_of_block() + within / LANES, within % LANES)
    }

    /// Writes the transposed matrix into `to`, whose rows are the columns of this one,
    /// those that fill up panels included.
    pub(crate) fn transpose_into(&self, to: &mut Self) {
        for p in 0..self.panels() {
            let from = &self.data[p * self.rows..(p + 1) * self.rows];
            for (r, lane) in from.iter().enumerate() {
                let panel = to.panel_mut(r / LANES);
                for (l, value) in lane.iter().enumerate() {
                    panel[p * LANES + l][r % LANES] = *value;
                }
            }
        }
    }
}

/// `out[rows] += a[rows] · b`: the reduction runs over the columns of `a`. Row `p × 16 +
/// k` of `b` belongs to column `k` of panel `p` of `a`.
#[inline(always)]
pub(crate) fn add_product<T: Real, V: Vector<T>>(
    out: (&mut Panels<T>, usize),
    a: (&Panels<T>, usize),
    rows: usize,
    b: &Panels<T>,
) {
    V::apart(Product { out, a, rows, b });
}

struct Product<'p, T> {
    out: (&'p mut Panels<T>, usize),
    a: (&'p Panels<T>, usize),
    rows: usize,
    b: &'p Panels<T>,
}

impl<T: Real> Task<T> for Product<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<T>>(self) {
        let Self { out, a, rows, b } = self;
        product::<T, V>(out, a, rows, b);
    }
}

#[inline(always)]
fn product<T: Real, V: Vector<T>>(
    (out, out_row): (&mut Panels<T>, usize),
    (a, a_row): (&Panels<T>, usize),
    rows: usize,
    b: &Panels<T>,
) {
    let mut p = 0;
    // Sums in flight hide each other's latency: few rows take more columns at once.
    // The order of each sum stays the same, so that a row alone has the bits it has among
    // others.
    while rows == 1 && p + 8 <= out.panels() && V::TALL >= 8 {
        tile::<T, V, 1, 8>((out, out_row), (a, a_row), b, p);
        p += 8;
    }
    while rows < 4 && p + 4 <= out.panels() && V::TALL >= 8 {
        rows_of::<T, V, 2, 4>((out, out_row), (a, a_row), rows, b, p);
        p += 4;
    }
    while rows < 4 && p + 2 <= out.panels() {
        rows_of::<T, V, 2, 2>((out, out_row), (a, a_row), rows, b, p);
        p += 2;
    }
    while p + 2 <= out.panels() && V::TALL >= 8 {
        rows_of::<T, V, 8, 2>((out, out_row), (a, a_row), rows, b, p);
        p += 2;
    }
    while p < out.panels() {
        match V::TALL {
            8 => rows_of::<T, V, 8, 1>((out, out_row), (a, a_row), rows, b, p),
            6 => rows_of::<T, V, 6, 1>((out, out_row), (a, a_row), rows, b, p),
            _ => rows_of::<T, V, 2, 1>((out, out_row), (a, a_row), rows, b, p),
        }
        p += 1;
    }
}

/// The columns of `P` panels, `M` rows at a time.
#[inline(always)]
fn rows_of<T: Real, V: Vector<T>, const M: usize, const P: usize>(
    (out, out_row): (&mut Panels<T>, usize),
    (a, a_row): (&Panels<T>, usize),
    rows: usize,
    b: &Panels<T>,
    p: usize,
) {
    let mut r = 0;
    while r + M <= rows {
        tile::<T, V, M, P>((out, out_row + r), (a, a_row + r), b, p);
        r += M;
    }
    while r < rows {
        tile::<T, V, 1, P>((out, out_row + r), (a, a_row + r), b, p);
        r += 1;
    }
}

#[inline(always)]
fn tile<T: Real, V: Vector<T>, const M: usize, const P: usize>(
    (out, out_row): (&mut Panels<T>, usize),
    (a, a_row): (&Panels<T>, usize),
    b: &Panels<T>,
    p: usize,
) {
    // Loops and not `array::from_fn`, which is called where it is not inlined.
    let mut sums = [[V::splat(T::ZERO); P]; M];
    for m in 0..M {
        for j in 0..P {
            sums[m][j] = V::load(&out.panel(p + j)[out_row + m]);
        }
    }
    for q in 0..a.panels() {
        let left = &a.panel(q)[a_row..a_row + M];
        let width = a.width(q);
        let mut right: [&[Lane<T>]; P] = [&[]; P];
        for j in 0..P {
            right[j] = &b.panel(p + j)[q * LANES..q * LANES + width];
        }
        for k in 0..width {
            let mut row = [V::splat(T::ZERO); P];
            for j in 0..P {
                row[j] = V::load(&right[j][k]);
            }
            for m in 0..M {
                let x = V::splat(left[m][k]);
                for j in 0..P {
                    sums[m][j] = x.muladd(row[j], sums[m][j]);
                }
            }
        }
    }
    for m in 0..M {
        for j in 0..P {
            sums[m][j].store(&mut out.panel_mut(p + j)[out_row + m]);
        }
    }
}

/// `out += aᵀ · b` over some rows of both: the gradient of a weight.
#[inline(always)]
pub(crate) fn add_outer<T: Real, V: Vector<T>>(
    out: &mut Panels<T>,
    a: (&Panels<T>, usize),
    b: (&Panels<T>, usize),
    rows: usize,
) {
    V::apart(Outer { out, a, b, rows });
}

struct Outer<'p, T> {
    out: &'p mut Panels<T>,
    a: (&'p Panels<T>, usize),
    b: (&'p Panels<T>, usize),
    rows: usize,
}

impl<T: Real> Task<T> for Outer<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<T>>(self) {
        let Self { out, a, b, rows } = self;
        outer::<T, V>(out, a, b, rows);
    }
}

#[inline(always)]
fn outer<T: Real, V: Vector<T>>(
    out: &mut Panels<T>,
    (a, a_row): (&Panels<T>, usize),
    (b, b_row): (&Panels<T>, usize),
    rows: usize,
) {
    // Blocks of rows that stay in the nearest cache while every pair of panels meets.
    let mut done = 0;
    while done < rows {
        let block = OUTER_ROWS.min(rows - done);
        outer_block::<T, V>(out, (a, a_row + done), (b, b_row + done), block);
        done += block;
    }
}

/// How many rows [`add_outer`] takes at a time.
const OUTER_ROWS: usize = 64;

#[inline(always)]
fn outer_block<T: Real, V: Vector<T>>(
    out: &mut Panels<T>,
    (a, a_row): (&Panels<T>, usize),
    (b, b_row): (&Panels<T>, usize),
    rows: usize,
) {
    for q in 0..a.panels() {
        let left = &a.panel(q)[a_row..a_row + rows];
        let width = a.width(q);
        let mut p = 0;
        while p + 2 <= b.panels() && V::TALL >= 8 {
            outer_columns::<T, V, 2>(out, left, (q, width), (b, b_row, p));
            p += 2;
        }
        while p < b.panels() {
            outer_columns::<T, V, 1>(out, left, (q, width), (b, b_row, p));
            p += 1;
        }
    }
}

/// `P` panels of `b` from the given one on, against one of `a`.
#[inline(always)]
fn outer_columns<T: Real, V: Vector<T>, const P: usize>(
    out: &mut Panels<T>,
    left: &[Lane<T>],
    (q, width): (usize, usize),
    (b, b_row, p): (&Panels<T>, usize, usize),
) {
    let mut right: [&[Lane<T>]; P] = [&[]; P];
    for j in 0..P {
        right[j] = &b.panel(p + j)[b_row..b_row + left.len()];
    }
    let mut m = 0;
    while m + 8 <= width && V::TALL >= 8 {
        outer_tile::<T, V, 8, P>(out, left, (q, m, p), right);
        m += 8;
    }
    while m + 4 <= width {
        outer_tile::<T, V, 4, P>(out, left, (q, m, p), right);
        m += 4;
    }
    while m < width {
        outer_tile::<T, V, 1, P>(out, left, (q, m, p), right);
        m += 1;
    }
}

/// `M` rows of [`add_outer`].
#[inline(always)]
fn outer_tile<T: Real, V: Vector<T>, const M: usize, const P: usize>(
    out: &mut Panels<T>,
    left: &[Lane<T>],
    (q, first, p): (usize, usize, usize),
    right: [&[Lane<T>]; P],
) {
    let row = q * LANES + first;
    let mut sums = [[V::splat(T::ZERO); P]; M];
    for i in 0..M {
        for j in 0..P {
            sums[i][j] = V::load(&out.panel(p + j)[row + i]);
        }
    }
    for (r, a) in left.iter().enumerate() {
        let mut b = [V::splat(T::ZERO); P];
        for j in 0..P {
            b[j] = V::load(&right[j][r]);
        }
        for i in 0..M {
            let a = V::splat(a[first + i]);
            for j in 0..P {
                sums[i][j] = a.muladd(b[j], sums[i][j]);
            }
        }
    }
    for i in 0..M {
        for j in 0..P {
            sums[i][j].store(&mut out.panel_mut(p + j)[row + i]);
        }
    }
}

/// Adds every row of `b` to the first row of `out`: the gradient of a bias.
#[inline(always)]
pub(crate) fn add_rows<T: Real, V: Vector<T>>(out: &mut Panels<T>, b: &Panels<T>) {
    for p in 0..b.panels() {
        let mut sum = V::load(&out.panel(p)[0]);
        for lane in b.panel(p) {
            sum = sum.add(V::load(lane));
        }
        sum.store(&mut out.panel_mut(p)[0]);
    }
}

/// Copies the first row of `bias` to some rows of `out`.
#[inline(always)]
pub(crate) fn fill_rows<T: Real>(out: &mut Panels<T>, rows: Range<usize>, bias: &Panels<T>) {
    for p in 0..bias.panels() {
        let row = bias.panel(p)[0];
        out.panel_mut(p)[rows.clone()].fill(row);
    }
}
