//! The one table: instrument × time × column, its interval grid, splits and dataset.
