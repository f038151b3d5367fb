//! A dense row-major matrix of numbers.

/// `rows × cols` numbers, row by row; NaN is missing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    data: Vec<f64>,
}

impl Matrix {
    /// From row-major data.
    ///
    /// # Panics
    /// When the data does not hold `rows × cols` numbers (a bug of the caller).
    pub fn new(rows: usize, cols: usize, data: Vec<f64>) -> Self {
        assert_eq!(data.len(), rows * cols, "matrix data fits its shape");
        Self { rows, cols, data }
    }

    /// From columns of equal length.
    ///
    /// # Panics
    /// When the columns differ in length (a bug of the caller).
    pub fn from_columns(rows: usize, columns: &[&[f64]]) -> Self {
        let cols = columns.len();
        let mut data = vec![0.0; rows * cols];
        for (j, column) in columns.iter().enumerate() {
            assert_eq!(column.len(), rows, "columns are of equal length");
            for (i, value) in column.iter().enumerate() {
                data[i * cols + j] = *value;
            }
        }
        Self { rows, cols, data }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// One row.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// One number.
    pub fn get(&self, i: usize, j: usize) -> f64 {
        self.data[i * self.cols + j]
    }

    /// One column, copied.
    pub fn column(&self, j: usize) -> Vec<f64> {
        (0..self.rows).map(|i| self.get(i, j)).collect()
    }

    /// All numbers, row by row.
    pub fn as_slice(&self) -> &[f64] {
        &self.data
    }

    /// The rows of an index range, copied.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        let data = self.data[range.start * self.cols..range.end * self.cols].to_vec();
        Self { rows: range.len(), cols: self.cols, data }
    }

    /// The named rows, copied in the order given.
    pub fn select(&self, rows: &[usize]) -> Self {
        let mut data = Vec::with_capacity(rows.len() * self.cols);
        rows.iter().for_each(|&i| data.extend_from_slice(self.row(i)));
        Self { rows: rows.len(), cols: self.cols, data }
    }
}
