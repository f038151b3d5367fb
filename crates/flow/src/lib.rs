//! A plan of steps over intervals: order, states, retries, back-fill.
